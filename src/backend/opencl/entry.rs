//! The kernels proper: what is launched, over how much, in which order.
//!
//! There are two forms of a program. In the *whole* form one kernel does everything, a team (work-group) for
//! each group of examples: regions in order, loops step by step, and the team meets between kernels. It is for
//! devices whose work-groups run on processors of their own. In the *spread* form every kernel of a flat
//! region is a launch whose items are divided among all work-items of the device, and every loop is a launch
//! with a team for each group of examples, which needs no meeting of teams because examples are independent.

use serde::Serialize;

use super::address::Scope;
use super::rows::extent;
use super::text::Text;
use crate::backend::native::emit::symbol;
use crate::plan::places::{rows_of, zero_rows};
use crate::plan::{Element, GemmRows, Kernel, Region, SpaceId, Steps, Work};

/// A launch of a kernel; its global range has a second dimension, the groups of examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Launch {
    /// The kernel's name in the source.
    pub kernel: String,
    /// What is divided among its work-items.
    pub range: Range,
    /// Need not be done again while parameters stay the same.
    pub constant: bool,
    /// What it computes.
    pub equations: Vec<String>,
}

/// How much work a launch has in each group. More or fewer work-items do the same.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// One team: LANES work-items.
    Team,
    /// Rows times columns, in pieces.
    Items {
        /// Rows.
        rows: Rows,
        /// Rows of a piece.
        rows_each: Each,
        /// Columns.
        columns: usize,
        /// Columns of a piece.
        columns_each: Each,
    },
}

/// Rows of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Rows {
    /// Those of a space.
    Of(SpaceId),
    /// Those of the first step of a space: of trees, the leaves.
    First(SpaceId),
    /// Those of all steps behind the first: of trees, the nodes above the leaves.
    Rest(SpaceId),
    /// So many.
    Exactly(usize),
}

/// The size of a piece: macros of the source, or numbers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// One.
    One,
    /// `CHUNK`
    Chunk,
    /// `TILE_ROWS`
    TileRows,
    /// `TILE_COLUMNS`
    TileColumns,
}

/// Everything there is to launch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Launches {
    /// The kernel of the whole form.
    pub whole: String,
    /// The launches of the spread form, in order.
    pub spread: Vec<Launch>,
}

/// Writes all kernels.
pub(super) fn entries(scope: &Scope, text: &mut Text) -> Launches {
    let name = symbol(&scope.plan.name);
    text.line("#ifdef WHOLE");
    whole(scope, text, &name);
    text.line("#else");
    let spread = spread(scope, text, &name);
    text.line("#endif");
    Launches { whole: name, spread }
}

fn kernels(region: &Region) -> &[Kernel] {
    match region {
        Region::Flat(kernels) | Region::Loop { kernels, .. } => kernels,
    }
}

/// The head of a kernel and where its group's context is.
fn kernel(scope: &Scope, text: &mut Text, attribute: &str, name: &str, body: impl FnOnce(&mut Text)) {
    let slots = scope.slots.len();
    text.line("");
    text.block(format!("__kernel {attribute}void {name}(ARGUMENTS, const int held)"), |text| {
        text.line(format!("GLOBAL const int *const context = tables + get_group_id(1) * {slots};"));
        body(text);
    });
}

fn whole(scope: &Scope, text: &mut Text, name: &str) {
    kernel(scope, text, "TEAM ", name, |text| {
        text.line("const int worker = get_local_id(0), workers = LANES;");
        text.line("int step = 0;");
        let mut first = 0;
        for (number, region) in scope.plan.regions.iter().enumerate() {
            if !zero_rows(scope.plan, number).is_empty() {
                clear(scope, text, number);
                text.line("MEET;");
            }
            self::region(scope, text, region, first);
            first += kernels(region).len();
        }
    });
}

/// The kernels of a region by one team.
fn region(scope: &Scope, text: &mut Text, region: &Region, first: usize) {
    match region {
        Region::Flat(kernels) => {
            for (at, kernel) in kernels.iter().enumerate() {
                match kernel.constant {
                    true => text.block("if (!held)", |text| by_team(scope, text, first + at, kernel, None)),
                    false => by_team(scope, text, first + at, kernel, None),
                }
            }
        }
        Region::Loop { axis, backward, kernels } => {
            text.line(format!("// along {}", scope.plan.axes[*axis]));
            let steps = scope.slots.steps(*axis);
            text.block(format!("for (int turn = 0; turn < NUMBER({steps}); ++turn)"), |text| {
                text.line(match backward {
                    true => format!("step = NUMBER({steps}) - 1 - turn;"),
                    false => "step = turn;".to_string(),
                });
                for (at, kernel) in kernels.iter().enumerate() {
                    by_team(scope, text, first + at, kernel, Some(*axis));
                }
            });
        }
    }
}

/// Whether a kernel in a loop along this axis does the rows of one step at a time.
fn by_step(scope: &Scope, work: &Work, axis: Option<usize>) -> bool {
    axis.is_some() && work.space().is_some_and(|space| scope.plan.spaces[space].major == axis)
}

/// The rows of a kernel: `begin, end`. In a loop along its rows they are those of the step.
fn range(scope: &Scope, kernel: &Kernel, axis: Option<usize>) -> String {
    let work = &kernel.work;
    if let Work::Gemm(gemm) = work
        && let GemmRows::Static(rows) = gemm.rows
    {
        return format!("0, {rows}");
    }
    let Some((space, _)) = rows_of(work) else { return "0, 1".into() };
    let (offsets, rows) = (scope.slots.step_offsets(space), scope.slots.rows(space));
    if by_step(scope, work, axis) {
        return format!("TABLE({offsets})[step], TABLE({offsets})[step + 1]");
    }
    match kernel.steps {
        Steps::All => format!("0, NUMBER({rows})"),
        Steps::First => format!("0, TABLE({offsets})[1]"),
        Steps::Rest => format!("TABLE({offsets})[1], NUMBER({rows})"),
    }
}

/// A kernel by one team, which has met when it is done. The team agrees on the step, so that what none of it
/// does needs no meeting.
fn by_team(scope: &Scope, text: &mut Text, number: usize, kernel: &Kernel, axis: Option<usize>) {
    let now = match kernel.steps {
        _ if !by_step(scope, &kernel.work, axis) => None,
        Steps::All => None,
        Steps::First => Some("if (step == 0)"),
        Steps::Rest => Some("if (step != 0)"),
    };
    match now {
        Some(now) => text.block(now, |text| calls(scope, text, number, kernel, axis)),
        None => calls(scope, text, number, kernel, axis),
    }
}

/// The calls of a kernel's functions by a team.
fn calls(scope: &Scope, text: &mut Text, number: usize, kernel: &Kernel, axis: Option<usize>) {
    let (prefix, rows) = (scope.prefix, range(scope, kernel, axis));
    match &kernel.work {
        Work::Rows(own) if own.phases.len() > 1 => {
            text.line("#if LANES == 1");
            text.line(format!("{prefix}{number}_rows(SAME, step, {rows}, worker, workers);"));
            text.line("#else");
            for phase in 0..own.phases.len() {
                text.line(format!("{prefix}{number}_points_{phase}(SAME, step, {rows}, worker, workers);"));
                text.line("MEET;");
            }
            text.line("#endif");
        }
        Work::Rows(_) => {
            text.line(format!("{prefix}{number}_points_0(SAME, step, {rows}, worker, workers);"));
            text.line("MEET;");
        }
        _ => {
            text.line(format!("{prefix}{number}(SAME, step, {rows}, worker, workers);"));
            text.line("MEET;");
        }
    }
}

/// Clears the zero rows of the buffers that come to life in a region.
fn clear(scope: &Scope, text: &mut Text, region: usize) {
    for id in zero_rows(scope.plan, region) {
        let buffer = &scope.plan.buffers[id];
        let (kind, nothing) = match buffer.element {
            Element::Real => ("real", "0"),
            Element::Id => ("uint", "NONE"),
        };
        let width = buffer.width;
        text.line(format!(
            "for (int i = worker; i < {width}; i += workers) BUFFER({kind}, {})[i - {width}] = {nothing};",
            scope.slots.buffer(id)
        ));
    }
}

fn spread(scope: &Scope, text: &mut Text, name: &str) -> Vec<Launch> {
    let mut launches = Vec::new();
    let mut first = 0;
    for (number, region) in scope.plan.regions.iter().enumerate() {
        let zero_rows = zero_rows(scope.plan, number);
        if !zero_rows.is_empty() {
            let kernel_name = format!("{name}_clear_{number}");
            kernel(scope, text, "", &kernel_name, |text| {
                divided(text);
                clear(scope, text, number);
            });
            let widest = zero_rows.iter().map(|&id| scope.plan.buffers[id].width).max().unwrap_or(1);
            let range = items(Rows::Exactly(1), Each::One, widest, Each::One);
            launches.push(Launch { kernel: kernel_name, range, constant: false, equations: Vec::new() });
        }
        match region {
            Region::Flat(kernels) => {
                for (at, kernel) in kernels.iter().enumerate() {
                    flat(scope, text, name, first + at, kernel, &mut launches);
                }
            }
            Region::Loop { kernels, .. } => {
                let kernel_name = format!("{name}_loop_{number}");
                kernel(scope, text, "TEAM ", &kernel_name, |text| {
                    text.line("const int worker = get_local_id(0), workers = LANES;");
                    text.line("int step = 0;");
                    self::region(scope, text, region, first);
                });
                let equations = kernels.iter().flat_map(|kernel| kernel.equations.clone()).collect();
                launches.push(Launch { kernel: kernel_name, range: Range::Team, constant: false, equations });
            }
        }
        first += kernels(region).len();
    }
    launches
}

/// Who a work-item is among all of its group.
fn divided(text: &mut Text) {
    text.line("const int worker = get_global_id(0), workers = get_global_size(0), step = 0;");
}

fn items(rows: Rows, rows_each: Each, columns: usize, columns_each: Each) -> Range {
    Range::Items { rows, rows_each, columns, columns_each }
}

/// The launches of a kernel over all its rows.
fn flat(
    scope: &Scope,
    text: &mut Text,
    name: &str,
    number: usize,
    kernel: &Kernel,
    launches: &mut Vec<Launch>,
) {
    let (prefix, rows) = (scope.prefix, range(scope, kernel, None));
    let mut launch = |text: &mut Text, suffix: &str, callee: String, range: Range| {
        let kernel_name = format!("{name}_{number}{suffix}");
        self::kernel(scope, text, "", &kernel_name, |text| {
            divided(text);
            text.line(format!("{callee}(SAME, step, {rows}, worker, workers);"));
        });
        let (constant, equations) = (kernel.constant, kernel.equations.clone());
        launches.push(Launch { kernel: kernel_name, range, constant, equations });
    };
    let all = |space: SpaceId| match kernel.steps {
        _ if space == 0 => Rows::Exactly(1),
        Steps::All => Rows::Of(space),
        Steps::First => Rows::First(space),
        Steps::Rest => Rows::Rest(space),
    };
    match &kernel.work {
        Work::Rows(own) if own.phases.len() > 1 && own.space != 0 => {
            let range = items(all(own.space), Each::One, 1, Each::One);
            launch(text, "", format!("{prefix}{number}_rows"), range);
        }
        Work::Rows(own) => {
            for (at, phase) in own.phases.iter().enumerate() {
                let suffix = if own.phases.len() > 1 { format!("_{at}") } else { String::new() };
                let range = items(all(own.space), Each::One, extent(phase), Each::Chunk);
                launch(text, &suffix, format!("{prefix}{number}_points_{at}"), range);
            }
        }
        other => {
            let range = match other {
                Work::Gemm(gemm) => {
                    let rows = match gemm.rows {
                        GemmRows::Space(space) => all(space),
                        GemmRows::Static(rows) => Rows::Exactly(rows),
                    };
                    items(rows, Each::TileRows, gemm.n, Each::TileColumns)
                }
                Work::Pack(pack) => {
                    items(Rows::Exactly(pack.k), Each::One, super::across::panels(pack).1, Each::One)
                }
                Work::Outer(outer) => {
                    items(Rows::Exactly(outer.m), Each::TileRows, outer.n, Each::TileColumns)
                }
                Work::Combine(combine) => {
                    let pieces = super::across::pieces(combine).1;
                    let rows = if combine.list.is_some() { all(combine.to) } else { Rows::Exactly(1) };
                    items(rows, Each::One, pieces, Each::One)
                }
                Work::Scatter(scatter) => items(Rows::Exactly(1), Each::One, scatter.n, Each::Chunk),
                Work::Random(random) => {
                    items(all(random.space), Each::One, random.width.div_ceil(4), Each::One)
                }
                Work::Rows(_) => Range::Team,
            };
            launch(text, "", format!("{prefix}{number}"), range);
        }
    }
}

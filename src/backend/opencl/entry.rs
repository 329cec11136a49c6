//! The kernels proper: what is launched, over how much, in which order.
//!
//! There are two forms of a program. In the *whole* form one kernel does everything, a team (work-group) for
//! each group of examples: regions in order, loops step by step, and the team meets between kernels. It is for
//! devices whose work-groups run on processors of their own. In the *spread* form every unit of a flat region is a
//! launch for the whole device, and a loop is one launch, too: in each group of examples teams go through the steps
//! together and meet between units. Where they cannot all run at once, or the matrices of a step are too much for
//! the few that can, the source is compiled with STEPPED, and each unit of each step is a launch.

use serde::Serialize;

use super::address::Scope;
use super::rows::extent;
use super::team::{reduced, room};
use super::text::Text;
use super::units::{Unit, launched_together, units};
use crate::backend::native::emit::symbol;
use crate::plan::places::{rows_of, zero_rows};
use crate::plan::{Element, GemmRows, Kernel, Region, SpaceId, Steps, Work, packed_width};

/// A launch of a kernel; its global range has a second dimension, the groups of examples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Launch {
    /// The kernel's name in the source.
    pub kernel: String,
    /// How many work-items it takes.
    pub range: Range,
    /// Need not be done again while parameters stay the same.
    pub constant: bool,
    /// In a launch for each step: the steps that it is for.
    pub steps: Steps,
    /// What it computes.
    pub equations: Vec<String>,
}

/// A loop over the steps of an axis.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Loop {
    /// The axis.
    pub axis: usize,
    /// From the last step to the first.
    pub backward: bool,
    /// Elements of all matrices that a step reads.
    pub matrices: usize,
    /// What is launched for each step if STEPPED is defined; then there is no kernel of all steps.
    pub launches: Vec<Launch>,
}

/// How much work a launch has in each group. More or fewer work-items do the same.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Range {
    /// One team: LANES work-items.
    Team,
    /// Rows times columns, in pieces, for each of which there is a work-item.
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
    /// The same, and for each piece there is a team.
    Teams {
        /// Rows.
        rows: Rows,
        /// Rows of a piece.
        rows_each: Each,
        /// Columns.
        columns: usize,
        /// Columns of a piece.
        columns_each: Each,
    },
    /// As many teams as the units of a step have work for, all of which must run at once.
    Loop(Loop),
    /// Any of these by the number of the work-group in a third dimension: as many as the largest takes for each.
    Each(Vec<Range>),
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
    /// Those of the step of a loop.
    Step(SpaceId),
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
    /// `BLOCK_ROWS(EACH)`
    BlockRows,
    /// `BLOCK_ROWS(STEP_EACH)`
    StepRows,
    /// `PIECE` of so many windows.
    Piece(usize),
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

/// The head of a kernel and where its group's context is; `room` is how much local memory it has.
fn kernel(
    scope: &Scope,
    text: &mut Text,
    (attribute, room): (&str, &str),
    name: &str,
    body: impl FnOnce(&mut Text),
) {
    let slots = scope.slots.len();
    text.line("");
    let head = format!("__kernel {attribute}void {name}(ARGUMENTS, const int held, const int turn)");
    text.block(head, |text| {
        if !room.is_empty() {
            text.line(format!("LOCAL real shared[{room}];"));
        }
        text.line(format!("GLOBAL const int *const context = tables + get_group_id(1) * {slots};"));
        body(text);
    });
}

fn whole(scope: &Scope, text: &mut Text, name: &str) {
    kernel(scope, text, ("TEAM ", ""), name, |text| {
        text.line("const int worker = get_local_id(0), workers = LANES;");
        text.line("int step = 0;");
        let mut first = 0;
        for (number, region) in scope.plan.regions.iter().enumerate() {
            if !zero_rows(scope.plan, number).is_empty() {
                clear(scope, text, number);
                text.line("MEET;");
            }
            self::region(scope, text, region, first);
            first += region.kernels().len();
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
    let now = axis.and_then(|axis| on_step(scope, kernel, axis));
    match now {
        Some(now) => text.block(now, |text| calls(scope, text, number, kernel, axis)),
        None => calls(scope, text, number, kernel, axis),
    }
}

/// The calls of a kernel's functions by the one team of the whole form.
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
            kernel(scope, text, ("", ""), &kernel_name, |text| {
                divided(text);
                text.line("const int step = 0;");
                clear(scope, text, number);
            });
            let widest = zero_rows.iter().map(|&id| scope.plan.buffers[id].width).max().unwrap_or(1);
            let range = items(Rows::Exactly(1), Each::One, widest, Each::One);
            let (steps, equations) = (Steps::All, Vec::new());
            launches.push(Launch { kernel: kernel_name, range, constant: false, steps, equations });
        }
        let looped = matches!(region, Region::Loop { .. });
        let units = units(scope.plan, region.kernels(), first, looped);
        match region {
            Region::Flat(_) => {
                for group in launched_together(&units) {
                    flat(scope, text, name, group, &mut launches);
                }
            }
            Region::Loop { axis, backward, .. } => {
                let along = (*axis, *backward);
                launches.push(self::looped(scope, text, &format!("{name}_loop_{number}"), &units, along));
            }
        }
        first += region.kernels().len();
    }
    launches
}

/// Who a work-item is among all of its group.
fn divided(text: &mut Text) {
    text.line("const int worker = get_global_id(0), workers = get_global_size(0);");
}

/// Who its team is.
fn teams(text: &mut Text) {
    text.line("const int team = get_group_id(0), teams = get_num_groups(0);");
}

fn items(rows: Rows, rows_each: Each, columns: usize, columns_each: Each) -> Range {
    Range::Items { rows, rows_each, columns, columns_each }
}

/// A unit in the spread form: calls over the rows `rows`.
fn call(scope: &Scope, text: &mut Text, unit: &Unit, rows: &str) {
    let (prefix, number) = (scope.prefix, unit.number);
    text.line(match &unit.kernel.work {
        _ if unit.by_teams() => format!("{prefix}{number}_team(SAME, step, {rows}, team, teams, shared);"),
        Work::Rows(own) if own.phases.len() > 1 => {
            format!("{prefix}{number}_rows(SAME, step, {rows}, worker, workers);")
        }
        Work::Rows(_) => format!("{prefix}{number}_points_0(SAME, step, {rows}, worker, workers);"),
        _ => format!("{prefix}{number}(SAME, step, {rows}, worker, workers);"),
    });
}

/// The condition under which a kernel is for the step.
fn on_step(scope: &Scope, kernel: &Kernel, axis: usize) -> Option<&'static str> {
    match kernel.steps {
        _ if !by_step(scope, &kernel.work, Some(axis)) => None,
        Steps::All => None,
        Steps::First => Some("if (step == 0)"),
        Steps::Rest => Some("if (step != 0)"),
    }
}

/// The largest of some expressions.
fn largest(all: impl Iterator<Item = String>) -> String {
    let mut all: Vec<String> = all.collect();
    all.sort_unstable();
    all.dedup();
    all.into_iter().reduce(|a, b| format!("LARGER({a}, {b})")).unwrap_or_default()
}

/// A loop: the kernel of all steps, or one for each unit of a step.
fn looped(
    scope: &Scope,
    text: &mut Text,
    name: &str,
    units: &[Unit],
    (axis, backward): (usize, bool),
) -> Launch {
    let steps = scope.slots.steps(axis);
    let step = match backward {
        true => format!("const int step = NUMBER({steps}) - 1 - turn;"),
        false => "const int step = turn;".to_string(),
    };
    text.line("");
    text.line("#ifndef STEPPED");
    let size = largest(units.iter().filter(|unit| unit.by_teams()).map(room));
    kernel(scope, text, ("TEAM ", &size), name, |text| {
        divided(text);
        teams(text);
        text.line(format!("// along {}", scope.plan.axes[axis]));
        text.block(format!("for (int turn = 0; turn < NUMBER({steps}); ++turn)"), |text| {
            text.line(&step);
            for unit in units {
                let own = |text: &mut Text| {
                    call(scope, text, unit, &range(scope, unit.kernel, Some(axis)));
                    text.line(format!("meet(BUFFER(uint, {}), teams);", scope.slots.meeting()));
                };
                // All teams agree on the step, so that what none of them does needs no meeting.
                match on_step(scope, unit.kernel, axis) {
                    Some(condition) => text.block(condition, own),
                    None => own(text),
                }
            }
        });
    });
    text.line("#else");
    let mut launches = Vec::new();
    for unit in units {
        let kernel_name = format!("{name}_{}", unit.number);
        let size = if unit.by_teams() { room(unit) } else { String::new() };
        kernel(scope, text, ("TEAM ", &size), &kernel_name, |text| {
            if unit.by_teams() {
                teams(text);
            } else {
                divided(text);
            }
            // Groups may differ in their steps.
            text.block(format!("if (turn < NUMBER({steps}))"), |text| {
                text.line(&step);
                let own = |text: &mut Text| call(scope, text, unit, &range(scope, unit.kernel, Some(axis)));
                match on_step(scope, unit.kernel, axis) {
                    Some(condition) => text.block(condition, own),
                    None => own(text),
                }
            });
        });
        let by_step = by_step(scope, &unit.kernel.work, Some(axis));
        let range = unit_range(unit, |space| if by_step { Rows::Step(space) } else { Rows::Of(space) });
        let steps = if by_step { unit.kernel.steps } else { Steps::All };
        let equations = unit.equations();
        launches.push(Launch { kernel: kernel_name, range, constant: false, steps, equations });
    }
    text.line("#endif");
    let equations = units.iter().flat_map(Unit::equations).collect();
    let matrices = units
        .iter()
        .filter_map(|unit| match &unit.kernel.work {
            Work::Gemm(gemm) => Some(packed_width(gemm.k, gemm.n)),
            _ => None,
        })
        .sum();
    let range = Range::Loop(Loop { axis, backward, matrices, launches });
    Launch { kernel: name.to_string(), range, constant: false, steps: Steps::All, equations }
}

/// How much work a unit has; `all` says which rows of a space are its.
fn unit_range(unit: &Unit, all: impl Fn(SpaceId) -> Rows) -> Range {
    let all = |space: SpaceId| if space == 0 { Rows::Exactly(1) } else { all(space) };
    let teams =
        |rows, rows_each, columns, columns_each| Range::Teams { rows, rows_each, columns, columns_each };
    let by_teams = unit.by_teams();
    match &unit.kernel.work {
        Work::Rows(own) if by_teams => teams(all(own.space), Each::One, 1, Each::One),
        Work::Rows(own) => match &own.phases[..] {
            [phase] => items(all(own.space), Each::One, extent(phase), Each::Chunk),
            _ => items(all(own.space), Each::One, 1, Each::One),
        },
        Work::Gemm(gemm) => {
            let rows = match gemm.rows {
                GemmRows::Space(space) => all(space),
                GemmRows::Static(rows) => Rows::Exactly(rows),
            };
            let (count, width) =
                unit.epilogue.map_or((1, gemm.n), |own| (own.windows.count, own.windows.width));
            let each = if unit.looped { Each::StepRows } else { Each::BlockRows };
            match by_teams {
                true => teams(rows, each, width, Each::Piece(count)),
                false => items(rows, Each::TileRows, gemm.n, Each::TileColumns),
            }
        }
        Work::Pack(pack) => items(Rows::Exactly(pack.k), Each::One, super::across::panels(pack).1, Each::One),
        Work::Outer(outer) => match by_teams {
            true => teams(Rows::Exactly(outer.m), Each::BlockRows, outer.n, Each::Piece(1)),
            false => items(Rows::Exactly(outer.m), Each::TileRows, outer.n, Each::TileColumns),
        },
        Work::Combine(combine) => match by_teams {
            true => teams(Rows::Exactly(1), Each::One, reduced(combine).1, Each::One),
            false => items(all(combine.to), Each::One, super::across::pieces(combine).1, Each::One),
        },
        Work::Scatter(scatter) => teams(Rows::Exactly(scatter.m), Each::One, 1, Each::One),
        Work::Random(random) => items(all(random.space), Each::One, random.width.div_ceil(4), Each::One),
    }
}

/// The launches of units over all their rows, which may be done at the same time.
fn flat(scope: &Scope, text: &mut Text, name: &str, group: &[Unit], launches: &mut Vec<Launch>) {
    let [unit, behind @ ..] = group else { return };
    let (prefix, number, constant) = (scope.prefix, unit.number, unit.kernel.constant);
    let steps = Steps::All;
    if let (Work::Rows(own), true) = (&unit.kernel.work, unit.by_phases()) {
        let rows = range(scope, unit.kernel, None);
        for (at, phase) in own.phases.iter().enumerate() {
            let kernel_name = format!("{name}_{number}_{at}");
            kernel(scope, text, ("", ""), &kernel_name, |text| {
                divided(text);
                text.line("const int step = 0;");
                text.line(format!("{prefix}{number}_points_{at}(SAME, step, {rows}, worker, workers);"));
            });
            let range = items(Rows::Exactly(1), Each::One, extent(phase), Each::Chunk);
            launches.push(Launch {
                kernel: kernel_name,
                range,
                constant,
                steps,
                equations: unit.equations(),
            });
        }
        return;
    }
    let kernel_name = match behind.last() {
        None => format!("{name}_{number}"),
        Some(last) => format!("{name}_{number}_to_{}", last.number),
    };
    let (attribute, size) = match unit.by_teams() {
        true => ("TEAM ", largest(group.iter().map(room))),
        false => ("", String::new()),
    };
    kernel(scope, text, (attribute, &size), &kernel_name, |text| {
        if unit.by_teams() {
            teams(text);
        } else {
            divided(text);
        }
        text.line("const int step = 0;");
        let own = |text: &mut Text, unit: &Unit| call(scope, text, unit, &range(scope, unit.kernel, None));
        if behind.is_empty() {
            own(text, unit);
            return;
        }
        text.block("switch (get_group_id(2))", |text| {
            for (at, unit) in group.iter().enumerate() {
                text.line(format!("case {at}:"));
                text.indented(|text| {
                    own(text, unit);
                    text.line("break;");
                });
            }
        });
    });
    let range = |unit: &Unit| {
        unit_range(unit, |space| match unit.kernel.steps {
            Steps::All => Rows::Of(space),
            Steps::First => Rows::First(space),
            Steps::Rest => Rows::Rest(space),
        })
    };
    let range = match behind {
        [] => range(unit),
        _ => Range::Each(group.iter().map(range).collect()),
    };
    let equations = group.iter().flat_map(Unit::equations).collect();
    launches.push(Launch { kernel: kernel_name, range, constant, steps, equations });
}

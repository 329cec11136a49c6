//! OpenCL: a plan as kernel source and a host plan, made without any device.
//!
//! ```text
//! Plan ── rows, across, units, team ─▶ functions of kernels ─┐
//!      └─ entry ─▶ kernels that call them ───────────────────┴─▶ NAME.cl
//!      └─ host ─▶ buffers, tables, launches ──────────────────▶ NAME.json
//! ```
//!
//! The source is OpenCL C 1.2. A kernel of the plan is a function `k{number}` over a range of rows, headed by
//! the equations that it computes, whose items are divided among work-items or among teams of them; what is more
//! than glue is in the templates of `kernels/*.cl`, which come first. How a function finds its memory is said in [`slots`], what is
//! launched in [`entry`]. Sizes of tiles and teams are macros, which whoever compiles the source chooses for
//! the device; without any the source compiles, too.

pub mod entry;
pub mod host;
pub mod slots;

mod across;
mod address;
mod inst;
mod rows;
mod team;
mod text;
mod units;

use thiserror::Error;

use self::address::Scope;
pub use self::entry::{Each, Launch, Launches, Loop, Range, Rows};
use self::rows::By;
pub use self::slots::Slots;
use self::text::Text;
use self::units::{Unit, units};
use crate::plan::places::kernels;
use crate::plan::verify::verify;
use crate::plan::{Plan, Precision, Region, Work, label, spread_scratch};

/// What every program begins with.
pub const PRELUDE: &str = include_str!("../../../kernels/prelude.cl");
/// What comes behind all templates and functions: the program itself.
pub const PROGRAM: &str = "The program: a function for each kernel of the plan, and what is launched.";
/// Reductions, gather and scatter.
pub const ROWS: &str = include_str!("../../../kernels/rows.cl");
/// What teams do together, and how they meet.
pub const TEAMS: &str = include_str!("../../../kernels/teams.cl");
/// Products by teams.
pub const BLOCKS: &str = include_str!("../../../kernels/blocks.cl");
/// Products by work-items.
pub const PRODUCT: &str = include_str!("../../../kernels/product.cl");
/// A step of training; a program of its own.
pub const UPDATE: &str = include_str!("../../../kernels/update.cl");
/// Random numbers.
pub const PHILOX: &str = include_str!("../../../kernels/philox.cl");

/// Why a plan became no source.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum EmitError {
    /// The plan contradicts itself.
    #[error("the plan cannot be compiled: {0}")]
    Plan(String),
}

/// A program's source and what to do with it.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    /// The source.
    pub source: String,
    /// Its program.
    pub program: Emission,
}

/// What a source says of one of its programs.
#[derive(Clone, Debug, PartialEq)]
pub struct Emission {
    /// The plan that the source is of: every row has its own scratch.
    pub plan: Plan,
    /// What is launched.
    pub launches: Launches,
    /// The context's slots.
    pub slots: Slots,
}

/// The source of a plan.
///
/// # Errors
/// If the plan contradicts itself.
pub fn emit(plan: &Plan, precision: Precision) -> Result<Emitted, EmitError> {
    let (source, programs) = emit_all(&[("k", plan)], precision)?;
    let missing = || EmitError::Plan("there is no program".into());
    Ok(Emitted { source, program: programs.into_iter().next().ok_or_else(missing)? })
}

/// The source of several plans together, whose functions begin with names of their own.
///
/// # Errors
/// If a plan contradicts itself.
pub fn emit_all(plans: &[(&str, &Plan)], precision: Precision) -> Result<(String, Vec<Emission>), EmitError> {
    let mut spread = Vec::new();
    for (prefix, plan) in plans {
        let mut plan = (*plan).clone();
        spread_scratch(&mut plan);
        let problems = verify(&plan);
        if !problems.is_empty() {
            return Err(EmitError::Plan(problems.join("; ")));
        }
        spread.push((*prefix, plan));
    }
    let mut text = Text::default();
    let names: Vec<&str> = spread.iter().map(|(_, plan)| plan.name.as_str()).collect();
    text.comment([format!("{}: OpenCL C 1.2, made by rnnc.", names.join(", "))]);
    text.line("");
    if precision == Precision::F64 {
        text.line("#define DOUBLE");
        text.line("");
    }
    let works: Vec<&Work> =
        spread.iter().flat_map(|(_, plan)| kernels(plan)).map(|kernel| &kernel.work).collect();
    let has = |is: fn(&Work) -> bool| works.iter().any(|work| is(work));
    let mut templates = vec![(PRELUDE, None), (ROWS, None), (TEAMS, Some("#ifndef WHOLE"))];
    if has(|work| matches!(work, Work::Gemm(_) | Work::Outer(_))) {
        templates.extend([(PRODUCT, None), (BLOCKS, Some("#ifndef WHOLE"))]);
    }
    if has(|work| matches!(work, Work::Random(_))) {
        templates.push((PHILOX, None));
    }
    for (template, condition) in templates {
        text.only_if(condition, |text| {
            template.lines().for_each(|line| text.line(line));
            Ok(())
        })?;
    }
    let phases = works.iter().filter_map(|work| match work {
        Work::Rows(kernel) => Some(&kernel.phases),
        _ => None,
    });
    inst::functions(precision, &mut text, phases.flatten());
    text.line("");
    text.comment([PROGRAM]);
    let mut programs = Vec::new();
    for (prefix, plan) in &spread {
        let slots = Slots::new(plan);
        let scope = Scope { plan, slots, precision, prefix };
        let mut number = 0;
        for region in &plan.regions {
            let looped = matches!(region, Region::Loop { .. });
            for unit in units(plan, region.kernels(), number, looped) {
                functions(&scope, &mut text, &unit)?;
            }
            number += region.kernels().len();
        }
        let launches = entry::entries(&scope, &mut text);
        programs.push(Emission { launches, slots, plan: plan.clone() });
    }
    Ok((text.finish(), programs))
}

/// The functions of a unit's kernels.
fn functions(scope: &Scope, text: &mut Text, unit: &Unit) -> Result<(), EmitError> {
    let by = if unit.by_teams() { By::Team } else { By::Item };
    let behind = unit.epilogue.map(|epilogue| (epilogue.kernel, By::Block));
    for (at, (kernel, by)) in [(unit.kernel, by)].into_iter().chain(behind).enumerate() {
        let number = unit.number + at;
        text.line("");
        text.comment([label(scope.plan, kernel)]);
        text.comment(&kernel.equations);
        match &kernel.work {
            Work::Rows(own) => rows::rows(scope, text, number, own, by)?,
            work => text.only_if((by != By::Item).then_some("#ifdef WHOLE"), |text| {
                across::across(scope, text, number, work);
                Ok(())
            })?,
        }
    }
    if by == By::Team {
        text.only_if(Some("#ifndef WHOLE"), |text| team::team(scope, text, unit))?;
    }
    Ok(())
}

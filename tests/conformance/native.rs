//! Native code against the interpreter: every named value and loss of random programs.

use std::sync::Arc;

use rnnc::backend::native::Target;
use rnnc::check::{Mode, Request};
use rnnc::driver::{front, planned};
use rnnc::eval::evaluate;
use rnnc::grad::grad_of_losses;
use rnnc::ir::{OutputKind, print};
use rnnc::plan::{Plan, Precision, share_lookups};
use rnnc::runtime::program::{Program, Real};
use rnnc::testing::{Batch, Fill, Options, Sample, feeds, sample};

use super::support::{distance, plan_name, run, run_by};

const KINDS: [OutputKind; 2] = [OutputKind::Value, OutputKind::Loss];

fn holds<R: Real>(seed: u64, options: &Options, tolerance: f64) -> Result<(), String> {
    let sample = sample(seed, options);
    let plan = planned(&sample.graph, &KINDS, "sample")
        .map_err(|error| format!("seed {seed}: {error}\n{}", print(&sample.graph)))?;
    for target in targets(R::PRECISION) {
        let compiled = Program::<R>::compile(plan.clone(), target, false)
            .map_err(|error| format!("seed {seed}, {target}: {error}\n{}", print(&sample.graph)))?;
        agrees(seed, &sample, &Arc::new(compiled), tolerance)
            .map_err(|error| format!("{target}, {error}"))?;
    }
    // Matrices of few rows read as they lie.
    let varying = Plan { unpacked_from: Some(0), ..plan.clone() };
    let compiled = Program::<R>::new(varying).map_err(|error| format!("seed {seed}, varying: {error}"))?;
    agrees(seed, &sample, &Arc::new(compiled), tolerance).map_err(|error| format!("varying, {error}"))?;
    let mut shared = plan;
    share_lookups(&mut shared, 1);
    if !shared.distinct.is_empty() {
        let compiled =
            Program::<R>::new(shared).map_err(|error| format!("seed {seed}, lookups shared: {error}"))?;
        agrees(seed, &sample, &Arc::new(compiled), tolerance)
            .map_err(|error| format!("lookups shared, {error}"))?;
    }
    Ok(())
}

/// Wide code calculates in f32 only.
fn targets(precision: Precision) -> Vec<Target> {
    let all = [Target::V2, Target::Reference, Target::V3, Target::V4];
    match precision {
        Precision::F32 => all.into_iter().filter(|target| target.check_runs_here().is_ok()).collect(),
        Precision::F64 => vec![Target::Native],
    }
}

fn agrees<R: Real>(
    seed: u64,
    sample: &Sample,
    compiled: &Arc<Program<R>>,
    tolerance: f64,
) -> Result<(), String> {
    for (number, batch) in [Batch::Ragged, Batch::Equal(3)].into_iter().enumerate() {
        let feeds = feeds(sample, seed * 2 + number as u64, batch);
        let expected = evaluate(&sample.graph, &feeds).unwrap();
        let found = run(&sample.graph, compiled, &feeds);
        for output in sample.graph.outputs.iter().filter(|output| KINDS.contains(&output.kind)) {
            let wanted = expected.output(output.kind, &output.name).unwrap().numbers();
            let got = &found[&plan_name(output.kind, &output.name)];
            let worst = distance(got, &wanted);
            if worst > tolerance {
                return Err(format!(
                    "seed {seed}: `{}` is off by {worst:e} ({batch:?})\n{got:?}\n{wanted:?}\n{}",
                    output.name,
                    print(&sample.graph)
                ));
            }
        }
    }
    Ok(())
}

fn sweep<R: Real>(seeds: std::ops::Range<u64>, options: &Options, tolerance: f64) {
    let mut failures: Vec<String> =
        seeds.clone().filter_map(|seed| holds::<R>(seed, options, tolerance).err()).collect();
    // The shortest program is the easiest to look into.
    failures.sort_by_key(String::len);
    let total = seeds.end - seeds.start;
    let shown: Vec<&str> = failures.iter().take(4).map(String::as_str).collect();
    assert!(
        shown.is_empty(),
        "{} of {total} programs differ; the shortest: {}",
        failures.len(),
        shown.join("\n")
    );
}

/// Steps of so many rows that a product and the gates behind it take turns, of rows of several pairs of vectors, and
/// weight gradients over the same rows: what small programs have none of.
#[test]
fn wide_cells_in_large_batches() {
    for (cell, examples) in [("LSTM", 45), ("LayerNormLSTM", 45), ("ResetAfterGRU", 70), ("RNN", 9)] {
        wide(&format!("h = {cell}(I, H)(x)"), "input x: [I] over t", "t", [20, 80], examples);
    }
}

/// Trees whose levels several workers share, columns that end within panels, and so few examples that matrices may be read
/// as they lie.
#[test]
fn wide_cells_on_trees() {
    let (nodes, leaves) = ("input x: [I] over tree n", "input x: [I] over n.leaf\n input y: [H] over tree n");
    for (equation, input, examples) in [
        ("h = TreeLSTM(I, H)(x)", nodes, 3),
        ("h = y * TreeLSTM(I, H)(x)", leaves, 3),
        ("h = y * TreeLSTM(I, H)(x)", leaves, 40),
        ("h = TreeGRU(I, H)(x)", nodes, 3),
        ("h = ChildSumTreeLSTM(I, H)(x)", nodes, 2),
        ("h = ChildSumTreeLSTM(I, H)(x)", nodes, 20),
        ("h = RecursiveNN(H)(Dense(I, H)(x))", nodes, 7),
    ] {
        wide(equation, input, "n", [30, 150], examples);
    }
}

/// The gradient of the squares of `h` by native code, on every target and by several workers.
fn wide(equation: &str, input: &str, axis: &str, [width, hidden]: [usize; 2], examples: usize) {
    let source = format!(
        "model Wide(I = {width}, H = {hidden}) {{
           {input}
           {equation}
           loss squares = sum(sum(h^2) over {axis})
         }}"
    );
    let request = Request { model: None, set: &[], mode: Mode::Train, everything: false };
    let checked = front(&source, &request).unwrap_or_else(|error| panic!("{equation}: {error:?}"));
    let names: Vec<String> = checked.graph.params.iter().map(|param| param.name.clone()).collect();
    let graph = grad_of_losses(&checked.graph, &names).unwrap();
    let fills = names.into_iter().map(|name| (name, Fill::Spread(0.2))).collect();
    let feeds = feeds(&Sample { graph: graph.clone(), fills }, 3, Batch::Large(examples));
    let expected = evaluate(&graph, &feeds).unwrap();
    let plan = planned(&graph, &[OutputKind::Loss, OutputKind::Gradient], "wide").unwrap();
    for (target, varying) in targets(Precision::F32).into_iter().flat_map(|one| [(one, false), (one, true)]) {
        let plan = Plan { unpacked_from: varying.then_some(0), ..plan.clone() };
        let compiled = Arc::new(Program::<f32>::compile(plan, target, false).unwrap());
        let found = run_by(&graph, &compiled, &feeds, true);
        for output in graph.outputs.iter().filter(|output| output.kind != OutputKind::Value) {
            let wanted = expected.output(output.kind, &output.name).unwrap().numbers();
            let worst = distance(&found[&plan_name(output.kind, &output.name)], &wanted);
            let case = format!("{equation} for {target}, varying {varying}");
            assert!(worst < 1e-4, "{case}: `{}` is off by {worst:e}", output.name);
        }
    }
}

#[test]
fn small_programs() {
    let options = Options { operations: 2, loops: 1, ..Options::default() };
    sweep::<f64>(0..300, &options, 1e-10);
}

#[test]
fn programs_in_f64() {
    sweep::<f64>(0..200, &Options::default(), 1e-10);
}

#[test]
fn large_programs_in_f64() {
    sweep::<f64>(1000..1040, &Options { operations: 30, loops: 4, ..Options::default() }, 1e-9);
}

#[test]
fn programs_in_f32() {
    sweep::<f32>(200..300, &Options::differentiable(), 2e-4);
}

#[test]
fn programs_on_trees() {
    let options = Options { trees: true, ..Options::default() };
    sweep::<f64>(0..200, &Options { operations: 2, loops: 1, ..options }, 1e-10);
    sweep::<f64>(200..400, &options, 1e-10);
    sweep::<f32>(400..450, &Options { differentiable: true, ..options }, 2e-4);
}

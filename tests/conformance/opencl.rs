//! OpenCL against the interpreter and native code: values, losses and gradients of the same programs.

use std::sync::{Arc, OnceLock};

use rnnc::driver::planned;
use rnnc::eval::evaluate;
use rnnc::grad::grad;
use rnnc::ir::{Graph, OutputKind, print};
use rnnc::runtime::opencl::{Device, Program};
use rnnc::runtime::program::Real;
use rnnc::testing::{Batch, Options, Sample, feeds, sample};

use super::support::{distance, plan_name, run_on_device};

/// The device of this machine, if there is one; else the test says that it is skipped.
fn device(test: &str) -> Option<Arc<Device>> {
    static DEVICE: OnceLock<Result<Arc<Device>, String>> = OnceLock::new();
    let opened = DEVICE.get_or_init(|| Device::open(None).map_err(|error| error.to_string()));
    match opened {
        Ok(device) => Some(Arc::clone(device)),
        Err(why) => {
            eprintln!("skipped: {test}: {why}");
            None
        }
    }
}

/// Every output of a graph on the device, against the interpreter's.
fn agrees<R: Real>(
    device: &Arc<Device>,
    graph: &Graph,
    kinds: &[OutputKind],
    batches: &[rnnc::eval::Feeds],
    tolerance: f64,
) -> Result<(), String> {
    let plan = planned(graph, kinds, "sample").map_err(|error| format!("{error}\n{}", print(graph)))?;
    let program = Program::<R>::new(&plan, device).map_err(|error| format!("{error}\n{}", print(graph)))?;
    let program = Arc::new(program);
    for feeds in batches {
        let expected = evaluate(graph, feeds).unwrap();
        for groups in [1, 2] {
            let found = run_on_device(graph, &program, feeds, groups);
            for output in graph.outputs.iter().filter(|output| kinds.contains(&output.kind)) {
                let wanted = expected.output(output.kind, &output.name).unwrap().numbers();
                let got = &found[&plan_name(output.kind, &output.name)];
                let worst = distance(got, &wanted);
                if worst > tolerance {
                    return Err(format!(
                        "`{}` is off by {worst:e} in {groups} groups\n{got:?}\n{wanted:?}\n{}",
                        output.name,
                        print(graph)
                    ));
                }
            }
        }
    }
    Ok(())
}

/// Values and losses of random programs, and with `gradients` those of all parameters.
fn sweep<R: Real>(
    test: &str,
    seeds: std::ops::Range<u64>,
    options: &Options,
    gradients: bool,
    tolerance: f64,
) {
    let Some(device) = device(test) else { return };
    let mut failures: Vec<String> = Vec::new();
    let total = seeds.end - seeds.start;
    for seed in seeds {
        let sample = sample(seed, options);
        let batches: Vec<_> = [Batch::Ragged, Batch::Equal(3)]
            .into_iter()
            .enumerate()
            .map(|(number, batch)| feeds(&sample, seed * 2 + number as u64, batch))
            .collect();
        let Sample { graph, .. } = sample;
        let mut kinds = vec![OutputKind::Value, OutputKind::Loss];
        let mut whole = graph.clone();
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        if gradients && !names.is_empty() {
            whole = grad(&graph, &names).unwrap();
            kinds.push(OutputKind::Gradient);
        }
        if let Err(why) = agrees::<R>(&device, &whole, &kinds, &batches, tolerance) {
            failures.push(format!("seed {seed}: {why}"));
        }
    }
    failures.sort_by_key(String::len);
    let shown: Vec<&str> = failures.iter().take(3).map(String::as_str).collect();
    assert!(
        shown.is_empty(),
        "{} of {total} programs differ; the shortest: {}",
        failures.len(),
        shown.join("\n")
    );
}

#[test]
fn small_programs() {
    let options = Options { operations: 2, loops: 1, ..Options::default() };
    sweep::<f64>("small_programs", 0..12, &options, false, 1e-10);
}

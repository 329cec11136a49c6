//! OpenCL against the interpreter and native code: values, losses and gradients of the same programs.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use rnnc::backend::opencl::{Range, emit};
use rnnc::check::{Mode, Request};
use rnnc::driver::corpus::Source;
use rnnc::driver::machine::MachineName;
use rnnc::driver::train::{Job, train};
use rnnc::driver::{front, planned, program};
use rnnc::eval::{Feeds, InputData, evaluate};
use rnnc::grad::grad;
use rnnc::ir::{Graph, OutputKind, Unary, print};
use rnnc::plan::Precision;
use rnnc::runtime::interrupt::Interrupt;
use rnnc::runtime::opencl::program::{Form, Loops};
use rnnc::runtime::opencl::{Device, Program};
use rnnc::runtime::program::Real;
use rnnc::runtime::progress::Display;
use rnnc::testing::{Batch, Options, Sample, feeds, sample};

use super::device::run_on_device;
use super::support::{distance, plan_name, run};

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
    form: Form,
    graph: &Graph,
    kinds: &[OutputKind],
    batches: &[Feeds],
    tolerance: f64,
) -> Result<(), String> {
    let plan = planned(graph, kinds, "sample").map_err(|error| format!("{error}\n{}", print(graph)))?;
    let program = Program::<R>::in_form(&plan, device, form);
    let program = Arc::new(program.map_err(|error| format!("{error}\n{}", print(graph)))?);
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
        if let Err(why) = agrees::<R>(&device, Form::of(&device), &whole, &kinds, &batches, tolerance) {
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
    sweep::<f64>("small_programs", 0..8, &options, false, 1e-10);
}

#[test]
fn programs() {
    sweep::<f64>("programs", 100..108, &Options::default(), false, 1e-10);
}

#[test]
fn programs_on_trees() {
    let options = Options { trees: true, ..Options::default() };
    sweep::<f64>("programs_on_trees", 200..208, &options, false, 1e-10);
}

#[test]
fn gradients() {
    let options = Options::differentiable();
    sweep::<f64>("gradients", 300..305, &options, true, 1e-9);
    sweep::<f64>("gradients", 312..317, &Options { trees: true, ..options }, true, 1e-9);
}

#[test]
fn programs_in_f32() {
    sweep::<f32>("programs_in_f32", 400..405, &Options::differentiable(), false, 2e-4);
}

/// Every cell of the library over sequences of different lengths, what observes and what drops; over trees
/// likewise. In f32 every value is within 1e-5 of the interpreter's, relative to the largest.
const MODELS: &[(&str, &str)] = &[
    ("RNN", "input x: [5] over t  h = RNN(5, 19)(x)  loss l = sum(sum(h^2) over t)"),
    ("GRU", "input x: [5] over t  h = GRU(5, 19)(x)  loss l = sum(sum(h^2) over t)"),
    ("LSTM", "input x: [5] over t  h = LSTM(5, 19)(x)  loss l = sum(sum(h^2) over t)"),
    ("LSTM of whole panels", "input x: [16] over t  h = LSTM(16, 32)(x)  loss l = sum(sum(h^2) over t)"),
    ("PeepholeLSTM", "input x: [5] over t  h = PeepholeLSTM(5, 7)(x)  loss l = sum(sum(h^2) over t)"),
    ("CoupledLSTM", "input x: [5] over t  h = CoupledLSTM(5, 7)(x)  loss l = sum(sum(h^2) over t)"),
    ("LayerNormLSTM", "input x: [5] over t  h = LayerNormLSTM(5, 7)(x)  loss l = sum(sum(h^2) over t)"),
    (
        "layers",
        "input x: [5] over t  y = LayerNorm(5)(Highway(5)(x))  z = Dense(5, 3)(y)  loss l = sum(sum(z^2) over t)",
    ),
    (
        "text",
        "input text: id(6) over t  param embed: [6, 4]  h = LSTM(4, 7)(embed[text[t-1]])  text[t] ~ categorical(Dense(7, 6)(h))",
    ),
    (
        "both directions and dropout",
        "input words: id(6) over t  input tags: id(3) over t  param embed: [6, 4]  x = embed[words]
         f = LSTM(4, 5)(x)  b = GRU(4, 5)(x, backward)  tags ~ categorical(Dense(10, 3)(dropout([f, b], 0.4)))",
    ),
    (
        "attention",
        "input x: [3] over t  input m: [4] over s  param W: [4, 3], v: [4]
         a = softmax(dot(v, tanh(W @ x + m)) over s)  y = sum(a * m over s)  loss l = sum(sum(y^2) over t)",
    ),
    (
        "a stack of new cells",
        "input x: [5] over t  a = stack(2, sLSTM(5, 5))(x)  b = SRU(5, 6)(a)  c = ResetAfterGRU(6, 5)(b)
         d = LayerNormGRU(5, 4)(c)  e = Clockwork(4, 2)(d)  loss l = sum(e^2)",
    ),
    (
        "BatchNorm",
        "input x: [5] over t  h = GRU(5, 7)(BatchNorm(5)(x))  loss l = sum(BatchNorm(7)(h)^3)",
    ),
    (
        "several heads",
        "input x: [3] over t  input m: [4] over s  y = MultiHeadAttention(3, 4, 2, 3, 5)(x, m)  loss l = sum(y^2)",
    ),
    ("NTM", "input x: [3] over t  h = NTM(3, 4, 5, 2)(x)  loss l = sum(h^2)"),
    ("mask along", "input x: [3] over t  m = mask(0.6, 3, along t)  param w: [3]  loss l = sum(m * w * x)"),
    ("mask of an example", "input x: [3] over t  m = mask(0.6, 3)  param w: [3]  loss l = sum(m * w * x)"),
    ("noise shared", "input x: [3] over t  param w: [3]  loss l = sum((x + noise(0.1, 3, shared)) * w)"),
    ("dropout once", "input x: [3] over t  param w: [3]  loss l = sum(dropout(x * w, 0.3, once)^2)"),
    (
        "masks, noise and draws",
        "input y: id(5) over t  state guess: id(5) over t  param embed: [5, 3], U: [4, 4]
         chosen = training * mask(0.5 * epoch, along t)  m = mask(0.6, 4)
         x = embed[where(chosen, guess[t-1], y[t-1])] + noise(0.1, 3, shared)
         h = GRU(3, 4)(dropout(x, 0.3, once))  logits = Dense(4, 5)(m * (U @ h))
         guess[t] = draw(categorical(logits))  y[t] ~ categorical(logits, smoothing = 0.1)",
    ),
    ("RecursiveNN", "input x: [5] over tree n  h = RecursiveNN(5)(x)  loss l = sum(h[root]^2)"),
    ("TreeLSTM", "input x: [5] over tree n  h = TreeLSTM(5, 7)(x)  loss l = sum(h[root]^2)"),
    ("ChildSumTreeLSTM", "input x: [5] over tree n  h = ChildSumTreeLSTM(5, 7)(x)  loss l = sum(h[root]^2)"),
    ("TreeGRU", "input x: [5] over tree n  h = TreeGRU(5, 7)(x)  loss l = sum(h[root]^2)"),
    ("TopDown", "input x: [5] over tree n  h = TopDown(5, 7)(x)  loss l = sum(sum(h^2) over n)"),
];

/// Losses and gradients of a model, as they are trained.
fn trained(name: &str, body: &str) -> Graph {
    let source = format!("model M() {{\n{body}\n}}");
    let request = Request { model: None, set: &[], mode: Mode::Train, everything: false };
    let graph = front(&source, &request).unwrap_or_else(|wrong| panic!("{name}: {wrong:?}")).graph;
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    grad(&graph, &names).unwrap()
}

#[test]
fn the_library() {
    let Some(device) = device("the_library") else { return };
    let kinds = [OutputKind::Loss, OutputKind::Gradient];
    let mut failures = Vec::new();
    for (number, (name, body)) in MODELS.iter().enumerate() {
        let sample = Sample { graph: trained(name, body), fills: BTreeMap::new() };
        let batches = [feeds(&sample, number as u64, Batch::Ragged), feeds(&sample, 77, Batch::Equal(4))];
        if let Err(why) = agrees::<f32>(&device, Form::of(&device), &sample.graph, &kinds, &batches, 1e-5) {
            failures.push(format!("{name}: {why}"));
        }
        let native = program::<f32>(&sample.graph, &kinds, "library").unwrap();
        for feeds in &batches {
            let expected = evaluate(&sample.graph, feeds).unwrap();
            let found = run(&sample.graph, &native, feeds);
            for output in sample.graph.outputs.iter().filter(|output| kinds.contains(&output.kind)) {
                let wanted = expected.output(output.kind, &output.name).unwrap().numbers();
                let worst = distance(&found[&plan_name(output.kind, &output.name)], &wanted);
                if worst > 1e-5 {
                    failures.push(format!("{name}: native `{}` is off by {worst:e}", output.name));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Models whose rows are wide enough for teams and whose products go through local memory: windows of whole fours and
/// others, products that are added to, softmax and sums of squares of wide rows, the gradient of a table.
const WIDE: &[(&str, &str)] = &[
    ("LSTM of whole panels", "input x: [16] over t  h = LSTM(16, 32)(x)  loss l = sum(sum(h^2) over t)"),
    (
        "GRU of text",
        "input text: id(80) over t  param embed: [80, 18]  h = GRU(18, 19)(embed[text[t-1]])
         text[t] ~ categorical(Dense(19, 80)(dropout(h, 0.3)))",
    ),
    ("LayerNormLSTM", "input x: [20] over t  h = LayerNormLSTM(20, 66)(x)  loss l = sum(sum(h^2) over t)"),
    ("a layer", "input x: [20] over t  y = tanh(Dense(20, 33)(x))  loss l = sum(sum(y^2) over t)"),
    ("largest", "input x: [70] over t  param W: [70, 70]  y = max(W @ x)  loss l = sum(y over t)"),
    (
        "ChildSumTreeLSTM",
        "input x: [17] over tree n  h = ChildSumTreeLSTM(17, 18)(x)  loss l = sum(h[root]^2)",
    ),
];

/// The forms of graphics processors: launches over all work-items and teams, and loops each way.
fn spread_forms(device: &Device) -> Vec<(&'static str, Form)> {
    let form = Form { chunk: 2, ..Form::spread(8, 1 << 14, 64) };
    let together = |teams| Form { loops: Loops::Together(teams), ..form };
    // Teams that wait for each other must run at once: a processor has a thread for each unit.
    let teams = match device.info.units {
        0 | 1 => {
            eprintln!("skipped: teams that meet: the device runs one at a time");
            ("one team", together(1))
        }
        _ => ("two teams", together(2)),
    };
    vec![("a launch a step", form), teams]
}

fn agree_spread(test: &str, models: &[(&str, &str)]) {
    let Some(device) = device(test) else { return };
    let kinds = [OutputKind::Loss, OutputKind::Gradient];
    let mut failures = Vec::new();
    for (name, body) in models {
        let sample = Sample { graph: trained(name, body), fills: BTreeMap::new() };
        let batches = [feeds(&sample, 5, Batch::Ragged), feeds(&sample, 6, Batch::Equal(4))];
        for (loops, form) in spread_forms(&device) {
            if let Err(why) = agrees::<f32>(&device, form, &sample.graph, &kinds, &batches, 1e-5) {
                failures.push(format!("{name}, {loops}: {why}"));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn the_library_spread() {
    let wanted = ["LayerNormLSTM", "text", "both directions and dropout", "attention", "ChildSumTreeLSTM"];
    let models: Vec<_> = MODELS.iter().filter(|(name, _)| wanted.contains(name)).copied().collect();
    agree_spread("the_library_spread", &models);
}

#[test]
fn products_by_blocks_and_rows_by_teams() {
    agree_spread("products_by_blocks_and_rows_by_teams", WIDE);
}

/// Random programs, forward and gradient, in each of these forms.
#[test]
fn programs_spread() {
    let Some(device) = device("programs_spread") else { return };
    let kinds = [OutputKind::Value, OutputKind::Loss, OutputKind::Gradient];
    for (seed, trees) in [(500, false), (510, true)] {
        let sample = sample(seed, &Options { trees, ..Options::differentiable() });
        let batches = [feeds(&sample, seed, Batch::Ragged)];
        let names: Vec<String> = sample.graph.params.iter().map(|param| param.name.clone()).collect();
        let graph =
            if names.is_empty() { sample.graph.clone() } else { grad(&sample.graph, &names).unwrap() };
        for (loops, form) in spread_forms(&device) {
            let found = agrees::<f64>(&device, form, &graph, &kinds, &batches, 1e-9);
            found.unwrap_or_else(|why| panic!("seed {seed}, {loops}: {why}"));
        }
    }
}

/// What is emitted for an LSTM: a step is one unit, product and gates together, and so is one of the way back.
#[test]
fn a_step_of_an_lstm_is_one_launch() {
    let graph = trained("LSTM", "input x: [16] over t  h = LSTM(16, 32)(x)  loss l = sum(sum(h^2) over t)");
    let plan = planned(&graph, &[OutputKind::Loss, OutputKind::Gradient], "lstm").unwrap();
    let emitted = emit(&plan, Precision::F32).unwrap();
    let loops = emitted.program.launches.spread.iter().filter_map(|launch| match &launch.range {
        Range::Loop(own) => Some(own.launches.len()),
        _ => None,
    });
    assert_eq!(loops.collect::<Vec<_>>(), [1, 1]);
}

/// Trains a small model on both machines.
#[test]
fn every_optimiser() {
    let Some(_) = device("every_optimiser") else { return };
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "to be or not to be, that is the question. ".repeat(30)).unwrap();
    for optimiser in [
        "sgd(lr = 0.1), clip_norm = 0.5",
        "sgd(lr = 0.05, momentum = 0.9), clip_value = 0.01",
        "sgd(lr = 0.05, momentum = 0.9, nesterov = 1, weight_decay = 0.01)",
        "adam(lr = 0.01), clip_norm = 1",
        "adam(lr = 0.01, weight_decay = 0.1)",
        "adamw(lr = 0.01, weight_decay = 0.1)",
        "rmsprop(lr = 0.01)",
        "rmsprop(lr = 0.01, momentum = 0.5), clip_value = 0.1, clip_norm = 0.5",
    ] {
        let source = format!(
            "model M(V = 20, E = 6, H = 18) {{
  input text: id(V) over t
  param embed: [V, E] = normal(1), unread: [21] = normal(1)
  metric size = sum(unread^2)
  h = GRU(E, H)(embed[text[t-1]])
  text[t] ~ categorical(Dense(H, V)(dropout(h, 0.1)))
  train {{ optimizer = {optimiser}, truncate = 16, batch = 4, epochs = 2 }}
}}
"
        );
        let file = folder.path().join("m.rnn");
        std::fs::write(&file, source).unwrap();
        let train = |machine: MachineName, max_steps: Option<u64>, resume: bool| {
            let out = folder.path().join(format!("{machine}.safetensors"));
            let job = Job {
                file: Some(file.clone()),
                source: Some(Source::Text(text.clone())),
                machine,
                max_steps,
                resume,
                threads: 1,
                ..Job::new(out)
            };
            train(&job, Display::Lines, Box::new(std::io::sink()), &Interrupt::default()).unwrap().run
        };
        let native = train(MachineName::Cpu, None, false);
        // Interrupted in the middle, so that all that is on the device comes back and goes there again.
        train(MachineName::OpenCl(None), Some(7), false);
        let device = train(MachineName::OpenCl(None), None, true);
        assert_eq!(device.meta.position, native.meta.position, "{optimiser}");
        let numbers = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let worst = distance(&numbers(device.parameters.values()), &numbers(native.parameters.values()));
        assert!(worst < 1e-3, "{optimiser}: parameters are apart by {worst:e}");
        for (a, b) in device.meta.history.iter().zip(&native.meta.history) {
            assert!((a.training - b.training).abs() < 1e-4 * b.training, "{optimiser}: {a:?}, native {b:?}");
            let (a, b) = (a.held_out.unwrap(), b.held_out.unwrap());
            assert!((a - b).abs() < 1e-4 * b, "{optimiser}: held out {a}, native {b}");
        }
    }
}

/// Every elementwise function over the whole range of arguments, as the expansion that native code has.
#[test]
fn every_function() {
    let Some(device) = device("every_function") else { return };
    let mut arguments = vec![0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN];
    for exponent in -60..=60 {
        let size = 2f64.powf(f64::from(exponent) / 4.0 + 0.083);
        arguments.extend([size, -size]);
    }
    arguments.resize(arguments.len().next_multiple_of(37), 0.5);
    let arguments: Vec<f64> = arguments.into_iter().map(|x| f64::from(x as f32)).collect();
    let equations: String = Unary::ALL.iter().map(|(_, name)| format!("  y_{name} = {name}(x)\n")).collect();
    let source = format!("model M() {{\n  input x: [37]\n{equations}}}\n");
    let request = Request { model: None, set: &[], mode: Mode::Evaluate, everything: false };
    let graph = front(&source, &request).unwrap().graph;
    let data = InputData::Real(arguments.chunks(37).map(<[f64]>::to_vec).collect());
    let feeds = Feeds {
        examples: arguments.len() / 37,
        inputs: BTreeMap::from([("x".into(), data)]),
        ..Feeds::default()
    };
    let expected = evaluate(&graph, &feeds).unwrap();
    let plan = planned(&graph, &[OutputKind::Value], "functions").unwrap();
    let program = Arc::new(Program::<f32>::new(&plan, &device).unwrap());
    let found = run_on_device(&graph, &program, &feeds, 2);
    for (_, name) in Unary::ALL {
        let name = format!("y_{name}");
        let wanted = expected.output(OutputKind::Value, &name).unwrap().numbers();
        let got = &found[&plan_name(OutputKind::Value, &name)];
        for ((x, y), wanted) in arguments.iter().zip(got).zip(wanted) {
            let wanted = f64::from(wanted as f32);
            let same = *y == wanted || (y.is_nan() && wanted.is_nan());
            let error = (y - wanted).abs() / wanted.abs().max(1e-30);
            assert!(same || error < 1e-6, "{name}({x:e}) is {y:e}, not {wanted:e}");
        }
    }
}

/// A device that there is not, whatever the machine has.
#[test]
fn a_number_that_no_device_has() {
    let message = Device::open(Some(1000)).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(message.contains("there is no"), "{message}");
}

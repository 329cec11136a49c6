//! No cell is known by name: a user's copy of one from the library, under other names, becomes the same code.

use rnnc::backend::native::Target;
use rnnc::check::Mode;
use rnnc::driver::planned;
use rnnc::driver::session::Model;
use rnnc::grad::grad;
use rnnc::ir::OutputKind;
use rnnc::plan::Precision;

/// A model over a cell; parameters are declared in the order of the library's LSTM.
fn model(cell: &str, cell_text: &str) -> Model {
    let source = format!(
        "{cell_text}
model Net(D = 19, H = 37) {{
  input x: [D] over t
  input y: [H] over t
  z = {cell}(D, H)(x)
  y[t] ~ normal(z)
}}
"
    );
    Model::new("net.rnn", &source)
}

/// The library's LSTM, but every name is another, whose alphabetical order is also another.
const COPY: &str = "cell Zuse(Width, Height) {
  input signal: [Width]
  state out: [Height], memory: [Height]
  param z1, y2, x3, w4: [Height, Height + Width]
  param v5: [Height] = ones
  param u6, t7, s8: [Height]
  keep = sigmoid(z1 @ [out[t-1], signal] + v5)
  write = sigmoid(y2 @ [out[t-1], signal] + u6)
  fresh = tanh(x3 @ [out[t-1], signal] + t7)
  show = sigmoid(w4 @ [out[t-1], signal] + s8)
  memory[t] = keep * memory[t-1] + write * fresh
  out[t] = show * tanh(memory[t])
}";

/// Name, text and machine code of every function, in order.
fn code(model: &Model, mode: Mode, target: Target) -> Vec<(String, Vec<u8>)> {
    let graph = model.check(mode).unwrap().graph;
    let (graph, kinds) = match mode {
        Mode::Train => {
            let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
            (grad(&graph, &names).unwrap(), vec![OutputKind::Loss, OutputKind::Gradient])
        }
        _ => (graph, vec![OutputKind::Loss]),
    };
    let plan = planned(&graph, &kinds, "net").unwrap();
    let functions = rnnc::backend::native::listing::functions(&plan, Precision::F32, target).unwrap();
    functions.into_iter().map(|function| (function.name, function.bytes)).collect()
}

#[test]
fn a_cell_under_other_names_becomes_the_same_machine_code() {
    let (library, copy) = (model("LSTM", ""), model("Zuse", COPY));
    for target in [Target::Native, Target::Reference, Target::V3, Target::V4] {
        if target.isa(true).is_err() {
            println!("skipped: {target} is of another architecture");
            continue;
        }
        for mode in [Mode::Evaluate, Mode::Train] {
            let (of_library, of_copy) = (code(&library, mode, target), code(&copy, mode, target));
            let names = |of: &[(String, Vec<u8>)]| -> Vec<String> {
                of.iter().map(|(name, _)| name.clone()).collect()
            };
            assert_eq!(names(&of_library), names(&of_copy));
            assert!(of_library.len() > 3);
            for ((name, library), (_, copy)) in of_library.iter().zip(&of_copy) {
                assert!(library == copy, "`{name}` for {target} differs");
            }
        }
    }
}

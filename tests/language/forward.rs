//! Tangents in print: forward mode gives a program of the language, as short as its gradient.

use rnnc::grad::{grad, jvp};
use rnnc::ir::{Graph, OriginKind, listing};
use rnnc::opt::TIDY;

use super::support::graph;

const ELMAN: &str = "
cell RNN(I, H) {
  input x: [I]
  state h: [H]
  param W_x: [H, I], W_h: [H, H], b_h: [H]
  h[t] = tanh(W_x @ x + W_h @ h[t-1] + b_h)
}
model CharRNN(V = 65, E = 32, H = 128) {
  input text: id(V) over t
  param embed: [V, E], W_y: [V, H], b_y: [V]
  h = RNN(E, H)(embed[text[t-1]])
  text[t] ~ categorical(W_y @ h + b_y)
}";

fn tidied(mut graph: Graph) -> Graph {
    for pass in TIDY {
        (pass.run)(&mut graph);
    }
    graph
}

fn derived(graph: &Graph) -> String {
    let is_tangent = |node| matches!(graph.node(node).origin.kind, OriginKind::Tangent(_));
    let lines = listing(graph).equations.into_iter().filter(|(node, _)| is_tangent(*node));
    lines.map(|(_, equation)| equation).collect::<Vec<_>>().join("\n")
}

#[test]
fn the_tangent_of_the_first_program() {
    let one = ["h.W_h".to_string()];
    let found = derived(&tidied(jvp(&graph(ELMAN), &one).unwrap()));
    insta::assert_snapshot!("tangent", format!("{ELMAN}\n\n# along W_h_dot\n{found}"));
}

#[test]
fn names_that_are_taken() {
    let source = "model M() { param W, W_dot: [2]  loss l = sum(W * W_dot^2)  l_dot = W * 2 }";
    let program = graph(source);
    let names: Vec<String> = ["W", "W_dot"].map(String::from).into();
    let tangent = jvp(&program, &names).unwrap();
    let params: Vec<&str> = tangent.params.iter().map(|param| param.name.as_str()).collect();
    assert_eq!(params, ["W", "W_dot", "W_dot_", "W_dot_dot"]);
    let outputs: Vec<&str> = tangent.outputs.iter().map(|output| output.name.as_str()).collect();
    assert_eq!(outputs, ["l", "l_dot", "l_dot_"]);
    let again = jvp(&tangent, &names).unwrap();
    assert!(again.params.iter().any(|param| param.name == "W_dot__"), "{:?}", again.params);
}

#[test]
fn what_has_no_derivative_is_said() {
    let error = |source: &str| {
        let program = graph(source);
        let names: Vec<String> = program.params.iter().map(|param| param.name.clone()).collect();
        (jvp(&program, &names).unwrap_err().to_string(), grad(&program, &names).unwrap_err().to_string())
    };
    for source in [
        "model M() { param W: [2]  loss l = sum(floor(W)) }",
        "model M() { param W: [2], E: [2, 3]  loss l = sum(E[argmax(W)]) }",
        "model M() { param W: [2]  x = W }",
    ] {
        let (forward, reverse) = error(source);
        assert_eq!(forward, reverse, "{source}");
    }
    let fine = "model M() { param W: [2]  loss l = sum(stop(floor(W)) * W * (W > 0)) }";
    assert!(jvp(&graph(fine), &["W".to_string()]).is_ok());
    let unknown = jvp(&graph(fine), &["V".to_string()]).unwrap_err().to_string();
    assert_eq!(unknown, "the model has no parameter `V`");
}

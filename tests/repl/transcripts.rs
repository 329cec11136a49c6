//! Sessions as people have them.

use crate::support::{MODELS, classifier, transcript};

#[test]
fn values_and_expressions() {
    insta::assert_snapshot!(transcript(&[
        "x = seq(1, 2, 4 over t)",
        "x",
        "sum(x - x[t-1] over t)",
        "W = rows([1, 0], [2, 1], [0, 3])",
        "W @ [1, 1]",
        ":type W @ seq([1, 2], [3, 4])",
        "W @ x",
        "fn double(y) = 2 * y",
        "double(x[last])",
        "cell Count(N) {\n  input x: [N]\n  state n: [N]\n  n[t] = n[t-1] + x\n}",
        "c = Count(1)(seq([1], [2], [3]))",
        "c.n[last]",
        "tree(1, tree(2, 3, 4), 5 over n)",
        "m = ids(5, seq(0, 3, 1))",
        "onehot(m, 5)",
        "normal([40, 40])",
        "flor(x)",
        "x = [1, 2",
        ":forget x",
        "x",
        ":defs",
    ]));
}

/// The equations of Rumelhart, Hinton and Williams (1986), of Hochreiter and Schmidhuber (1997) with Gers'
/// forget gate, and of Cho et al. (2014), as textbooks derive them by hand.
#[test]
fn textbook_derivations() {
    let model = |cell: &str| {
        format!(
            "model Next(V = 5, E = 3, H = 4) {{\n  input text: id(V) over t\n  param embed: [V, E]\n\n  h = {cell}(E, H)(embed[text[t-1]])\n  text[t] ~ categorical(Dense(H, V)(h))\n}}"
        )
    };
    let texts = ["RNN", "LSTM", "GRU"].map(model);
    insta::assert_snapshot!(transcript(&[
        &texts[0], ":grad", ":why dz", ":why dh", &texts[1], ":grad", ":why dc", &texts[2], ":grad",
        ":why dr",
    ]));
}

/// Of a plain network the gradient of the last step's loss is gone after a hundred steps, of an LSTM whose
/// forget gates begin open (Jozefowicz et al., 2015) it is not.
#[test]
fn a_vanishing_gradient() {
    let keeper = "cell Keeper(I, H) {
  input x: [I]
  state h: [H], c: [H]
  param W_f, W_i, W_c, W_o: [H, H + I], b_f: [H] = 6, b_i, b_c, b_o: [H]
  f = sigmoid(W_f @ [h[t-1], x] + b_f)
  i = sigmoid(W_i @ [h[t-1], x] + b_i)
  g = tanh(W_c @ [h[t-1], x] + b_c)
  o = sigmoid(W_o @ [h[t-1], x] + b_o)
  c[t] = f * c[t-1] + i * g
  h[t] = o * tanh(c[t])
}";
    let [plain, lstm] = ["RNN", "Keeper"].map(classifier);
    insta::assert_snapshot!(transcript(&[&plain, ":flow steps 100", keeper, &lstm, ":flow"]));
}

#[test]
fn a_nan_traced_to_a_logarithm_of_zero() {
    insta::assert_snapshot!(transcript(&[
        "model Likelihood(D = 2) {\n  input x: [D] over t\n  param w: [D] = ones\n\n  p = relu(dot(w, x))\n  loss l = -log(p[t])\n}",
        ":nan with x = seq([1, 2], [0.5, 0.25], [-1, -2])",
        ":trace",
        ":watch p, dp",
        ":step 6",
        "fn safe(p) = log(max(p, 0.001))",
        "safe(Likelihood.p)",
    ]));
}

#[test]
fn an_attention_map() {
    let (_, text, ..) = MODELS[1];
    insta::assert_snapshot!(transcript(&[
        text,
        ":data with source = seq(0, 1, 2, 3, 1, 0), target = seq(1, 2, 3, 4)",
        ":type Align.a",
        ":heat Align.a",
        "sum(Align.a over s)",
        ":why dscore",
    ]));
}

#[test]
fn a_tree_node_by_node() {
    let (_, text, ..) = MODELS[2];
    insta::assert_snapshot!(transcript(&[
        text,
        ":data with word = leaves(1, leaves(2, 3) over n), label = tree(0, 1, tree(2, 1, 0))",
        ":watch c, h, dc",
        ":break h when max(h) > 0.1",
        ":trace",
        ":continue",
        ":break off",
        ":step 20",
        "Parse.h[root]",
    ]));
}

/// A printed gradient is a program: pasted back it has the same values, and it differentiates again.
#[test]
fn a_gradient_pasted_back() {
    let (_, text, ..) = MODELS[0];
    let mut session = rnnc::repl::Session::default();
    crate::support::on_large_stack(move || {
        session.run(text);
        let printed = session.run(":grad program").text;
        session.run(":data steps 5");
        // Equation by equation, on the model's own values.
        let equations = session.run(":grad").text;
        assert!(equations.lines().count() > 10);
        for equation in equations.lines() {
            let reply = session.run(equation);
            let same = reply.text.contains("as Chars.") || reply.text.contains(": ");
            assert!(!reply.failed && same, "{equation}\n{}", reply.text);
        }
        let own = session.run(":all Chars.dembed").text;
        // As a whole, as another model.
        let reply = session.run(&printed);
        assert!(!reply.failed, "{printed}\n{}", reply.text);
        session.run(":data Chars_grad steps 5");
        assert_eq!(session.run(":all Chars_grad.dembed").text, own);
        for again in [":grad Chars_grad wrt embed", ":grad :grad Chars wrt embed"] {
            let reply = session.run(again);
            assert!(!reply.failed && reply.text.contains("ddembed"), "{again}: {}", reply.text);
        }
    });
}

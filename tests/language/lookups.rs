//! Products of looked-up rows, once for each id: which plans have them, and that they compute the same.

use std::sync::Arc;

use rnnc::driver::planned;
use rnnc::grad::grad;
use rnnc::ir::OutputKind;
use rnnc::plan::places::kernels;
use rnnc::plan::{GemmRows, Plan, Row, Work, print, share_lookups};
use rnnc::runtime::program::Program;

use super::native::{distance, run};
use super::support::{feeds_for, graph};

/// Products, sums of products and additions by id that go over the words, and all that look words up.
fn lookups(plan: &Plan) -> (usize, usize) {
    let of_words = |work: &Work| {
        let space = match work {
            Work::Gemm(gemm) => match gemm.rows {
                GemmRows::Space(space) => Some(space),
                GemmRows::Static(_) => None,
            },
            Work::Outer(outer) => Some(outer.space),
            Work::Scatter(scatter) => Some(scatter.space),
            _ => None,
        };
        space.is_some_and(|space| plan.distinct.iter().any(|distinct| distinct.space == space))
    };
    let by_id = |work: &Work| match work {
        Work::Gemm(gemm) => matches!(gemm.a.at.row, Row::Id(_)),
        Work::Outer(outer) => matches!(outer.b.at.row, Row::Id(_)),
        Work::Scatter(_) => true,
        _ => false,
    };
    let works: Vec<&Work> = kernels(plan).map(|kernel| &kernel.work).collect();
    (works.iter().filter(|work| of_words(work)).count(), works.iter().filter(|work| by_id(work)).count())
}

/// A model over a sequence or a tree, and the kernels of it that are shared: all that look words up, and the product
/// of adjoints of which the rows are added by id.
const MODELS: [(&str, usize); 5] = [
    ("input word: id(V) over t\n h = LSTM(E, H)(embed[word])\n loss l = sum(sum(h^2) over t)", 4),
    (
        "input word: id(V) over t\n h = GRU(E, H)(embed[word[t-1]], backward)\n loss l = sum(sum(h^2) over t)",
        4,
    ),
    ("input word: id(V) over t\n loss l = sum(sum(tanh(W @ embed[word] + U @ embed[word[t+2]])) over t)", 0),
    ("input word: id(V) over n.leaf\n h = TreeLSTM(E, H)(embed[word])\n loss l = sum(sum(h^2) over n)", 4),
    ("input word: id(V) over tree n\n h = TreeLSTM(E, H)(embed[word])\n loss l = sum(sum(h^2) over n)", 4),
];

#[test]
fn shared_lookups_compute_the_same() {
    for (body, shared) in MODELS {
        let weights = if body.contains("W @") { ", W, U: [H, E]" } else { "" };
        // More words than `opt::tables` takes whole.
        let graph =
            graph(&format!("model M(V = 600, E = 5, H = 4) {{\n param embed: [V, E]{weights}\n {body}\n}}"));
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let derived = grad(&graph, &names).unwrap();
        let plain = planned(&derived, &[OutputKind::Loss, OutputKind::Gradient], "gradient").unwrap();
        let mut plan = plain.clone();
        share_lookups(&mut plan, 1);
        let (over_words, looking_up) = lookups(&plan);
        if shared > 0 {
            assert_eq!((over_words, looking_up), (shared, 3), "{body}\n{}", print(&plan));
        } else {
            assert!(over_words >= looking_up, "{body}\n{}", print(&plan));
        }
        let [plain, sharing] = [plain, plan].map(|plan| Arc::new(Program::<f64>::new(plan).unwrap()));
        for (seed, lengths) in [&[5, 1, 9, 0][..], &[1], &[40, 60, 80]].into_iter().enumerate() {
            let mut feeds = feeds_for(&graph, lengths, seed as u64);
            // Few words, so that most occur more than once, and some places without one.
            for input in feeds.inputs.values_mut() {
                if let rnnc::eval::InputData::Ids(ids) = input {
                    let few = |id: &mut Option<u32>| *id = id.filter(|id| id % 11 != 0).map(|id| id % 7 * 80);
                    ids.iter_mut().flatten().for_each(few);
                }
            }
            let (wanted, found) = (run(&derived, &plain, &feeds), run(&derived, &sharing, &feeds));
            for (name, wanted) in &wanted {
                let worst = distance(&found[name], wanted);
                assert!(worst < 1e-12, "{body}: `{name}` is off by {worst:e}\n{}", print(sharing.plan()));
            }
        }
    }
}

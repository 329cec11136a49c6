//! Products of looked-up rows, once for each id: which plans have them, and that they compute the same.

use std::sync::Arc;

use rnnc::driver::planned;
use rnnc::grad::grad;
use rnnc::ir::OutputKind;
use rnnc::plan::places::kernels;
use rnnc::plan::{Gemm, GemmRows, Plan, Row, SpaceId, Work, print, share_lookups};
use rnnc::runtime::program::Program;

use super::native::{distance, run};
use super::support::{feeds_for, graph};

/// Products and sums of products that look words up, and those of them that do so once for each word.
fn lookups(plan: &Plan) -> (usize, usize) {
    let by_id = |row: &Row| matches!(row, Row::Id(_));
    let looking: Vec<SpaceId> = kernels(plan)
        .filter_map(|kernel| match &kernel.work {
            Work::Gemm(Gemm { rows: GemmRows::Space(space), a, .. }) if by_id(&a.at.row) => Some(*space),
            Work::Outer(outer) if by_id(&outer.b.at.row) => Some(outer.space),
            _ => None,
        })
        .collect();
    let shared = |space: &&SpaceId| plan.distinct.iter().any(|distinct| distinct.space == **space);
    (looking.len(), looking.iter().filter(shared).count())
}

/// Models over sequences and trees, and how many products and sums of products of theirs look words up.
const MODELS: [(&str, usize); 5] = [
    ("input word: id(V) over t\n h = LSTM(E, H)(embed[word])\n loss l = sum(sum(h^2) over t)", 2),
    (
        "input word: id(V) over t\n h = GRU(E, H)(embed[word[t-1]], backward)\n loss l = sum(sum(h^2) over t)",
        2,
    ),
    ("input word: id(V) over t\n loss l = sum(sum(tanh(W @ embed[word] + U @ embed[word[t+2]])) over t)", 2),
    ("input word: id(V) over n.leaf\n h = TreeLSTM(E, H)(embed[word])\n loss l = sum(sum(h^2) over n)", 2),
    ("input word: id(V) over tree n\n h = TreeLSTM(E, H)(embed[word])\n loss l = sum(sum(h^2) over n)", 2),
];

#[test]
fn shared_lookups_compute_the_same() {
    for (body, looking) in MODELS {
        let weights = if body.contains("W @") { ", W, U: [H, E]" } else { "" };
        // More words than `opt::tables` takes whole.
        let graph =
            graph(&format!("model M(V = 600, E = 5, H = 4) {{\n param embed: [V, E]{weights}\n {body}\n}}"));
        let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
        let derived = grad(&graph, &names).unwrap();
        let plain = planned(&derived, &[OutputKind::Loss, OutputKind::Gradient], "gradient").unwrap();
        let mut plan = plain.clone();
        share_lookups(&mut plan, 1);
        assert_eq!(lookups(&plain).1, 0);
        assert_eq!(lookups(&plan), (looking, looking), "{body}\n{}", print(&plan));
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

//! Models compiled ahead of time, linked into a C program: every value, loss and gradient has the same bits as
//! that of the same model run in memory.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;

use rnnc::check::Mode;
use rnnc::driver::aot::{self, Target};
use rnnc::driver::program;
use rnnc::driver::session::Model;
use rnnc::grad::grad_of_losses;
use rnnc::ir::{Graph, OutputKind, Tree};
use rnnc::plan::{AxisKind, Element, Precision, Role};
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::Instance;
use rnnc::testing::{Form, Rng, tree};

const SENTIMENT: &str = "model M(V = 11, E = 5, H = 7, C = 3) {
  input words: id(V) over t
  input label: id(C)
  param embed: [V, E]
  h = LSTM(E, H)(embed[words])
  label ~ categorical(Dense(H, C)(h[last]))
}";

/// Up and down a tree, over its leaves, with a value for each child and a mask for each node.
const TREES: &str = "model M(V = 11, E = 5, H = 5, C = 3) {
  input word: id(V) over n.leaf
  input label: id(C) over tree n
  input x: [E] over n
  input z: [2] over n, n.child
  input y: [E] over t
  param embed: [V, E], U: [H, H], w: [2], q: [H]

  leaves = LSTM(E, H)(embed[word])
  up = ChildSumTreeLSTM(E, H)(dropout(x, 0.25) + leaves[n])
  down = TopDown(H, H)(up)
  state s: [H] over n
  p = softmax(dot(q, U @ s[child]) over child)
  s[n] = tanh(sum(p * s[child] over child) + down + sum(z over child)[0] * q)
  g = GRU(H, H)(s[leaf], backward)
  r = RNN(E, H)(y)
  label ~ categorical(Dense(H, C)(s + mean(g over leaf) + r[last]))
  loss l = dot(w, sum(z over n, child)) * length(child) + 0.1 * n * sum(w[0] * s[root]) + sum(s[left] * down[parent])
}";

fn value(at: usize) -> f32 {
    (((at * 7919) % 1000) as f32 / 1000.0 - 0.5) * 0.8
}

/// The three programs of an object file as they are made in memory.
fn programs(model: &Model) -> [(&'static str, Graph, Vec<OutputKind>); 3] {
    let evaluated = model.check(Mode::Evaluate).unwrap().graph;
    let graph = model.check(Mode::Train).unwrap().graph;
    let wrt: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let gradient = grad_of_losses(&graph, &wrt).unwrap();
    [
        ("forward", evaluated.clone(), vec![OutputKind::Value]),
        ("loss", evaluated, vec![OutputKind::Loss, OutputKind::Metric]),
        ("gradient", gradient, vec![OutputKind::Loss, OutputKind::Gradient]),
    ]
}

/// Numbers for C.
fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    let text: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    if text.is_empty() { "0".to_string() } else { text.join(", ") }
}

/// What one program computes in memory, and the C that computes it by its functions.
fn one(
    (of, graph, kinds): &(&str, Graph, Vec<OutputKind>),
    examples: usize,
    lengths: &BTreeMap<&str, Vec<usize>>,
    trees: &[Arc<Tree>],
) -> (Vec<u32>, String) {
    let program = program::<f32>(graph, kinds, &format!("m_{of}")).unwrap();
    let plan = program.plan();
    let mut own = Lengths { examples, axes: vec![Vec::new()], ..Lengths::default() };
    let mut along = String::new();
    for (axis, name) in plan.axes.iter().enumerate().skip(1) {
        own.axes.push(lengths.get(name.as_str()).cloned().unwrap_or_default());
        match plan.kind(axis) {
            AxisKind::Sequence => along += &format!(", {name}"),
            AxisKind::Tree => {
                own.trees.insert(axis, trees.to_vec());
                along += &format!(", &{name}");
            }
            AxisKind::Children(_) | AxisKind::Leaves(_) => {}
        }
    }
    let mut instance = Instance::new(&program, &own, 0..examples).unwrap();
    let mut text = format!(
        "  {{\n    size_t bytes = m_{of}_workspace_size({examples}{along});\n    void *memory = malloc(bytes);\n    \
         m_{of}_context c;\n    if (m_{of}_bind(&c, memory, bytes - 1, {examples}{along}) != -1) return 4;\n    \
         if (m_{of}_bind(&c, memory, bytes, {examples}{along}) != 0) return 3;\n"
    );
    let sizes: Vec<usize> = program.parameters().map(|(_, _, size)| size).collect();
    let block: Vec<f32> = (0..sizes.iter().sum()).map(value).collect();
    let floats = list(block.iter().map(|value| format!("{value:e}f")));
    let _ = writeln!(
        text,
        "    static const float block[] = {{{floats}}};\n    m_{of}_set_parameters(&c, block);"
    );
    for buffer in &plan.buffers {
        let count = |width| instance.layout().padded_elements(buffer.space, width).unwrap();
        match (&buffer.role, buffer.element) {
            (Role::Input(name), Element::Real) => {
                let values: Vec<f32> = (0..count(buffer.width)).map(|at| value(at + 17)).collect();
                instance.set_input(name, &values).unwrap();
                let values = list(values.iter().map(|value| format!("{value:e}f")));
                let _ = writeln!(
                    text,
                    "    static const float in_{name}[] = {{{values}}};\n    m_{of}_set_{name}(&c, in_{name});"
                );
            }
            (Role::Input(name), Element::Id) => {
                let ids: Vec<u32> = (0..count(1)).map(|at| (at * 5 % 3) as u32).collect();
                instance.set_input_ids(name, &ids).unwrap();
                let _ = writeln!(
                    text,
                    "    static const uint32_t in_{name}[] = {{{}}};\n    m_{of}_set_{name}(&c, in_{name});",
                    list(ids)
                );
            }
            (Role::Setting(name), Element::Id) => {
                instance.set_setting_ids(name, &[5, 6, 7]).unwrap();
                let _ = writeln!(
                    text,
                    "    static const uint32_t in_{name}[] = {{5, 6, 7}};\n    m_{of}_set_{name}(&c, in_{name});"
                );
            }
            _ => {}
        }
    }
    let _ = writeln!(text, "    m_{of}_run(&c);");
    let mut parameters = Vec::new();
    let mut rest = &block[..];
    for size in sizes {
        let (own, others) = rest.split_at(size);
        parameters.push(own);
        rest = others;
    }
    instance.run(&parameters).unwrap();
    let mut expected = Vec::new();
    for buffer in &plan.buffers {
        let (Role::Output(name), Element::Real) = (&buffer.role, buffer.element) else { continue };
        let values = instance.output(name).unwrap();
        let own = name.replace([':', '.'], "_");
        let _ = writeln!(
            text,
            "    memset(out, 0, sizeof out); m_{of}_get_{own}(&c, out); show(out, {});",
            values.len()
        );
        expected.extend(values.into_iter().map(f32::to_bits));
    }
    text += "    free(memory);\n  }\n";
    (expected, text)
}

/// Compares the object file of a model with the model in memory, on these lengths and trees.
fn compare(source: &str, examples: usize, lengths: &BTreeMap<&str, Vec<usize>>, trees: &[Arc<Tree>]) {
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: there is no C compiler named cc");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new("m.rnn", source);
    let made = aot::compile(&model, folder.path(), Some("m"), Precision::F32, Target::Native).unwrap();
    let names: Vec<String> =
        made.files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["m.o", "m.h", "m.so"]);

    let mut body = String::new();
    for (axis, lengths) in lengths {
        let _ = writeln!(body, "  static const size_t {axis}[] = {{{}}};", list(lengths));
    }
    if !trees.is_empty() {
        let longest = trees.iter().map(|tree| tree.len()).max().unwrap_or(0);
        let parent = |tree: &Tree, node| tree.parent(node).map_or(-1, |parent| parent as i64);
        // What is behind a tree's last node is not looked at.
        let own = |tree: &Arc<Tree>| {
            (0..longest)
                .map(|node| if node < tree.len() { parent(tree, node) } else { 99 })
                .collect::<Vec<_>>()
        };
        let _ = write!(
            body,
            "  static const size_t nodes[] = {{{}}};\n  static int32_t parents[] = {{{}}};\n  rnnc_forest n;\n  \
             size_t size = rnnc_forest_size({examples}, nodes);\n  void *tables = malloc(size);\n  \
             if (rnnc_forest_set(&n, tables, size - 1, {examples}, nodes, parents) != -1) return 5;\n  \
             parents[0] = 0;\n  if (rnnc_forest_set(&n, tables, size, {examples}, nodes, parents) != -2) return 6;\n  \
             parents[0] = -1;\n  if (rnnc_forest_set(&n, tables, size, {examples}, nodes, parents) != 0) return 7;\n",
            list(trees.iter().map(|tree| tree.len())),
            list(trees.iter().flat_map(own)),
        );
    }
    let mut expected = Vec::new();
    for part in &programs(&model) {
        let (own, text) = one(part, examples, lengths, trees);
        expected.extend(own);
        body += &text;
    }
    let text = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n#include \"m.h\"\nstatic float out[1 << 16];\n\
         static void show(const float *values, size_t count) {{\n  for (size_t i = 0; i < count; i++) {{ \
         uint32_t bits; memcpy(&bits, values + i, 4); printf(\"%08x\\n\", (unsigned)bits); }}\n}}\n\
         int main(void) {{\n{body}  return 0;\n}}\n"
    );
    let at = |file: &str| folder.path().join(file);
    std::fs::write(at("main.c"), text).unwrap();
    let built = Command::new("cc")
        .args(["-std=c99", "-O1", "-Wall", "-Wextra", "-Werror", "-o"])
        .args([at("main"), at("main.c"), at("m.o")])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(at("main")).output().unwrap();
    assert!(ran.status.success(), "{:?}", ran.status);
    let found: Vec<u32> = String::from_utf8(ran.stdout)
        .unwrap()
        .lines()
        .map(|line| u32::from_str_radix(line, 16).unwrap())
        .collect();
    assert_eq!(found, expected);
    assert!(found.iter().any(|&bits| bits != 0));
}

#[test]
fn a_c_program_computes_the_same_values_and_gradients() {
    compare(SENTIMENT, 5, &BTreeMap::from([("t", vec![4, 0, 6, 1, 4])]), &[]);
}

#[test]
fn a_c_program_runs_over_a_forest() {
    let mut rng = Rng::new(3);
    let forms = [
        (Form::Random(3), 9),
        (Form::Chain, 1),
        (Form::Comb, 7),
        (Form::Star, 6),
        (Form::Random(4), 12),
        (Form::Chain, 5),
    ];
    let trees: Vec<Arc<Tree>> =
        forms.iter().map(|&(form, nodes)| Arc::new(tree(&mut rng, form, nodes))).collect();
    compare(TREES, 6, &BTreeMap::from([("t", vec![2, 1, 3, 1, 2, 4])]), &trees);
}

#[test]
fn a_c_program_runs_over_leaves_and_nothing() {
    let one = Arc::new(Tree::new(&[-1]).unwrap());
    let none = Arc::new(Tree::default());
    let t = BTreeMap::from([("t", vec![1, 2])]);
    compare(TREES, 2, &t, &[Arc::clone(&one), one.clone()]);
    compare(TREES, 2, &t, &[one, none]);
}

//! A model compiled ahead of time, linked into a C program: loss and every gradient are the same bits as
//! those of the same model run in memory.

use std::fmt::Write;
use std::process::Command;

use rnnc::check::Mode;
use rnnc::driver::aot::{self, Target};
use rnnc::driver::program;
use rnnc::driver::session::Model;
use rnnc::grad::grad_of_losses;
use rnnc::ir::OutputKind;
use rnnc::plan::{Precision, Role};
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::Instance;

const SOURCE: &str = "model Sentiment(V = 11, E = 5, H = 7, C = 3) {
  input words: id(V) over t
  input label: id(C)
  param embed: [V, E]
  h = LSTM(E, H)(embed[words])
  label ~ categorical(Dense(H, C)(h[last]))
}";

const LENGTHS: [usize; 5] = [4, 0, 6, 1, 4];

fn value(at: usize) -> f32 {
    (((at * 7919) % 1000) as f32 / 1000.0 - 0.5) * 0.8
}

#[test]
fn a_c_program_computes_the_same_gradients() {
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: there is no C compiler named cc");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let model = Model::new("sentiment.rnn", SOURCE);
    let made =
        aot::compile(&model, folder.path(), Some("sentiment"), Precision::F32, Target::Native).unwrap();
    let names: Vec<String> =
        made.files.iter().map(|file| file.file_name().unwrap().to_string_lossy().into_owned()).collect();
    assert_eq!(names, ["sentiment.o", "sentiment.h", "sentiment.so"]);

    // In memory, from the same steps.
    let graph = model.check(Mode::Train).unwrap().graph;
    let wrt: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    let graph = grad_of_losses(&graph, &wrt).unwrap();
    let kinds = [OutputKind::Loss, OutputKind::Gradient];
    let program = program::<f32>(&graph, &kinds, "sentiment_gradient").unwrap();
    let lengths =
        Lengths { examples: LENGTHS.len(), axes: vec![Vec::new(), LENGTHS.to_vec()], ..Lengths::default() };
    let mut instance = Instance::new(&program, &lengths, 0..LENGTHS.len()).unwrap();
    let words: Vec<u32> = (0..LENGTHS.len() * 6).map(|at| (at * 5 % 11) as u32).collect();
    let labels = [0u32, 2, 1, 1, 0];
    instance.set_input_ids("words", &words).unwrap();
    instance.set_input_ids("label", &labels).unwrap();
    let sizes: Vec<usize> = program.parameters().map(|(_, _, size)| size).collect();
    let block: Vec<f32> = (0..sizes.iter().sum()).map(value).collect();
    let mut rest = &block[..];
    let mut parameters = Vec::new();
    for size in sizes {
        let (own, others) = rest.split_at(size);
        parameters.push(own);
        rest = others;
    }
    instance.run(&parameters).unwrap();
    let mut expected = Vec::new();
    let mut gets = String::new();
    for buffer in &program.plan().buffers {
        let Role::Output(name) = &buffer.role else { continue };
        let values = instance.output(name).unwrap();
        let own = name.replace([':', '.'], "_");
        let _ =
            writeln!(gets, "    sentiment_gradient_get_{own}(&context, out); show(out, {});", values.len());
        expected.extend(values.into_iter().map(f32::to_bits));
    }

    let list = |values: &mut dyn Iterator<Item = String>| values.collect::<Vec<_>>().join(", ");
    let text = format!(
        "#include <stdio.h>\n#include <stdlib.h>\n#include \"sentiment.h\"\n\
         static const float block[] = {{{}}};\nstatic const uint32_t words[] = {{{}}}, label[] = {{{}}};\n\
         static const size_t t[] = {{{}}};\nstatic float out[4096];\n\
         static void show(const float *values, size_t count) {{\n    for (size_t i = 0; i < count; i++) {{ \
         uint32_t bits; memcpy(&bits, values + i, 4); printf(\"%08x\\n\", (unsigned)bits); }}\n}}\n\
         int main(void) {{\n    size_t bytes = sentiment_gradient_workspace_size({count}, t);\n    \
         void *memory = malloc(bytes);\n    sentiment_gradient_context context;\n    \
         if (sentiment_gradient_bind(&context, memory, bytes, {count}, t) != 0) return 3;\n    \
         sentiment_gradient_set_parameters(&context, block);\n    \
         sentiment_gradient_set_words(&context, words);\n    sentiment_gradient_set_label(&context, label);\n    \
         sentiment_gradient_run(&context);\n{gets}    free(memory);\n    return 0;\n}}\n",
        list(&mut block.iter().map(|value| format!("{value:e}f"))),
        list(&mut words.iter().map(u32::to_string)),
        list(&mut labels.iter().map(u32::to_string)),
        list(&mut LENGTHS.iter().map(usize::to_string)),
        count = LENGTHS.len(),
    );
    let at = |file: &str| folder.path().join(file);
    std::fs::write(at("main.c"), text).unwrap();
    let built = Command::new("cc")
        .args(["-std=c99", "-O1", "-o"])
        .args([at("main"), at("main.c"), at("sentiment.o")])
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

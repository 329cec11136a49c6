//! What is written for OpenCL: the kernels of small models, and the templates as a driver takes them.

use rnnc::backend::opencl::{
    BLOCKS, PHILOX, PRELUDE, PRODUCT, PROGRAM, ROWS, TEAMS, UPDATE, emit, emit_all, host,
};
use rnnc::check::{Mode, Request};
use rnnc::driver::{front, planned};
use rnnc::grad::grad;
use rnnc::ir::OutputKind;
use rnnc::plan::{Plan, Precision};
use rnnc::runtime::opencl::{Device, list};

/// A line of equations around one matrix.
const LINE: &str = "model Line() {
  input x: [2] over t
  param W: [3, 2]
  h[t] = tanh(W @ x + 0.5)
}";

/// A loop with a lookup and a draw.
const SMALL: &str = "model Small(V = 4, H = 3) {
  input text: id(V) over t
  param embed: [V, H]
  h = RNN(H, H)(embed[text[t-1]])
  text[t] ~ categorical(dropout(h, 0.5) @ embed.T)
}";

fn plan(source: &str, gradient: bool) -> Plan {
    let request = Request { model: None, set: &[], mode: Mode::Train, everything: false };
    let graph = front(source, &request).unwrap().graph;
    let names: Vec<String> = graph.params.iter().map(|param| param.name.clone()).collect();
    match gradient {
        true => planned(&grad(&graph, &names).unwrap(), &[OutputKind::Loss, OutputKind::Gradient], "small"),
        false => planned(&graph, &[OutputKind::Value], "line"),
    }
    .unwrap()
}

#[test]
fn the_kernels_of_a_line() {
    let source = emit(&plan(LINE, false), Precision::F32).unwrap().source;
    let (templates, program) = source.split_once(PROGRAM).unwrap();
    assert!(templates.starts_with("// line: OpenCL C 1.2"));
    assert!(templates.contains("static inline real rnn_tanh(const real v0)"));
    insta::assert_snapshot!(format!("{LINE}\n----\n{}", program.trim_start()));
}

#[test]
fn the_host_plan_of_a_line() {
    let emitted = emit(&plan(LINE, false), Precision::F32).unwrap();
    let plan = host::host_plan(&emitted.program, Precision::F32);
    insta::assert_snapshot!(serde_json::to_string_pretty(&plan).unwrap());
}

#[test]
fn every_kernel_is_headed_by_its_equations() {
    let plan = plan(SMALL, true);
    let source = emit(&plan, Precision::F32).unwrap().source;
    for kernel in rnnc::plan::places::kernels(&plan) {
        for equation in &kernel.equations {
            assert!(source.contains(&format!("// {equation}\n")), "{equation}");
        }
    }
    // Programs that share a source do not share a name.
    let (all, programs) = emit_all(&[("a_k", &plan), ("b_k", &plan)], Precision::F64).unwrap();
    assert_eq!(programs.len(), 2);
    assert!(all.contains("void a_k0") && all.contains("void b_k0") && all.contains("#define DOUBLE"));
}

/// Compiled by the driver, in every form and size that a device may get.
#[test]
fn every_template_compiles_alone() {
    let Ok(device) = Device::open(None) else {
        eprintln!("skipped: every_template_compiles_alone: {} OpenCL devices", list().len());
        return;
    };
    let small = emit(&plan(SMALL, true), Precision::F32).unwrap().source;
    let sources = [PRELUDE, ROWS, PRODUCT, TEAMS, BLOCKS, PHILOX, UPDATE, &small];
    for (number, source) in sources.into_iter().enumerate() {
        let forms =
            ["", "-DLANES=64 -DCHUNK=4", "-DLANES=256 -DSTEPPED", "-DTILE_ROWS=8 -DTILE_PANELS=2 -DWHOLE"];
        for options in forms {
            // A source without a kernel is no program to some drivers.
            let source = format!("{source}\n__kernel void nothing_{number}(void) {{}}\n");
            device.compiles(&source, options).unwrap();
        }
    }
}

#[test]
fn a_source_that_a_driver_refuses() {
    let Ok(device) = Device::open(None) else {
        eprintln!("skipped: a_source_that_a_driver_refuses: {} OpenCL devices", list().len());
        return;
    };
    let wrong = "__kernel void k() { this is no C }";
    let message = device.compiles(wrong, "").unwrap_err().to_string();
    assert!(message.contains("does not take the kernels") && message.contains("error"), "{message}");
    let kept = std::env::temp_dir().join("rnnc-source.cl");
    assert!(message.contains(&kept.display().to_string()), "{message}");
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), wrong);
    std::fs::remove_file(kept).unwrap();
}

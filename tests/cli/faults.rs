//! Devices that fail: a loader of drivers that hands every call on to the machine's own but for one, which it refuses.

use std::process::Command;

use super::{Ran, Workspace, rnnc, split};

/// The entry points, one a line: `fn clFinish(a: P) -> I;`
const LOADER: &str = include_str!("../../src/runtime/opencl/loader.rs");

/// Every call is a jump to the function of the same name in the machine's loader.
const FORWARD: &str = r#"
#include <dlfcn.h>
#include <stddef.h>
#define FORWARD(name) \
  __attribute__((visibility("hidden"))) void *real_##name; \
  __attribute__((naked)) void name(void) { __asm__("jmp *real_" #name "(%rip)"); }
"#;

/// Fails from the so manieth launch on.
const LAUNCHES: &str = r#"
int (*real)(void *, void *, unsigned, void *, void *, void *, unsigned, void *, void *);
int clEnqueueNDRangeKernel(void *a, void *b, unsigned c, void *d, void *e, void *f, unsigned g, void *h, void *i) {
  static int count;
  return count++ < 150 ? real(a, b, c, d, e, f, g, h, i) : -5;
}
"#;

/// Has no more than 64 KiB in one piece, though it says otherwise.
const MEMORY: &str = r#"
void *(*real)(void *, unsigned long, size_t, void *, int *);
void *clCreateBuffer(void *a, unsigned long b, size_t size, void *d, int *error) {
  if (size <= 1 << 16) return real(a, b, size, d, error);
  *error = -4;
  return NULL;
}
"#;

/// Refuses every source and does not say why.
const BUILDS: &str = r#"
int (*real)(void *, unsigned, void *, void *, void *, void *);
int clBuildProgram(void *a, unsigned b, void *c, void *d, void *e, void *f) {
  return -11;
}
"#;

/// Makes a loader in the workspace, in the folder `driver`; without a compiler, a device, or on another machine
/// than this is written for there is none.
fn faulty(workspace: &Workspace, test: &str, name: &str, code: &str) -> bool {
    let skipped = |why: &str| {
        eprintln!("skipped: {test}: {why}");
        false
    };
    if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return skipped("the faulty driver is written for Linux on x86-64");
    }
    if !workspace.run("devices").fine().out.contains("opencl:0") {
        return skipped("there is no OpenCL device on this machine");
    }
    let names = LOADER.lines().filter_map(|line| line.trim().strip_prefix("fn ")?.split_once('('));
    let names: Vec<&str> = names.map(|(name, _)| name).filter(|name| name.starts_with("cl")).collect();
    assert!(names.len() > 60 && names.contains(&name));
    let mut source = FORWARD.to_string() + code;
    let mut begin = String::new();
    for other in &names {
        let place = if other == &name { "real".to_string() } else { format!("real_{other}") };
        if other != &name {
            source += &format!("FORWARD({other})\n");
        }
        begin += &format!("  {place} = dlsym(machine, \"{other}\");\n");
    }
    source += "__attribute__((constructor)) static void begin(void) {\n";
    source += "  void *machine = dlopen(OPENCL, RTLD_NOW);\n";
    source += &begin;
    source += "}\n";
    workspace.write("driver.c", source);
    std::fs::create_dir(workspace.path("driver")).unwrap();
    // The machine's own loader by its path: its name is that of the one made here.
    let found = Command::new("sh")
        .args([
            "-c",
            "PATH=$PATH:/sbin:/usr/sbin ldconfig -p | sed -n 's/.*libOpenCL.so.1 .*=> //p' | head -n 1",
        ])
        .output()
        .unwrap();
    let machine = String::from_utf8(found.stdout).unwrap().trim().to_string();
    let made = Command::new("cc")
        .current_dir(workspace.folder.path())
        .args(["-shared", "-fPIC", "-Wl,-Bsymbolic", "-w", "driver.c", "-o", "driver/libOpenCL.so.1", "-ldl"])
        .arg(format!("-DOPENCL=\"{machine}\""))
        .output();
    match made {
        Ok(output) if output.status.success() && !machine.is_empty() => true,
        Ok(output) if machine.is_empty() || output.status.success() => skipped("no path of the loader"),
        Ok(output) => panic!("{}", String::from_utf8_lossy(&output.stderr)),
        Err(_) => skipped("there is no C compiler"),
    }
}

fn with_fault(workspace: &Workspace, arguments: &str) -> Ran {
    let mut command = rnnc(workspace.folder.path());
    command.env("LD_LIBRARY_PATH", workspace.path("driver"));
    Ran::of(command.args(split(arguments)).output().unwrap())
}

#[test]
fn a_device_lost_in_training_leaves_the_last_checkpoint() {
    let workspace = Workspace::with_tiny();
    let test = "a_device_lost_in_training_leaves_the_last_checkpoint";
    if !faulty(&workspace, test, "clEnqueueNDRangeKernel", LAUNCHES) {
        return;
    }
    let train = "train tiny.rnn --text text.txt --out run.safetensors --epochs 20";
    let lost = with_fault(&workspace, &format!("{train} --device opencl"));
    lost.fails(
        1,
        &["failed (running a kernel)", "OUT_OF_RESOURCES", "what was saved before stands", "--resume"],
    );
    // Several epochs were done and saved, and the processor goes on from there.
    let resumed = workspace.run("train --resume --out run.safetensors --epochs 20").fine();
    let first = resumed.out.lines().find(|line| line.starts_with("epoch ")).unwrap().to_string();
    let epoch: usize = first["epoch ".len()..].split('/').next().unwrap().parse().unwrap();
    assert!((2..20).contains(&epoch), "{first}");
}

#[test]
fn memory_that_others_have_taken() {
    let workspace = Workspace::with_tiny();
    if !faulty(&workspace, "memory_that_others_have_taken", "clCreateBuffer", MEMORY) {
        return;
    }
    let train = "train tiny.rnn --text text.txt --out run.safetensors --device opencl --set H=64";
    with_fault(&workspace, train).fails(1, &["has no room", "bytes, and of its", "--batch", "--truncate"]);
    assert!(!workspace.files().contains(&"run.safetensors".to_string()));
}

#[test]
fn a_driver_that_refuses_a_kernel() {
    let workspace = Workspace::with_tiny();
    if !faulty(&workspace, "a_driver_that_refuses_a_kernel", "clBuildProgram", BUILDS) {
        return;
    }
    let train = "train tiny.rnn --text text.txt --out run.safetensors --device opencl";
    let message = with_fault(&workspace, train)
        .fails(1, &["does not take the kernels", "rnnc-Tiny", "does not say why"])
        .err;
    let file = message.split_once("their source is in ").unwrap().1.split_once(')').unwrap().0;
    assert!(std::fs::read_to_string(file).unwrap().contains("__kernel"), "{message}");
    assert!(!workspace.files().contains(&"run.safetensors".to_string()));
}

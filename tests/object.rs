//! An object file and its header, linked into a C program, against the same plan run in memory: the
//! results must be the same bits.

#[allow(dead_code)]
#[path = "native/build.rs"]
mod build;
#[path = "native/recurrent.rs"]
mod recurrent;
#[path = "native/reference.rs"]
mod reference;
#[path = "native/scalar.rs"]
mod scalar;
#[path = "native/targets.rs"]
mod targets;

use std::fmt::Write;
use std::process::Command;
use std::sync::Arc;

use build::{numbers, ragged};
use recurrent::recurrent;
use rnnc::backend::native::{Target, header::header, object::object};
use rnnc::plan::{Plan, Precision, Role};
use rnnc::runtime::layout::Lengths;
use rnnc::runtime::program::{Instance, Program, Real};
use targets::targets_of;

const EXAMPLES: usize = 9;

/// Values for the `number`-th buffer.
fn values<R: Real>(count: usize, number: usize) -> Vec<R> {
    numbers(count, number as u64 + 11).into_iter().map(R::from_f64).collect()
}

/// Every output's bits, as the C program prints them.
fn in_memory<R: Real>(plan: &Plan, lengths: &Lengths, target: Target) -> Vec<u64> {
    let program = Arc::new(Program::<R>::compile(plan.clone(), target, false).unwrap());
    let mut instance = Instance::new(&program, lengths, 0..EXAMPLES).unwrap();
    let mut parameters = Vec::new();
    for (number, buffer) in plan.buffers.iter().enumerate() {
        match &buffer.role {
            Role::Parameter(_) => parameters.push(values::<R>(buffer.width, number)),
            Role::Input(name) => {
                let count = instance.layout().padded_elements(buffer.space, buffer.width).unwrap();
                instance.set_input(name, &values::<R>(count, number)).unwrap();
            }
            _ => {}
        }
    }
    let parameters: Vec<&[R]> = parameters.iter().map(Vec::as_slice).collect();
    instance.run(&parameters).unwrap();
    let outputs = plan.buffers.iter().filter_map(|buffer| match &buffer.role {
        Role::Output(name) => Some(instance.output(name).unwrap()),
        _ => None,
    });
    outputs.flatten().map(|value| value.to_f64().to_bits()).collect()
}

/// A C program that does the same.
fn program_text<R: Real>(plan: &Plan, lengths: &Lengths, real: &str) -> String {
    let name = &plan.name;
    let mut text = String::from("#include <stdio.h>\n#include <stdlib.h>\n#include \"test.h\"\n");
    let array =
        |values: &[R]| -> String { values.iter().map(|value| format!("{:e},", value.to_f64())).collect() };
    let instance =
        Instance::new(&Arc::new(Program::<R>::new(plan.clone()).unwrap()), lengths, 0..EXAMPLES).unwrap();
    let (mut block, mut sets, mut gets) = (Vec::new(), String::new(), String::new());
    for (number, buffer) in plan.buffers.iter().enumerate() {
        let count = instance.layout().padded_elements(buffer.space, buffer.width).unwrap();
        match &buffer.role {
            Role::Parameter(_) => block.extend(values::<R>(buffer.width, number)),
            Role::Input(own) => {
                let _ = writeln!(
                    text,
                    "static const {real} {own}[] = {{{}}};",
                    array(&values::<R>(count, number))
                );
                let _ = writeln!(sets, "    {name}_set_{own}(&context, {own});");
            }
            Role::Output(own) => {
                let _ = writeln!(
                    gets,
                    "    {{ static {real} out[{count} + 1]; {name}_get_{own}(&context, out);\n      \
                     for (size_t i = 0; i < {count}; i++) {{ double wide = out[i]; uint64_t bits; memcpy(&bits, &wide, 8); \
                     printf(\"%016llx\\n\", (unsigned long long)bits); }} }}"
                );
            }
            _ => {}
        }
    }
    let along =
        |axis: usize| -> String { lengths.axes[axis].iter().map(|length| format!("{length},")).collect() };
    let _ = writeln!(text, "static const {real} block[] = {{{}}};", array(&block));
    let _ = writeln!(
        text,
        "static const size_t t[] = {{{}}}, s[] = {{{}}};\nint main(void) {{\n    \
         if ({name}_parameter_elements != sizeof block / sizeof *block) return 1;\n    \
         size_t bytes = {name}_workspace_size({EXAMPLES}, t, s);\n    char *memory = malloc(bytes);\n    \
         memset(memory, 0x5a, bytes);\n    {name}_context context;\n    \
         if ({name}_bind(&context, memory, bytes - 1, {EXAMPLES}, t, s) == 0) return 2;\n    \
         if ({name}_bind(&context, memory, bytes, {EXAMPLES}, t, s) != 0) return 3;\n    \
         {name}_set_parameters(&context, block);\n{sets}    {name}_run(&context);\n{gets}    free(memory);\n    return 0;\n}}",
        along(1),
        along(2)
    );
    text
}

fn same_bits<R: Real>(real: &str) {
    targets_of(R::PRECISION).into_iter().for_each(|target| same_bits_for::<R>(real, target));
}

fn same_bits_for<R: Real>(real: &str, target: Target) {
    let compiler = "cc";
    if Command::new(compiler).arg("--version").output().is_err() {
        println!("skipped: there is no C compiler named {compiler}");
        return;
    }
    let (mut plan, lengths) = (recurrent(9), ragged(EXAMPLES));
    plan.name = "Recurrent_test".into();
    let other = Plan { name: "Other".into(), ..plan.clone() };
    let plans = [(&plan, R::PRECISION), (&other, Precision::F32)];
    let folder = tempfile::tempdir().unwrap();
    let at = |file: &str| folder.path().join(file);
    std::fs::write(at("test.o"), object("test", &plans, target).unwrap()).unwrap();
    std::fs::write(at("test.h"), header("test", &plans, &target.describe().unwrap())).unwrap();
    std::fs::write(at("main.c"), program_text::<R>(&plan, &lengths, real)).unwrap();
    let built = Command::new(compiler)
        .args(["-std=c99", "-Wall", "-Wextra", "-Werror", "-Wno-unused", "-O1", "-o"])
        .args([at("main"), at("main.c"), at("test.o")])
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let ran = Command::new(at("main")).output().unwrap();
    assert!(ran.status.success(), "{:?}", ran.status);
    let found: Vec<u64> = String::from_utf8(ran.stdout)
        .unwrap()
        .lines()
        .map(|line| u64::from_str_radix(line, 16).unwrap())
        .collect();
    assert_eq!(found, in_memory::<R>(&plan, &lengths, target), "for {target}");
    assert!(found.iter().filter(|&&bits| bits != 0).count() > found.len() / 3);
}

#[test]
fn a_c_program_computes_the_same_bits_in_f32() {
    same_bits::<f32>("float");
}

#[test]
fn a_c_program_computes_the_same_bits_in_f64() {
    same_bits::<f64>("double");
}

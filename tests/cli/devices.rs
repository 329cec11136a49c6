//! `--device`, `devices` and `compile --target opencl`, with OpenCL and without.

use super::{Ran, Workspace, rnnc, split};

/// Runs the command as on a machine without any OpenCL driver.
fn without_drivers(workspace: &Workspace, arguments: &str) -> Ran {
    let mut command = rnnc(workspace.folder.path());
    command.env("OCL_ICD_VENDORS", workspace.folder.path()).env("OCL_ICD_FILENAMES", "");
    Ran::of(command.args(split(arguments)).output().unwrap())
}

/// Whether this machine has a device.
fn has_device(workspace: &Workspace, test: &str) -> bool {
    let found = workspace.run("devices").fine().out.contains("opencl:0");
    if !found {
        eprintln!("skipped: {test}: there is no OpenCL device on this machine");
    }
    found
}

#[test]
fn without_a_driver_there_is_the_processor_and_a_clear_error() {
    let workspace = Workspace::with_tiny();
    let table = without_drivers(&workspace, "devices").fine().out;
    assert!(table.starts_with("cpu ") && table.lines().count() == 1, "{table}");
    let what_to_do = ["there is no OpenCL", "pocl-opencl-icd", "--device opencl"];
    let train = "train tiny.rnn --text text.txt --out run.safetensors --device opencl";
    without_drivers(&workspace, train).fails(1, &what_to_do);
    let bench =
        without_drivers(&workspace, "bench --only lstm-infer --device opencl:0").fails(1, &what_to_do);
    assert!(!bench.err.contains("measuring"), "{}", bench.err);
    assert_eq!(workspace.files(), ["text.txt", "tiny.rnn"]);
    // Kernels are written all the same.
    without_drivers(&workspace, "compile tiny.rnn --target opencl -o out").fine();
    assert!(String::from_utf8(workspace.read("out/Tiny.cl")).unwrap().contains("__kernel"));
    let plans: serde_json::Value = serde_json::from_slice(&workspace.read("out/Tiny.json")).unwrap();
    let names: Vec<&str> =
        plans.as_array().unwrap().iter().map(|plan| plan["program"].as_str().unwrap()).collect();
    assert_eq!(names, ["Tiny_forward", "Tiny_loss", "Tiny_gradient"]);
}

/// Trees and gradients, too: every launch of the host plan is a kernel of the source, and every parameter has a place.
#[test]
fn kernels_of_trees_and_gradients() {
    let workspace = Workspace::new();
    workspace.write(
        "tree.rnn",
        "model Sentences(V = 40, E = 20, H = 24, C = 5) {
  input word: id(V) over n.leaf
  input label: id(C) over tree n
  param embed: [V, E]
  h = TreeLSTM(E, H)(embed[word])
  label ~ categorical(Dense(H, C)(h))
}
",
    );
    without_drivers(&workspace, "compile tree.rnn --target opencl -o out").fine();
    let source = String::from_utf8(workspace.read("out/Sentences.cl")).unwrap();
    let plans: serde_json::Value = serde_json::from_slice(&workspace.read("out/Sentences.json")).unwrap();
    for plan in plans.as_array().unwrap() {
        let launches = &plan["launches"];
        let has = |kernel: &serde_json::Value| {
            let name = kernel.as_str().unwrap();
            assert!(
                source.contains(&format!("void {name}(ARGUMENTS, const int held, const int turn)")),
                "{name}"
            );
        };
        has(&launches["whole"]);
        let mut loops = 0;
        for launch in launches["spread"].as_array().unwrap() {
            has(&launch["kernel"]);
            if let Some(of) = launch["range"]["loop"].as_object() {
                loops += 1;
                of["launches"].as_array().unwrap().iter().for_each(|launch| has(&launch["kernel"]));
            }
        }
        let buffers = plan["buffers"].as_array().unwrap();
        let roles: Vec<&str> = buffers.iter().map(|buffer| buffer["role"].as_str().unwrap()).collect();
        let gradient = plan["program"] == "Sentences_gradient";
        assert_eq!(loops, if gradient { 2 } else { 1 }, "{}", plan["program"]);
        assert_eq!(roles.contains(&"output gradient:embed"), gradient);
        for buffer in
            buffers.iter().filter(|buffer| buffer["role"].as_str().unwrap().starts_with("parameter"))
        {
            assert!(
                buffer["offset"].as_u64().unwrap() < plan["parameter_bytes"].as_u64().unwrap(),
                "{buffer}"
            );
        }
    }
    let readable = ["// h.c[n] = ", "// along n", "#ifdef WHOLE", "#ifndef STEPPED"];
    readable.iter().for_each(|words| assert!(source.contains(words), "no `{words}`"));
}

#[test]
fn devices_that_there_are_not() {
    let workspace = Workspace::with_tiny();
    workspace.run("bench --device cuda").fails(2, &["cuda", "`opencl`"]);
    workspace.run("compile tiny.rnn --target opencl --cpu x86-64-v3 -o out").fails(2, &["--cpu"]);
    workspace
        .run("train tiny.rnn --text text.txt --out r.safetensors --device opencl:999")
        .fails(1, &["there is no"]);
    assert_eq!(workspace.files(), ["text.txt", "tiny.rnn"]);
}

#[test]
fn a_run_on_a_device_is_that_of_the_processor() {
    let workspace = Workspace::with_tiny();
    if !has_device(&workspace, "a_run_on_a_device_is_that_of_the_processor") {
        return;
    }
    for device in ["cpu", "opencl"] {
        workspace.train(&format!("--out {device}.safetensors --device {device}")).fine();
    }
    let measured = |command: &str| -> f64 {
        let out = workspace.run(command).fine().out;
        let line = out.lines().find(|line| line.trim_start().starts_with("loss")).unwrap_or_default();
        line.split_whitespace().last().unwrap().parse().unwrap()
    };
    let native = measured("eval cpu.safetensors");
    for command in ["eval cpu.safetensors --device opencl", "eval opencl.safetensors --device opencl:0"] {
        let found = measured(command);
        assert!((found - native).abs() < 1e-4 * native, "{command}: {found}, not {native}");
    }
    let text = |device: &str| {
        let command = format!("generate cpu.safetensors --length 40 --prompt abc --seed 3 --device {device}");
        workspace.run(&command).fine().out
    };
    assert_eq!(text("opencl"), text("cpu"));
    // What the device has learned is in the file: the processor goes on with it.
    workspace.run("train --resume --out opencl.safetensors --epochs 3").fine();
}

/// What comes next is copied while the device works, and `--timings` shows kernels and copies.
#[test]
fn commands_of_a_device_are_timed() {
    let workspace = Workspace::with_tiny();
    if !has_device(&workspace, "commands_of_a_device_are_timed") {
        return;
    }
    let ran = workspace.train("--out run.safetensors --device opencl --timings");
    assert_eq!(ran.status, Some(0), "{ran:#?}");
    for command in ["Tiny_train", "adam", "copies ahead", "copies to the device", "copies from the device"] {
        let line = ran.err.lines().find(|line| line.trim_start().starts_with(&format!("device: {command}")));
        assert!(line.is_some_and(|line| line.ends_with(" s")), "no {command} in {}", ran.err);
    }
}

/// More than the device has in one piece: nothing is written, and the bytes are said.
#[test]
fn a_batch_that_does_not_fit() {
    let workspace = Workspace::with_tiny();
    let small = |arguments: &str| {
        let mut command = rnnc(workspace.folder.path());
        // A limit that PoCL knows, in GiB.
        command.env("POCL_MEMORY_LIMIT", "1");
        Ran::of(command.args(split(arguments)).output().unwrap())
    };
    let devices = small("devices").fine().out;
    if !devices.contains("0.2 GiB in one piece") {
        eprintln!("skipped: a_batch_that_does_not_fit: there is no PoCL, whose memory can be limited");
        return;
    }
    let bench = "bench --only lstm-train --shape 200,256,64,512 --device opencl";
    small(bench).fails(1, &["bytes in one piece", "fit", "smaller batch"]);
    let train =
        "train tiny.rnn --text text.txt --batch 700 --truncate 2 --set H=9000 --set E=2 --out r.safetensors";
    small(&format!("{train} --device opencl")).fails(1, &["bytes in one piece"]);
    assert_eq!(workspace.files(), ["text.txt", "tiny.rnn"]);
}

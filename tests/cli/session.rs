//! `repl` from a pipe, its end by Ctrl-C, and `flow`.

use std::io::Write;
use std::process::Stdio;

use super::{Workspace, rnnc};

/// What the session says to these lines, and how it ended.
fn piped(workspace: &Workspace, arguments: &[&str], lines: &str) -> (String, Option<i32>) {
    let mut child = rnnc(workspace.folder.path())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (String::from_utf8(said).unwrap(), output.status.code())
}

#[test]
fn lines_from_a_pipe() {
    let workspace = Workspace::with_tiny();
    let (said, status) = piped(
        &workspace,
        &["repl", "tiny.rnn"],
        ":set H = 2\nfn double(x) =\n  2 * x\ndouble([1, 2])\n:grad wrt b_h\n:quit\nnever(\n",
    );
    assert_eq!(status, Some(0), "{said}");
    assert!(said.starts_with("H = 2\ndefined double\n[2, 4]\n"), "{said}");
    assert!(said.contains("db_h") && !said.contains('\u{1b}') && !said.contains("never"), "{said}");
    // A line that fails is told, the others are done, and the exit status says so.
    let (said, status) = piped(&workspace, &["repl"], "x = 3\nx +* 2\nx + 1\nx + (");
    assert_eq!(status, Some(1), "{said}");
    assert!(said.starts_with("x = 3\nerror[") && said.contains("\n4\n") && said.contains("x + ("), "{said}");
    let (said, status) = piped(&workspace, &["repl", "nothing.rnn"], "");
    assert_eq!((status, said.contains("nothing.rnn")), (Some(1), true), "{said}");
    // Bytes that are no text end it with a message, not with a panic.
    let mut child = rnnc(workspace.folder.path())
        .arg("repl")
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"1 + 1\n\xff\xfe\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(!String::from_utf8_lossy(&output.stderr).contains("panicked"));
}

#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_line_and_not_the_session() {
    let workspace = Workspace::with_tiny();
    let mut child = rnnc(workspace.folder.path())
        .args(["repl", "tiny.rnn"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "x = 3\nouter(normal([3000]), normal([3000])) @ outer(normal([3000]), normal([3000]))")
        .unwrap();
    input.flush().unwrap();
    let id = child.id().to_string();
    for _ in 0..40 {
        std::thread::sleep(std::time::Duration::from_millis(250));
        assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    }
    writeln!(input, "x + 1").unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.starts_with("x = 3\nerror: interrupted\n") && said.ends_with("4\n"), "{said}");
}

#[test]
fn flow_of_a_model() {
    let workspace = Workspace::with_tiny();
    let ran = workspace.run("flow tiny.rnn --steps 20 --last --svg flow.svg").fine();
    assert!(ran.out.contains("a factor of") && ran.out.contains("spectral radius"), "{}", ran.out);
    assert!(ran.out.ends_with("wrote flow.svg\n"), "{}", ran.out);
    let svg = std::fs::read_to_string(workspace.path("flow.svg")).unwrap();
    assert!(svg.contains("<svg") && svg.trim_end().ends_with("</svg>"));
    workspace
        .write("flat.rnn", "model M() {\n  input x: [2] over t\n  param w: [2]\n  loss l = sum(w * x)\n}\n");
    workspace.run("flow flat.rnn").fails(1, &["has no state"]);
    workspace.run("flow tiny.rnn --svg no/such/folder.svg").fails(1, &["no/such"]);
    workspace.run("flow tiny.rnn --weights nothing.safetensors").fails(1, &["nothing.safetensors"]);
}

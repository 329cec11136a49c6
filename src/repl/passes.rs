//! `:passes`: what each pass of the compiler changed, as a diff of the equations.

use similar::{ChangeTag, TextDiff};

use super::definitions::nearest;
use super::stages::emitted;
use super::{Done, Failure, Session};
use crate::driver::emit::passes;
use crate::ir::print;
use crate::opt::ALL;

impl Session {
    /// `:passes [M] [PASS]`
    pub(super) fn passes(&mut self, rest: &str) -> Done {
        let words: Vec<&str> = rest.split_whitespace().collect();
        let is_pass = |word: &str| ALL.iter().any(|pass| pass.name == word);
        let (name, only) = match &words[..] {
            [] => ("", None),
            [word] if is_pass(word) => ("", Some(*word)),
            [name] if self.model_name(name).is_err() => ("", Some(*name)),
            [name] => (*name, None),
            [name, pass] => (*name, Some(*pass)),
            _ => {
                return Err(Failure::new(
                    "`:passes` takes a model and perhaps a pass, as in `:passes M merge`",
                ));
            }
        };
        if let Some(word) = only.filter(|word| !is_pass(word)) {
            let near = nearest(word, ALL.iter().map(|pass| pass.name));
            let near = near.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            let all: Vec<&str> = ALL.iter().map(|pass| pass.name).collect();
            return Err(Failure::new(format!(
                "there is no pass `{word}`{near} (there are {})",
                all.join(", ")
            )));
        }
        let model = self.choose(name)?;
        let checked = self.checked(&model)?.graph;
        let mut text = String::new();
        let mut before = String::new();
        passes(&checked, |pass, graph| {
            let after = body(&print(graph));
            if let Some(pass) = pass
                && only.is_none_or(|only| only == pass.name)
            {
                text += &format!("== {}: {}\n", pass.name, pass.description);
                text += &difference(&before, &after);
            }
            before = after;
        })
        .map_err(emitted)?;
        Ok(text)
    }
}

/// The equations without declarations, which no pass changes.
fn body(program: &str) -> String {
    let declared = ["  input ", "  param ", "model ", "}", "  gradient "];
    let lines = program.lines().filter(|line| !declared.iter().any(|word| line.starts_with(word)));
    lines.map(|line| format!("{}\n", line.trim())).collect()
}

/// The lines that differ.
fn difference(before: &str, after: &str) -> String {
    if before == after {
        return "  no change\n".to_string();
    }
    let diff = TextDiff::from_lines(before, after);
    let line = |change: similar::Change<&str>| match change.tag() {
        ChangeTag::Delete => Some(format!("  - {}", change.value())),
        ChangeTag::Insert => Some(format!("  + {}", change.value())),
        ChangeTag::Equal => None,
    };
    diff.iter_all_changes().filter_map(line).collect()
}

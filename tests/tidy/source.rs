//! Rust source as text: comments and strings blanked, tests cut out, imports found.
//!
//! `use crate::{ir, base::Span}; // x` gives the imports `ir` and `base`. Lines keep their numbers.
//! This is no parser: it knows just enough of Rust for the rules in `tidy.rs`.

use std::path::Path;

/// Files under a folder of the repository with this ending, by path.
pub fn files_of(under: &str, ending: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), under, &mut found);
    found.retain(|(path, _)| path.ends_with(&format!(".{ending}")));
    found
}

/// Rust files under a folder.
pub fn sources(under: &str) -> Vec<(String, String)> {
    files_of(under, "rs")
}

/// All files of the repository that are text.
pub fn texts() -> Vec<(String, String)> {
    let mut found = Vec::new();
    walk(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut found);
    found
}

fn walk(root: &Path, under: &str, found: &mut Vec<(String, String)>) {
    let mut entries: Vec<_> =
        std::fs::read_dir(root.join(under)).unwrap().map(|entry| entry.unwrap()).collect();
    entries.sort_by_key(|entry| entry.file_name());
    for entry in entries {
        let name = entry.file_name().into_string().unwrap();
        let path = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
        if entry.file_type().unwrap().is_dir() {
            if name != ".git" && !name.starts_with("target") {
                walk(root, &path, found);
            }
        } else if name != ".git"
            && let Ok(text) = std::fs::read_to_string(entry.path())
        {
            found.push((path, text));
        }
    }
}

/// The folder of `src` that a file belongs to, as the crate names it.
pub fn folder(path: &str) -> Option<&str> {
    let (folder, _) = path.strip_prefix("src/")?.split_once('/')?;
    Some(if folder == "std" { "library" } else { folder })
}

/// The text with comments, strings and characters replaced by blanks.
pub fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => block_end(&chars, at),
            '"' => string_end(&chars, at),
            'r' if raw_hashes(&chars, at).is_some() => raw_end(&chars, at),
            '\'' => character_end(&chars, at),
            _ => at,
        };
        if end == at {
            out.push(chars[at]);
            at += 1;
            continue;
        }
        // The ABI of a function type stays: it tells a type from a block.
        if chars[at] == '"' && out.ends_with("extern ") {
            out.extend(&chars[at..end]);
        } else {
            out.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
        }
        at = end;
    }
    out
}

fn line_end(chars: &[char], at: usize) -> usize {
    chars[at..].iter().position(|&c| c == '\n').map_or(chars.len(), |length| at + length)
}

fn block_end(chars: &[char], at: usize) -> usize {
    let found = chars[at + 2..].windows(2).position(|pair| pair == ['*', '/']);
    found.map_or(chars.len(), |length| at + length + 4)
}

fn string_end(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != '"' {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// How many `#` a raw string that starts here has.
fn raw_hashes(chars: &[char], at: usize) -> Option<usize> {
    if at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_') {
        return None;
    }
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    (chars.get(at + 1 + hashes) == Some(&'"')).then_some(hashes)
}

fn raw_end(chars: &[char], at: usize) -> usize {
    let hashes = raw_hashes(chars, at).unwrap_or(0);
    let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
    let body = at + 2 + hashes;
    let found = chars[body..].windows(close.len()).position(|window| window == close);
    found.map_or(chars.len(), |length| body + length + close.len())
}

/// Past a character; a lifetime is left as it is.
fn character_end(chars: &[char], at: usize) -> usize {
    match (chars.get(at + 1), chars.get(at + 2)) {
        (Some('\\'), _) => {
            let found = chars[at + 3..].iter().position(|&c| c == '\'');
            found.map_or(chars.len(), |length| at + length + 4)
        }
        (Some(_), Some('\'')) => at + 3,
        _ => at,
    }
}

/// Blanked code without the modules marked `#[cfg(test)]`; lines keep their numbers.
pub fn without_tests(code: &str) -> String {
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = rest.find("#[cfg(test)]") {
        let (before, marked) = rest.split_at(start);
        let end = item_end(marked);
        out.push_str(before);
        out.extend(marked[..end].chars().filter(|&c| c == '\n'));
        rest = &marked[end..];
    }
    out + rest
}

/// The end of the item that begins here: its closing brace, or a semicolon before any brace.
fn item_end(code: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in code.char_indices() {
        match c {
            ';' if depth == 0 => return at + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// Files that a `#[cfg(test)] mod name;` of this file brings in.
pub fn test_files(path: &str, code: &str) -> Vec<String> {
    let base = path.strip_suffix("/mod.rs").or(path.strip_suffix(".rs")).unwrap_or(path);
    let mut found = Vec::new();
    for marked in code.split("#[cfg(test)]").skip(1) {
        let item = &marked[..item_end(marked)];
        if let Some((_, name)) = item.trim_end_matches(';').split_once("mod ")
            && item.ends_with(';')
        {
            found.push(format!("{base}/{}.rs", name.trim()));
        }
    }
    found
}

/// Names that follow `crate::`, with their lines.
pub fn imports(code: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        // `$crate::` and `rnnc_crate::` would be something else.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + start.len()..];
        let names: Vec<&str> = match rest.strip_prefix('{') {
            Some(list) => top_names(&list[..item_end(rest).saturating_sub(2)]),
            None => words(rest).take(1).collect(),
        };
        found.extend(names.into_iter().map(|name| (line, name.to_string())));
    }
    found
}

/// The first word of each entry of `a, b::{c, d}, e::f`.
fn top_names(list: &str) -> Vec<&str> {
    let mut depth = 0usize;
    let entries = list.split(move |c| {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        c == ',' && depth == 0
    });
    entries.filter_map(|entry| words(entry).next()).collect()
}

/// Identifiers of a line.
pub fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn what_is_no_code_is_blanked() {
    let text =
        "let a = \"panic!\"; // todo!\nlet b = r#\"un\"safe\"#; let c = '\"'; let d: &'a str = /* x\n */ e;";
    let blank = blanked(text);
    assert_eq!(blank.lines().count(), 3);
    assert_eq!(
        words(&blank).collect::<Vec<_>>(),
        ["let", "a", "let", "b", "let", "c", "let", "d", "a", "str", "e"]
    );
}

#[test]
fn tests_are_cut_and_imports_found() {
    let code = "use crate::{ir::{A, B}, base};\n#[cfg(test)]\nmod tests {\n  use crate::driver;\n}\nfn f() { crate::plan::plan() }\n";
    let cut = without_tests(code);
    assert_eq!(cut.lines().count(), code.lines().count());
    let names: Vec<(usize, String)> = imports(&cut);
    let expected = [(1, "ir"), (1, "base"), (6, "plan")].map(|(line, name)| (line, name.to_string()));
    assert_eq!(names, expected);
    assert_eq!(test_files("src/a/mod.rs", "#[cfg(test)]\nmod fuzz;\n"), ["src/a/fuzz.rs"]);
}

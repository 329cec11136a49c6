//! Lines of a source, with their indentation.

/// Text in the making.
#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    lines: String,
    depth: usize,
}

impl Text {
    /// A line.
    pub fn line(&mut self, line: impl AsRef<str>) {
        let line = line.as_ref();
        if !line.is_empty() {
            (0..self.depth).for_each(|_| self.lines.push_str("  "));
            self.lines.push_str(line);
        }
        self.lines.push('\n');
    }

    /// A line that opens a block, what is in it, and its end.
    pub fn block(&mut self, head: impl AsRef<str>, body: impl FnOnce(&mut Text)) {
        self.line(format!("{} {{", head.as_ref()));
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.line("}");
    }

    /// Comment lines.
    pub fn comment(&mut self, lines: impl IntoIterator<Item = impl AsRef<str>>) {
        lines.into_iter().for_each(|line| self.line(format!("// {}", line.as_ref())));
    }

    /// All of it.
    pub fn finish(self) -> String {
        self.lines
    }
}

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
        self.indented(body);
        self.line("}");
    }

    /// What stands further in.
    pub fn indented(&mut self, body: impl FnOnce(&mut Text)) {
        self.depth += 1;
        body(self);
        self.depth -= 1;
    }

    /// What stands between a condition of the preprocessor and its end; without one just that.
    pub fn only_if<E>(
        &mut self,
        condition: Option<&str>,
        body: impl FnOnce(&mut Text) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(condition) = condition {
            self.line(condition);
        }
        body(self)?;
        if condition.is_some() {
            self.line("#endif");
        }
        Ok(())
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

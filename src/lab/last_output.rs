//! Keeps the last line that a guest printed, for error messages.

/// Linux prints this when it panics. The lines after it explain nothing.
const PANIC: &str = "Kernel panic";

/// The last line, or the line of a kernel panic.
#[derive(Debug, Default)]
pub(super) struct LastOutput(String);

impl LastOutput {
    pub(super) fn record(&mut self, line: &str) {
        let line = line.trim();
        if !line.is_empty() && !self.0.contains(PANIC) {
            line.clone_into(&mut self.0);
        }
    }

    /// Returns the line, or `None` if the guest has printed nothing.
    pub(super) fn line(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|line| !line.is_empty())
    }

    /// Returns the line, or "nothing", for use in a message.
    pub(super) fn text(&self) -> String {
        self.line().unwrap_or("nothing").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_a_kernel_panic_despite_later_lines() {
        let mut output = LastOutput::default();
        assert_eq!((output.line(), output.text()), (None, "nothing".to_owned()));
        for line in [
            "hello",
            "[1.0] Kernel panic - not syncing: no root",
            "[1.1] Kernel Offset: disabled\n",
            "",
        ] {
            output.record(line);
        }
        assert_eq!(output.line(), Some("[1.0] Kernel panic - not syncing: no root"));
    }
}

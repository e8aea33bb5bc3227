//! What a guest said last, for an error. Pure.

/// What Linux says when it gives up; what it says after that tells nothing.
const PANIC: &str = "Kernel panic";

/// The line that tells most.
#[derive(Debug, Default)]
pub(super) struct LastWords(String);

impl LastWords {
    pub(super) fn hear(&mut self, line: &str) {
        let line = line.trim();
        if !line.is_empty() && !self.0.contains(PANIC) {
            line.clone_into(&mut self.0);
        }
    }

    /// `None`: it has said nothing.
    pub(super) fn said(&self) -> Option<&str> {
        Some(self.0.as_str()).filter(|said| !said.is_empty())
    }

    /// For a sentence.
    pub(super) fn text(&self) -> String {
        self.said().unwrap_or("nothing").to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_not_drowned_by_what_follows() {
        let mut words = LastWords::default();
        assert_eq!((words.said(), words.text()), (None, "nothing".to_owned()));
        for line in [
            "hello",
            "[1.0] Kernel panic - not syncing: no root",
            "[1.1] Kernel Offset: disabled\n",
            "",
        ] {
            words.hear(line);
        }
        assert_eq!(words.said(), Some("[1.0] Kernel panic - not syncing: no root"));
    }
}

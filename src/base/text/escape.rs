//! What of a text is shown: not more than so much, and nothing that a terminal would obey.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// The text, or its beginning and how much is missing. Cut between characters.
#[must_use]
pub fn truncate(text: &str, most: usize) -> Cow<'_, str> {
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let end = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}… ({} more bytes)", &text[..end], text.len() - end))
}

/// The text with what a terminal obeys written out: control characters, and those that turn the direction of writing. Ends of lines stay.
///
/// Written as JSON writes them (`\u001b`), so that JSON stays JSON and means the same.
#[must_use]
pub fn escape_control(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_obeyed(c) {
            // Writing to a String does not fail. All of them are in the plane that JSON's four digits reach.
            let _ = write!(shown, "\\u{:04x}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// C0 and C1 controls and DEL (ECMA-48: an escape sequence begins with U+001B, or with the single U+009B), and the directional
/// formatting characters of Unicode (UAX #9), which make a line read as what it is not.
fn is_obeyed(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

/// A writer that shows what is written to it, each write by itself.
#[derive(Debug)]
pub struct EscapingWriter<W>(pub W);

impl<W: io::Write> io::Write for EscapingWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write_all(escape_control(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    #[test]
    fn a_terminal_obeys_nothing_of_it() {
        assert_eq!(
            escape_control("\x1b]0;owned\x07 \u{9b}2J\r\x7f a\tb\n"),
            "\\u001b]0;owned\\u0007 \\u009b2J\\u000d\\u007f a\tb\n"
        );
        assert_eq!(escape_control("safe\u{202e}exe.txt"), "safe\\u202eexe.txt");
        assert!(matches!(escape_control("µs … 10 × Ж\n"), Cow::Borrowed(_)));
        let mut shown = EscapingWriter(Vec::new());
        shown.write_all(b"a\x1b[2Jb\xff\n").unwrap();
        assert_eq!(shown.0, "a\\u001b[2Jb\u{fffd}\n".as_bytes());
    }

    #[test]
    fn what_is_cut_says_so() {
        assert_eq!(truncate("abcdef", 6), "abcdef");
        assert_eq!(truncate("abcdef", 2), "ab… (4 more bytes)");
        assert_eq!(truncate("aµµ", 2), "a… (4 more bytes)");
    }

    proptest! {
        #[test]
        fn json_stays_json_and_means_the_same(text in any::<String>(), most in 0usize..50) {
            let json = serde_json::to_string(&text).unwrap();
            let shown = escape_control(&json).into_owned();
            prop_assert!(shown.chars().all(|c| !c.is_control()));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text.clone());
            prop_assert!(truncate(&text, most).len() <= most + 30);
        }
    }
}

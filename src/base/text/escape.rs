//! Truncates text and escapes control characters, so that text from others is safe to print.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;

/// Returns the text, or its first `max` bytes and how many bytes were left out. It is cut between
/// characters.
#[must_use]
pub fn truncate(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let end = (0..=max).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    Cow::Owned(format!("{}… ({} more bytes)", &text[..end], text.len() - end))
}

/// Escapes control characters, and characters that change the direction of writing. Line ends and
/// tabs stay.
///
/// The escapes are JSON's (`\u001b`), so that JSON stays valid JSON with the same meaning.
#[must_use]
pub fn escape_control(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            // Four digits are enough: all these characters are in the basic multilingual plane.
            write!(shown, "\\u{:04x}", u32::from(c)).expect("writing to a String cannot fail");
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Whether a terminal would interpret the character. These are the C0 and C1 controls and DEL
/// (ECMA-48: an escape sequence begins with U+001B or with the single U+009B), and Unicode's
/// directional formatting characters (UAX #9), which can make a line read as another.
fn is_unsafe(c: char) -> bool {
    match c {
        '\n' | '\t' => false,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            true
        }
        c => c.is_control(),
    }
}

/// A writer that escapes control characters. Each write is escaped separately.
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
    fn escapes_everything_that_a_terminal_would_interpret() {
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
    fn truncated_text_says_how_much_is_missing() {
        assert_eq!(truncate("abcdef", 6), "abcdef");
        assert_eq!(truncate("abcdef", 2), "ab… (4 more bytes)");
        assert_eq!(truncate("aµµ", 2), "a… (4 more bytes)");
    }

    proptest! {
        #[test]
        fn escaped_json_is_valid_and_has_the_same_value(text in any::<String>(), most in 0usize..50) {
            let json = serde_json::to_string(&text).unwrap();
            let shown = escape_control(&json).into_owned();
            prop_assert!(shown.chars().all(|c| !c.is_control()));
            prop_assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), text.clone());
            prop_assert!(truncate(&text, most).len() <= most + 30);
        }
    }
}

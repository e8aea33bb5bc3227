//! What is made from measurements, into docs/ulster.md: between a line that names it and a line that ends it, so that what people wrote around it stays.

use super::checklist::{checklist, warrant};
use super::laws::laws;
use super::store::Evidence;
use super::tables;
use std::fmt::Write;

const END: &str = "<!-- end -->";

/// Why it could not be put in.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// There is no place for it.
    #[error("the page has no lines `<!-- made: {0} -->` and `{END}` after it")]
    NoPlace(&'static str),
}

/// The page with all of it made anew.
///
/// # Errors
/// [`PageError`].
pub fn page(text: &str, evidence: &Evidence) -> Result<String, PageError> {
    let parts = [
        ("checklist", checklist(evidence)),
        ("warrant", warrant(&evidence.cells)),
        ("table II", tables::second(&evidence.cells)),
        ("table III", tables::third(&evidence.cells)),
        ("laws", findings(evidence)),
    ];
    parts.iter().try_fold(text.to_owned(), |text, (name, made)| put(&text, name, made))
}

fn findings(evidence: &Evidence) -> String {
    let mut text = "| law | of | | what was seen |\n|---|---|---|---|\n".to_owned();
    for finding in laws(&evidence.cells) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            finding.law.name(),
            finding.of,
            finding.verdict,
            finding.says
        );
    }
    text
}

fn put(text: &str, name: &'static str, made: &str) -> Result<String, PageError> {
    let begin = format!("<!-- made: {name} -->\n");
    let (before, rest) = text.split_once(&begin).ok_or(PageError::NoPlace(name))?;
    let (_, after) = rest.split_once(END).ok_or(PageError::NoPlace(name))?;
    Ok(format!("{before}{begin}{made}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_stays() {
        let text =
            "a\n<!-- made: laws -->\nold\n<!-- end -->\nb\n<!-- made: table II -->\n<!-- end -->\n";
        let put = put(text, "laws", "new\n").unwrap();
        assert_eq!(
            put,
            "a\n<!-- made: laws -->\nnew\n<!-- end -->\nb\n<!-- made: table II -->\n<!-- end -->\n"
        );
        assert_eq!(super::put(text, "checklist", ""), Err(PageError::NoPlace("checklist")));
    }
}

//! Writes the tables into docs/ulster.md. Each table stands between a line that names it and a line
//! that ends it; the text around it stays as people wrote it.

use super::checklist::{checklist, model_accuracy};
use super::evidence::Evidence;
use super::expectations::check_expectations;
use super::tables;
use std::fmt::Write;

const END: &str = "<!-- end -->";

/// Why the page cannot be rendered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The page has no place for a table.
    #[error("the page has no line `<!-- generated: {0} -->` with a line `{END}` after it")]
    MissingMarker(&'static str),
}

/// Returns the page with all tables replaced.
///
/// # Errors
/// Returns [`PageError`] if the markers of a table are missing.
pub fn render_page(text: &str, evidence: &Evidence) -> Result<String, PageError> {
    let parts = [
        ("checklist", checklist(evidence)),
        ("model accuracy", model_accuracy(&evidence.cells)),
        ("table II", tables::table_two(&evidence.cells)),
        ("table III", tables::table_three(&evidence.cells)),
        ("expectations", findings_table(evidence)),
    ];
    parts.iter().try_fold(text.to_owned(), |text, (name, made)| replace_table(&text, name, made))
}

fn findings_table(evidence: &Evidence) -> String {
    let mut text = "| expectation | of | | measured |\n|---|---|---|---|\n".to_owned();
    for finding in check_expectations(&evidence.cells) {
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} |",
            finding.expectation.name(),
            finding.subject,
            finding.verdict,
            finding.detail
        );
    }
    text
}

fn replace_table(text: &str, name: &'static str, made: &str) -> Result<String, PageError> {
    let begin = format!("<!-- generated: {name} -->\n");
    let (before, rest) = text.split_once(&begin).ok_or(PageError::MissingMarker(name))?;
    let (_, after) = rest.split_once(END).ok_or(PageError::MissingMarker(name))?;
    Ok(format!("{before}{begin}{made}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text_around_the_tables() {
        let text = "a\n<!-- generated: expectations -->\nold\n<!-- end -->\nb\n<!-- generated: \
            table II -->\n<!-- end -->\n";
        let replaced = replace_table(text, "expectations", "new\n").unwrap();
        assert_eq!(
            replaced,
            "a\n<!-- generated: expectations -->\nnew\n<!-- end -->\nb\n<!-- generated: table II \
                -->\n<!-- end -->\n"
        );
        assert_eq!(
            replace_table(text, "checklist", ""),
            Err(PageError::MissingMarker("checklist"))
        );
    }
}

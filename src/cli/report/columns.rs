//! Aligned text: lines of a label and a text, tables, and the characters of bars.

use std::fmt::Write;

/// Characters for eight heights of a bar, the lowest first.
pub(super) const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Formats rows as lines, each column as wide as its longest cell.
pub(super) fn align_columns<const N: usize>(rows: &[[String; N]]) -> String {
    let width =
        |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}

/// Lines of a label and a text, with all texts in the same column.
#[derive(Debug)]
pub(super) struct LabelledLines {
    text: String,
    label_columns: usize,
}

impl LabelledLines {
    /// Starts with no lines. `label_columns` is the width of the labels.
    pub(super) fn new(label_columns: usize) -> LabelledLines {
        LabelledLines { text: String::new(), label_columns }
    }

    /// Appends a line. A line that continues the previous one has an empty label.
    pub(super) fn push(&mut self, label: &str, text: impl AsRef<str>) {
        let (width, text) = (self.label_columns, text.as_ref());
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "  {label:<width$} {text}");
    }

    /// Appends lines of which only the first has the label.
    pub(super) fn push_all<T: AsRef<str>>(
        &mut self,
        label: &str,
        texts: impl IntoIterator<Item = T>,
    ) {
        for (index, text) in texts.into_iter().enumerate() {
            self.push(if index == 0 { label } else { "" }, text);
        }
    }

    /// Returns the lines.
    pub(super) fn into_text(self) -> String {
        self.text
    }
}

//! A row of the checklist.

/// One row of the table.
pub(super) struct Row {
    pub(super) id: &'static str,
    pub(super) what: String,
    pub(super) paper: &'static str,
    pub(super) ours: String,
    pub(super) model: String,
    pub(super) verdict: String,
}

//! PLACEHOLDER: to be replaced by the real parser.
/// x
#[derive(Clone, Debug, Default)]
pub struct TraceLog {}
/// x
#[must_use]
pub fn parse(_bytes: &[u8]) -> TraceLog {
    TraceLog {}
}

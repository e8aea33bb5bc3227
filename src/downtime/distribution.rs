//! PLACEHOLDER
use crate::record::Distribution;
/// x
#[must_use]
pub fn distribution(values_us: &[u64]) -> Distribution {
    Distribution { count: values_us.len() as u64, ..Distribution::default() }
}

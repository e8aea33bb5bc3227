//! PLACEHOLDER
use serde::{Deserialize, Serialize};
/// x
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "placeholder")]
pub struct Distribution {
    pub count: u64,
    pub min_us: Option<u64>,
    pub max_us: Option<u64>,
    pub mean_us: Option<u64>,
    pub p50: Option<Quantile>,
    pub p90: Option<Quantile>,
    pub p99: Option<Quantile>,
}
/// x
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "placeholder")]
pub struct Quantile {
    pub us: u64,
    pub low_us: Option<u64>,
    pub high_us: Option<u64>,
}

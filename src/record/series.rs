//! A distribution, as run.json has it.

use serde::{Deserialize, Serialize};

/// How values are distributed: exact order statistics, nothing rounded to buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Distribution {
    /// How many values.
    pub count: u64,
    /// The least, µs.
    pub min_us: Option<u64>,
    /// The median.
    pub p50: Option<Quantile>,
    /// 90 of 100 are at most this.
    pub p90: Option<Quantile>,
    /// 99 of 100 are at most this.
    pub p99: Option<Quantile>,
    /// The greatest.
    pub max_us: Option<u64>,
    /// The mean.
    pub mean_us: Option<u64>,
}

/// A quantile and its 95 % confidence interval; `null` where there are too few values for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantile {
    /// As measured.
    pub us: u64,
    /// Lower end of the interval.
    pub low_us: Option<u64>,
    /// Upper end.
    pub high_us: Option<u64>,
}

//! A judgement as JSON: what `simulate`, `diagnose` and `predict` print with `--json`, and of what run.json keeps a part.

use super::judge::Judgement;
use serde_json::{Value, json};

impl Judgement {
    /// Units are in the names; what cannot be known is `null`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Judgement { verdict, prediction, textbook, boundaries, remedies } = self;
        let us = |seconds: f64| (seconds * 1e6).round();
        json!({
            "verdict": verdict.name(),
            "predicted": {
                "converges": prediction.converges, "total_us": us(prediction.total), "bytes": prediction.bytes.round(),
                "syncs": prediction.syncs, "pending_bytes": prediction.pending.round(),
                "expected_downtime_us": us(prediction.expected_downtime), "blackout_us": prediction.blackout.map(us),
                "throttle_percent": prediction.throttle * 100.0,
                "postcopy": prediction.postcopy.map(|postcopy| json!({
                    "us": us(postcopy.seconds), "faults": postcopy.faults.round(), "fault_us": us(postcopy.fault), "blocked_us": us(postcopy.blocked),
                })),
            },
            "textbook": { "converges": textbook.converges, "total_us": us(textbook.total), "expected_downtime_us": us(textbook.expected_downtime) },
            "boundaries": {
                "rate_bps": boundaries.rate.map(f64::round), "working_set_bytes": boundaries.working_set.map(f64::round),
                "bandwidth_bps": boundaries.bandwidth.map(f64::round), "downtime_limit_us": boundaries.downtime_limit.map(us),
            },
            "remedies": remedies,
        })
    }
}

//! PLACEHOLDER
use super::trace::TraceLog;
use crate::record::{Breakdown, DeviceTime};
pub struct TraceBlackout {
    pub start_us: u64,
    pub end_us: u64,
    pub breakdown: Breakdown,
    pub devices: Vec<DeviceTime>,
}
#[derive(Debug, thiserror::Error)]
#[error("placeholder")]
pub struct TraceMissing;
pub fn blackout(_s: &TraceLog, _d: &TraceLog, _o: i64) -> Result<TraceBlackout, TraceMissing> {
    Err(TraceMissing)
}

//! `switchover`
pub mod clock;
pub mod qmp;
pub mod scenario;
pub mod units;

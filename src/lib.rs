//! `switchover`
pub mod clock;
pub mod downtime;
pub mod drive;
pub mod lab;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod qmp;
pub mod record;
pub mod run;
pub mod scenario;
pub mod units;

//! Plans and performs one migration between two QEMUs, and observes it.
//!
//! [`plan`] turns a scenario and what both QEMUs support into ordered settings, or a refusal;
//! [`drive`] performs the plan and holds the safety rules; [`observe`] samples `query-migrate` and
//! the guest's heartbeat; [`step`] performs single steps of a migration that something else
//! drives; [`inspect`] shows what a QEMU supports; [`sockets`] opens the sockets of the migration
//! stream. This crate does not know who started the QEMUs.

pub mod drive;
pub mod inspect;
pub mod observe;
pub mod plan;
pub mod sockets;
pub mod step;

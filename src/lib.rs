//! Drives and measures live migration of QEMU virtual machines by speaking QMP to the QEMU processes themselves.
//!
//! The rooms, in the order in which data flows through them; a room may use those above it, never those below
//! (ARCHITECTURE.md draws it):
//!
//! [`causes`], [`units`], [`text`], [`clock`], [`credentials`], `janitor` → [`qmp`] → [`scenario`] → [`sockets`] → [`plan`] → [`policy`] → [`record`] → [`observe`] → [`drive`] → [`link`] → [`lab`] →
//! [`downtime`], [`convergence`] → [`run`] (the rooms in their order: one run) → [`campaign`] (many runs) → [`report`]; [`capture`], [`inspect`] and [`doctor`] look
//! without migrating, [`step`] takes one step by hand, [`ulster`] repeats a paper by campaigns.
//!
//! One migration in a lab, from Rust:
//!
//! ```no_run
//! use switchover::drive::Interrupt;
//! use switchover::run::{Options, in_lab};
//! use switchover::scenario::Loader;
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let scenario = Loader::new().set("mode=postcopy")?.set("guest.rate=200MiB/s")?.load()?;
//! let options = Options { scenario, out: None, interrupt: Interrupt::never(), progress: Box::new(|_| ()) };
//! let run = in_lab(options).await?;
//! println!("{:?}, blackout {:?}", run.summary.outcome, run.summary.downtime.best);
//! # Ok(()) }
//! ```

pub mod campaign;
pub mod capture;
pub mod causes;
pub mod clock;
pub mod convergence;
pub mod credentials;
pub mod doctor;
pub mod downtime;
pub mod drive;
pub mod inspect;
mod janitor;
pub mod lab;
pub mod link;
pub mod observe;
pub mod plan;
pub mod policy;
pub mod qmp;
pub mod record;
pub mod report;
pub mod run;
pub mod scenario;
pub mod sockets;
pub mod step;
pub mod text;
pub mod ulster;
pub mod units;

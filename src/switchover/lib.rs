//! Drives and measures live migration of QEMU virtual machines by speaking QMP to the QEMU
//! processes themselves.
//!
//! [`run`] performs one run: it starts a lab of two QEMUs (or takes two that you started), migrates
//! the guest once or many times, and returns the [`Summary`] with the blackout in up to four views.
//! [`campaign`] performs many runs over a matrix of settings. [`capture`] turns a running VM into a
//! scenario, and [`doctor`] finds out what this machine supports.
//!
//! This crate is the library that other programs import. The crates below it are usable alone:
//! `switchover-qmp` is a QMP client, `switchover-lab` starts pairs of QEMUs, `switchover-migrate`
//! drives one migration, `switchover-analysis` reads run directories.
//!
//! Features, none of them on by default: `parquet` has campaigns, and writes samples as Parquet
//! instead of compressed lines; `credentials` makes TLS credentials for tests.
//!
//! One migration in a lab:
//!
//! ```no_run
//! use switchover::{Interrupt, Loader, Options, in_lab};
//!
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn
//! std::error::Error>> {
//! let scenario = Loader::new().set("mode=postcopy")?.set("guest.rate=200MiB/s")?.load()?;
//! let options =
//!     Options { scenario, out: None, interrupt: Interrupt::never(), progress: Box::new(|_| ()) };
//! let run = in_lab(options).await?;
//! println!("{:?}, blackout {:?}", run.summary.outcome, run.summary.downtime.best);
//! # Ok(()) }
//! ```

#[cfg(feature = "parquet")]
pub mod campaign;
pub mod capture;
pub mod doctor;
pub mod run;

pub use base::units::{Bytes, Micros, Rate};
pub use base::{PerSide, Side};
pub use migrate::drive::{Interrupt, Progress};
pub use qmp::Endpoint;
pub use record::{Outcome, Summary, Switchover};
pub use run::{Attach, Options, RunError, adopted, attached, in_lab};
pub use scenario::{Loader, Mode, Scenario, ScenarioError};

//! QMP, QEMU's machine protocol, over a wire of our own.
//!
//! Takes an [`Endpoint`]; gives a negotiated [`Session`] and its [`Notices`]: commands with
//! deadlines, out-of-band commands, passed file descriptors, events with QEMU's timestamp and ours,
//! and the schema of the QEMU at the other end. Knows nothing of migration, except for the shape of
//! `query-migrate`'s answer ([`MigrationInfo`]), which is QAPI's.
//!
//! Requests are `qapi`'s typed ones (a name, whether it may go out of band, checked arguments). Its
//! connection is not used: one event that its closed enums don't know ends it, and it cannot send
//! out of band.
//!
//! Map: [`endpoint`](Endpoint) where a QEMU listens · `tunnel` ssh to it · `wire` lines to messages
//! and back, pure · `limits` what a peer can make us hold · [`session`](Session) the
//! connection, `tasks` what works for it, `stream` its socket, `lines` what it reads · `blocking`
//! the same wire for a thread that only samples · [`schema`](Schema) what a QEMU knows ·
//! `info` the answer of `query-migrate` · `peer` the process at the other end ·
//! [`error`](QmpError).

mod blocking;
mod endpoint;
mod error;
mod info;
mod limits;
mod lines;
mod peer;
mod schema;
mod session;
mod stream;
mod tasks;
mod tunnel;
mod version;
mod wire;

pub use blocking::BlockingSession;
pub use blocking::{is_answer, pass_of};
pub use endpoint::{Endpoint, EndpointError, Remote};
pub use error::{QmpError, Result};
pub use info::{MigrationInfo, RamStats, Status, XbzrleStats};
pub use schema::{Kind, Member, Schema};
pub use session::{Closed, Notices, Session};
pub use tasks::{OnLine, Tap};
pub use version::QemuVersion;
pub use wire::{Direction, Event, Greeting, Notice, Request};

//! QMP without QEMU: scripted servers for what real QEMUs rarely do, and recordings of what they
//! did.
//!
//! `server` the other end of a connection, told line by line what to do · `session` the connection
//! · `hostile` a peer that means harm · `blocking` the same for a thread that samples · `driver` a
//! migration between two scripted QEMUs · `recordings` fixtures/qmp played back.

mod blocking;
mod driver;
mod hostile;
mod recordings;
mod revive;
mod server;
mod session;

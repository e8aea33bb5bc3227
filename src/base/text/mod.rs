//! Safe handling of text from a peer, a guest or a run directory.
//!
//! `limits` reads lines and files up to a size limit. `escape` truncates text and escapes control
//! characters before text goes to a terminal.

mod escape;
mod limits;

pub use escape::{EscapingWriter, escape_control, truncate};
pub use limits::{LineTooLong, MAX_LINE_BYTES, for_each_line, read_all, read_bytes, read_tail};

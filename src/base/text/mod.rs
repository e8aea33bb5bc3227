//! Text that others wrote: how much of it is held, and what of it is shown.
//!
//! Takes bytes, files and strings of a peer, a guest or a run directory; gives lines and texts no longer than a bound, and what may go to a
//! terminal. Knows nothing of what they mean.
//!
//! Map: `bounded` reading no more than so much · `shown` cutting, and control characters made visible.

mod escape;
mod limits;

pub use escape::{EscapingWriter, escape_control, truncate};
pub use limits::{LineTooLong, MAX_LINE_BYTES, for_each_line, read_all, read_bytes, read_tail};

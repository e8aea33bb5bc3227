//! Text that others wrote: how much of it is held, and what of it is shown.
//!
//! Takes bytes, files and strings of a peer, a guest or a run directory; gives lines and texts no longer than a bound, and what may go to a
//! terminal. Knows nothing of what they mean.
//!
//! Map: `bounded` reading no more than so much · `shown` cutting, and control characters made visible.

mod bounded;
mod shown;

pub use bounded::{LONGEST_LINE, TooLong, each_line, read_all, read_bytes, tail};
pub use shown::{Shown, cut, printable};

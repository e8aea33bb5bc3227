//! What every other crate of switchover needs, and nothing that knows about QEMU.
//!
//! [`units`] has sizes, rates and times with their units; [`clock`] is the only place that reads
//! clocks; [`text`] limits the size of what is read from others and escapes what is printed;
//! [`Side`] and [`PerSide`] name the two QEMU processes; [`causes`] prints an error with its
//! causes; [`janitor`] is a helper process that cleans up if this process is killed.

pub mod causes;
pub mod clock;
pub mod janitor;
mod side;
pub mod text;
pub mod units;

pub use side::{PerSide, Side};

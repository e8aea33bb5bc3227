//! Integration tests, one program: linking the crate once is cheaper than once a file.
//!
//! `faults` whatever goes wrong, and whenever · `fuzzed` what the fuzzer calls, on its seeds ·
//! `harness` what tests share · `link` the emulated link by itself · `real` against real QEMU of
//! three versions · `ulster` the page on the paper · `wire` against scripted QMP peers.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap that fails is a failed assertion")]
#![expect(
    clippy::print_stdout,
    reason = "the test harness shows it with a failure, and with --nocapture"
)]

mod docs;
mod faults;
mod fuzzed;
mod harness;
mod link;
mod real;
mod ulster;
mod wire;

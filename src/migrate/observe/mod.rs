//! Watching: samples of `query-migrate`, the guest's heartbeats and its application's answers, each
//! on a thread of its own, into one stream of records.
//!
//! Takes connections and sockets; gives records to a [`Sink`](record::Sink) and the latest sample
//! to whoever asks. Knows nothing of what they mean.

mod answers;
mod heartbeat;
mod sampler;
mod stamped;

pub use answers::Answers;
pub use heartbeat::Heartbeats;
pub use sampler::{Latest, Sampler, SharedSampler};

//! Watching: samples of `query-migrate` and the guest's heartbeats, each on a thread of its own, into one stream of records.
//!
//! Takes connections and sockets; gives records to a [`Sink`](crate::record::Sink) and the latest sample to whoever asks.
//! Knows nothing of what they mean.

mod heartbeat;
mod sampler;

pub use heartbeat::Heartbeats;
pub use sampler::{Latest, Sampler, SharedSampler};

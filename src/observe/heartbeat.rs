//! The guest's heartbeats, stamped as they arrive on the host: one thread for each QEMU, so that a beat is stamped when it comes.
//!
//! Stamped here and not in the guest, because a guest's own clock does not see the blackout under TCG (facts/qemu.md §6.4). What
//! the guest says of a late beat by its own clock is kept beside it: fixtures/guest/README.md, "Heartbeat".

use crate::clock::monotonic_ns;
use crate::record::{Beat, Entry, Sink};
use std::io::{self, Read};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

const BATCH_AGE_NS: u64 = 100_000_000;
/// Bytes that follow a late beat, 7 bits of microseconds each.
const LATENESS_BYTES: u8 = 4;

/// A thread that reads the beats of one QEMU.
#[derive(Debug)]
pub struct Heartbeats {
    thread: JoinHandle<()>,
    closer: UnixStream,
    first: Option<oneshot::Receiver<()>>,
}

impl Heartbeats {
    /// Starts reading the beats of `vm`.
    ///
    /// # Errors
    /// When no thread or descriptor is to be had.
    pub fn start(vm: u32, stream: UnixStream, sink: Sink) -> io::Result<Heartbeats> {
        let closer = stream.try_clone()?;
        stream.set_nonblocking(false)?;
        let (beating, first) = oneshot::channel();
        let named = std::thread::Builder::new().name(format!("beats-{vm}"));
        let thread = named.spawn(move || read_all(vm, stream, &sink, beating))?;
        Ok(Heartbeats { thread, closer, first: Some(first) })
    }

    /// Resolves with the first beat: the guest's code runs. `false` if the connection ended before there was one.
    pub async fn first(&mut self) -> bool {
        match self.first.take() {
            Some(first) => first.await.is_ok(),
            None => true,
        }
    }

    /// Stops. The guest cannot beat after this.
    pub fn stop(self) {
        let _ = self.closer.shutdown(Shutdown::Both);
        let _ = self.thread.join();
    }
}

fn read_all(vm: u32, mut stream: UnixStream, sink: &Sink, beating: oneshot::Sender<()>) {
    let mut beating = Some(beating);
    let mut decoder = Decoder::default();
    let mut batch_began_ns = monotonic_ns();
    let mut bytes = [0; 4096];
    loop {
        let read = match stream.read(&mut bytes) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let now_ns = monotonic_ns();
        decoder.take(&bytes[..read], now_ns);
        if let Some(beating) = beating.take() {
            let _ = beating.send(());
        }
        if now_ns - batch_began_ns >= BATCH_AGE_NS {
            batch_began_ns = now_ns;
            give(vm, decoder.whole(), sink);
        }
    }
    give(vm, std::mem::take(&mut decoder.beats), sink);
}

fn give(vm: u32, beats: Vec<Beat>, sink: &Sink) {
    if !beats.is_empty() {
        sink.give_and_wait(Entry::Beats(vm, beats));
    }
}

/// Puts beats together from bytes.
#[derive(Debug, Default)]
struct Decoder {
    beats: Vec<Beat>,
    /// How many bytes of the last beat's lateness have come.
    lateness_bytes: u8,
}

impl Decoder {
    fn take(&mut self, bytes: &[u8], arrived_ns: u64) {
        for byte in bytes {
            if byte & 0x80 == 0 {
                self.lateness_bytes = 0;
                self.beats.push(Beat { sequence: *byte, arrived_ns, late_us: 0 });
            } else if let Some(beat) = self.beats.last_mut()
                && self.lateness_bytes < LATENESS_BYTES
            {
                beat.late_us |= u32::from(byte & 0x7f) << (7 * self.lateness_bytes);
                self.lateness_bytes += 1;
            }
        }
    }

    /// All beats but the last, whose lateness may still be on its way.
    fn whole(&mut self) -> Vec<Beat> {
        let last = self.beats.pop();
        let whole = std::mem::take(&mut self.beats);
        self.beats.extend(last);
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lateness_is_put_together_however_the_bytes_were_cut() {
        let late: u32 = 1_234_567;
        let mut bytes = vec![5, 6];
        bytes.extend((0..4).map(|at| 0x80 | u8::try_from((late >> (7 * at)) & 0x7f).unwrap()));
        bytes.push(7);
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::default();
            decoder.take(&bytes[..cut], 1);
            let mut beats = decoder.whole();
            decoder.take(&bytes[cut..], 2);
            beats.append(&mut decoder.beats);
            let seen: Vec<_> = beats.iter().map(|beat| (beat.sequence, beat.late_us)).collect();
            assert_eq!(seen, [(5, 0), (6, late), (7, 0)], "cut at {cut}");
        }
    }

    #[test]
    fn lateness_without_a_beat_and_too_much_of_it_is_passed_over() {
        let mut decoder = Decoder::default();
        decoder.take(&[0xff, 0xff, 1, 0x81, 0x80, 0x80, 0x80, 0xff, 2], 1);
        let seen: Vec<_> = decoder.beats.iter().map(|beat| (beat.sequence, beat.late_us)).collect();
        assert_eq!(seen, [(1, 1), (2, 0)]);
    }
}

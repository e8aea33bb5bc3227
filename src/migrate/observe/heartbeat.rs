//! The guest's heartbeats, stamped as they arrive on the host: one thread for each QEMU, so that a
//! beat is stamped when it comes.
//!
//! Stamped here and not in the guest, because a guest's own clock does not see the blackout under
//! TCG (docs/qemu-notes.md, "The guest's clock"). What the guest says of a late beat by its own
//! clock is kept beside it: fixtures/guest/README.md, "Heartbeat".

use super::stamped::{BATCH_AGE_NS, Stamped};
use record::{Beat, Entry, Sink};
use std::io;
use std::os::unix::net::UnixStream;
use tokio::sync::oneshot;

/// Bytes that follow a late beat, 7 bits of microseconds each.
const LATENESS_BYTES: u8 = 4;

/// A thread that reads the beats of one QEMU.
#[derive(Debug)]
pub struct Heartbeats {
    stamped: Stamped,
    first: Option<oneshot::Receiver<()>>,
}

impl Heartbeats {
    /// Starts reading the beats of `vm`.
    ///
    /// # Errors
    /// When no thread or descriptor is to be had.
    pub fn start(vm: u32, stream: UnixStream, sink: Sink) -> io::Result<Heartbeats> {
        let (beating, first) = oneshot::channel();
        let mut reader = Reader {
            vm,
            sink,
            beating: Some(beating),
            decoder: Decoder::default(),
            batch_began_ns: 0,
        };
        let stamped = Stamped::start(&format!("beats-{vm}"), stream, move |bytes, now_ns| {
            reader.take(bytes, now_ns);
        })?;
        Ok(Heartbeats { stamped, first: Some(first) })
    }

    /// Resolves with the first beat: the guest's code runs. `false` if the connection ended before
    /// there was one.
    pub async fn first(&mut self) -> bool {
        match self.first.take() {
            Some(first) => first.await.is_ok(),
            None => true,
        }
    }

    /// Stops. The guest cannot beat after this.
    pub fn stop(self) {
        self.stamped.stop();
    }
}

/// What the thread does with what comes.
struct Reader {
    vm: u32,
    sink: Sink,
    beating: Option<oneshot::Sender<()>>,
    decoder: Decoder,
    batch_began_ns: u64,
}

impl Reader {
    /// No bytes: it is the end.
    fn take(&mut self, bytes: &[u8], now_ns: u64) {
        self.decoder.take(bytes, now_ns);
        if let Some(beating) = self.beating.take_if(|_| !bytes.is_empty()) {
            let _ = beating.send(());
        }
        if bytes.is_empty() {
            self.give(|decoder| std::mem::take(&mut decoder.beats));
        } else if now_ns - self.batch_began_ns >= BATCH_AGE_NS {
            self.batch_began_ns = now_ns;
            self.give(Decoder::whole);
        }
    }

    fn give(&mut self, beats: impl FnOnce(&mut Decoder) -> Vec<Beat>) {
        let beats = beats(&mut self.decoder);
        if !beats.is_empty() {
            self.sink.give_and_wait(Entry::Beats(self.vm, beats));
        }
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

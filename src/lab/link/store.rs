//! Bytes on their way, in the order in which they were taken in: as much memory as there are bytes, and no copy of them made here.

use std::collections::VecDeque;

/// One allocation.
const CHUNK: usize = 64 << 10;
/// Kept for the next bytes.
const SPARE: usize = 4;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Store {
    chunks: VecDeque<Box<[u8]>>,
    /// Where the bytes begin in the first chunk.
    begin: usize,
    /// Where they end in the last one.
    end: usize,
    length: usize,
    spare: Vec<Box<[u8]>>,
}

impl Store {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Room behind the last byte, at most `most`; what is then put there is [`Store::add`]ed.
    pub(super) fn room(&mut self, most: usize) -> &mut [u8] {
        if self.chunks.is_empty() || self.end == CHUNK {
            let fresh = self.spare.pop().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
            self.chunks.push_back(fresh);
            self.end = 0;
        }
        let until = CHUNK.min(self.end.saturating_add(most));
        self.chunks.back_mut().map(|chunk| &mut chunk[self.end..until]).unwrap_or_default()
    }

    /// So many bytes were put into the room.
    pub(super) fn add(&mut self, bytes: usize) {
        self.end += bytes;
        self.length += bytes;
    }

    /// The first bytes, at most `most` of them.
    pub(super) fn first(&self, most: usize) -> &[u8] {
        let until = CHUNK.min(self.begin.saturating_add(most.min(self.length)));
        self.chunks.front().map(|chunk| &chunk[self.begin..until]).unwrap_or_default()
    }

    /// Takes the first bytes away.
    pub(super) fn take(&mut self, bytes: usize) {
        self.begin += bytes;
        self.length -= bytes;
        if self.begin == CHUNK {
            self.begin = 0;
            let used = self.chunks.pop_front();
            self.spare.extend(used.filter(|_| self.spare.len() < SPARE));
        } else if self.length == 0 {
            // From the start again: one chunk is enough for a trickle.
            (self.begin, self.end) = (0, 0);
        }
    }

    /// All of them.
    pub(super) fn clear(&mut self) {
        *self = Store::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_goes_in_comes_out(steps in proptest::collection::vec((any::<bool>(), 1usize..100_000), 1..200)) {
            let (mut store, mut next_in, mut next_out) = (Store::default(), 0u8, 0u8);
            for (put, most) in steps {
                if put {
                    let room = store.room(most);
                    let length = room.len();
                    prop_assert!(length > 0 && length <= most);
                    for byte in room {
                        *byte = next_in;
                        next_in = next_in.wrapping_add(1);
                    }
                    store.add(length);
                } else {
                    let bytes = store.first(most).to_vec();
                    prop_assert_eq!(bytes.is_empty(), store.is_empty());
                    for byte in &bytes {
                        prop_assert_eq!(*byte, next_out);
                        next_out = next_out.wrapping_add(1);
                    }
                    if !bytes.is_empty() {
                        store.take(bytes.len());
                    }
                }
                prop_assert!(store.chunks.len() <= store.len() / CHUNK + 2);
            }
        }
    }
}

//! Queue of the bytes in transit. It uses memory in proportion to the bytes queued and does not
//! copy them.

use std::collections::VecDeque;

/// Size of one allocation in bytes.
const CHUNK: usize = 64 << 10;
/// Maximum number of free chunks kept for reuse.
const MAX_SPARE_CHUNKS: usize = 4;

/// First-in, first-out queue of bytes.
#[derive(Debug, Default)]
pub(super) struct ByteQueue {
    chunks: VecDeque<Box<[u8]>>,
    /// Offset of the first byte in the first chunk.
    begin: usize,
    /// Offset after the last byte in the last chunk.
    end: usize,
    length: usize,
    spare: Vec<Box<[u8]>>,
}

impl ByteQueue {
    pub(super) fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Returns free space after the last byte, at most `max` bytes. The caller writes to it and
    /// then calls [`ByteQueue::commit`].
    pub(super) fn free_space(&mut self, max: usize) -> &mut [u8] {
        if self.chunks.is_empty() || self.end == CHUNK {
            let fresh = self.spare.pop().unwrap_or_else(|| vec![0; CHUNK].into_boxed_slice());
            self.chunks.push_back(fresh);
            self.end = 0;
        }
        let until = CHUNK.min(self.end.saturating_add(max));
        self.chunks.back_mut().map(|chunk| &mut chunk[self.end..until]).unwrap_or_default()
    }

    /// Appends the bytes that were written to the free space.
    pub(super) fn commit(&mut self, bytes: usize) {
        self.end += bytes;
        self.length += bytes;
    }

    /// Returns the first bytes, at most `max` of them.
    pub(super) fn first(&self, max: usize) -> &[u8] {
        let until = CHUNK.min(self.begin.saturating_add(max.min(self.length)));
        self.chunks.front().map(|chunk| &chunk[self.begin..until]).unwrap_or_default()
    }

    /// Removes the first bytes.
    pub(super) fn consume(&mut self, bytes: usize) {
        self.begin += bytes;
        self.length -= bytes;
        if self.begin == CHUNK {
            self.begin = 0;
            let used = self.chunks.pop_front();
            self.spare.extend(used.filter(|_| self.spare.len() < MAX_SPARE_CHUNKS));
        } else if self.length == 0 {
            // Reuse the chunk from its start, so that small amounts need only one chunk.
            (self.begin, self.end) = (0, 0);
        }
    }

    /// Removes all bytes.
    pub(super) fn clear(&mut self) {
        *self = ByteQueue::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn returns_the_bytes_in_order(
            steps in proptest::collection::vec((any::<bool>(), 1usize..100_000), 1..200),
        ) {
            let (mut queue, mut next_in, mut next_out) = (ByteQueue::default(), 0u8, 0u8);
            for (put, max) in steps {
                if put {
                    let space = queue.free_space(max);
                    let length = space.len();
                    prop_assert!(length > 0 && length <= max);
                    for byte in space {
                        *byte = next_in;
                        next_in = next_in.wrapping_add(1);
                    }
                    queue.commit(length);
                } else {
                    let bytes = queue.first(max).to_vec();
                    prop_assert_eq!(bytes.is_empty(), queue.is_empty());
                    for byte in &bytes {
                        prop_assert_eq!(*byte, next_out);
                        next_out = next_out.wrapping_add(1);
                    }
                    if !bytes.is_empty() {
                        queue.consume(bytes.len());
                    }
                }
                prop_assert!(queue.chunks.len() <= queue.len() / CHUNK + 2);
            }
        }
    }
}

//! The reused buffer of the encoder.

use std::{
    cell::Cell,
    mem,
    ops::{Deref, DerefMut},
};

use bytes::Bytes;

/// Initial capacity, enough for an ordinary event.
const MIN_CAPACITY: usize = 512;

/// A larger buffer is freed, and not reused for the next event.
const MAX_KEPT: usize = 4096;

/// A large buffer with more slack than this is reallocated.
const SLACK: usize = 64;

thread_local! {
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// A thread-local buffer, so that an event costs only the allocation of its final bytes.
#[derive(Clone)]
pub(super) struct Buffer(Vec<u8>);

impl Buffer {
    pub(super) fn with_room(room: usize) -> Self {
        // The spare is empty while it is in use, as by a value that builds events when it is serialised.
        let mut bytes = SPARE.try_with(Cell::take).unwrap_or_default();
        bytes.reserve(room.max(MIN_CAPACITY));
        Self(bytes)
    }

    /// Reserves room for `more` bytes. A large buffer gets no more than that, so that
    /// [`into_bytes`](Self::into_bytes) does not reallocate it.
    pub(super) fn fit(&mut self, more: usize) {
        if self.capacity() > MAX_KEPT {
            self.0.reserve_exact(more);
            self.0.shrink_to(self.0.len() + more);
        }
    }

    /// Returns the bytes without slack, except for up to `SLACK` bytes of a large buffer.
    pub(super) fn into_bytes(mut self) -> Bytes {
        match (self.capacity(), self.capacity() - self.len()) {
            (0..=MAX_KEPT, _) => Bytes::copy_from_slice(&self),
            (_, 0..=SLACK) => mem::take(&mut self.0).into(),
            _ => mem::take(&mut self.0).into_boxed_slice().into(),
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if (MIN_CAPACITY..=MAX_KEPT).contains(&self.capacity()) {
            self.clear();
            let bytes = mem::take(&mut self.0);
            // Fails while the thread ends, in which case the buffer is freed.
            let _ = SPARE.try_with(|spare| spare.set(bytes));
        }
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(len: usize) -> Buffer {
        let mut buffer = Buffer::with_room(len);
        buffer.resize(len, b'x');
        buffer
    }

    #[test]
    fn a_dropped_buffer_is_reused_empty() {
        let first = filled(1000);
        assert_eq!(first.into_bytes(), "x".repeat(1000));
        let second = Buffer::with_room(0);
        assert!(second.capacity() >= 1000);
        assert!(second.is_empty());
    }

    #[test]
    fn two_buffers_at_once_share_nothing() {
        let (first, second) = (filled(1), filled(1));
        assert_ne!(first.as_ptr(), second.as_ptr());
    }

    #[test]
    fn a_large_buffer_becomes_the_bytes_and_is_not_reused() {
        let large = filled(MAX_KEPT + 1);
        let bytes = large.clone().into_bytes();
        assert_eq!(bytes, "x".repeat(MAX_KEPT + 1));
        drop(large);
        assert!(Buffer::with_room(0).capacity() <= MAX_KEPT);
    }
}

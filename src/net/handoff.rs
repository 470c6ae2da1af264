//! The hand-off of a stream from its response body to the socket that writes its opening.
//!
//! The body inserts the stream into a table, keyed by the address of its opening. The opening is an allocation
//! of its own, and the table and both sides hold a clone. While one of these is alive, no other bytes have that
//! address, so a write of that address writes this opening.

use crate::{
    lock::lock,
    stream::{DetachGuard, OpenStream},
};
use bytes::Bytes;
use std::{
    collections::HashMap,
    io::IoSlice,
    sync::{
        LazyLock, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::*},
    },
    task::Waker,
};

static IN_FLIGHT: LazyLock<Mutex<HashMap<usize, Handoff>>> = LazyLock::new(Mutex::default);

/// Number of entries. Writes take the lock only if it is not zero.
static COUNT: AtomicUsize = AtomicUsize::new(0);

/// Whether the process has created a listener whose sockets take streams.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Capacity that the table keeps when it is empty.
const KEPT: usize = 256;

/// A stream whose opening was yielded to the HTTP server and is not written yet.
#[derive(Debug)]
struct Handoff {
    opening: Bytes,
    /// Waker of the poll that yielded the opening.
    waker: Waker,
    stream: Box<OpenStream>,
}

/// Changes the table and updates `COUNT`.
fn with_table<T>(change: impl FnOnce(&mut HashMap<usize, Handoff>) -> T) -> T {
    let mut table = lock(&IN_FLIGHT);
    let result = change(&mut table);
    COUNT.store(table.len(), Release);
    if table.is_empty() {
        table.shrink_to(KEPT);
    }
    result
}

/// Allows streams to detach, since a listener exists.
pub(super) fn enable() {
    ENABLED.store(true, Relaxed);
}

/// Whether streams may detach.
pub(crate) fn is_enabled() -> bool {
    ENABLED.load(Relaxed)
}

/// The first bytes of a stream's body: the key of its entry in the table.
#[derive(Debug)]
pub(crate) struct Opening(Bytes);

impl Opening {
    /// Copies the bytes into an allocation of their own. Returns `None` for an empty slice, which has no
    /// address of its own.
    pub(crate) fn new(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty()).then(|| Self(Bytes::copy_from_slice(bytes)))
    }

    /// Inserts the stream into the table. Returns the bytes that the body must yield in the poll with this
    /// waker.
    pub(crate) fn offer(&self, stream: OpenStream, waker: &Waker) -> Bytes {
        let handoff = Handoff {
            opening: self.0.clone(),
            waker: waker.clone(),
            stream: Box::new(stream),
        };
        with_table(|table| table.insert(self.address(), handoff));
        self.0.clone()
    }

    /// Removes the stream from the table. Returns `None` if the other side took it first.
    pub(crate) fn take(&self) -> Option<OpenStream> {
        let taken = with_table(|table| table.remove(&self.address()));
        taken.map(|handoff| *handoff.stream)
    }

    /// Removes the stream from the table to detach it. Returns `None` if the other side took it first, or if it has to
    /// stay in its body.
    pub(super) fn detach(&self) -> Option<(OpenStream, DetachGuard)> {
        with_table(|table| {
            let guard = table.get(&self.address())?.stream.detach()?;
            let handoff = table.remove(&self.address())?;
            Some((*handoff.stream, guard))
        })
    }

    /// Returns the opening that this write contains, if it is the first and only chunk of a response.
    ///
    /// Both sides must be polled with the same waker, as hyper polls its socket and the response body.
    /// Otherwise the stream stays in its body: another task polls the body, or a clone of the opening is on
    /// another connection.
    pub(super) fn of_write(slices: &[IoSlice<'_>], waker: &Waker) -> Option<Self> {
        let [head, size, opening, end] = slices else {
            return None;
        };
        let is_response = head.ends_with(b"\r\n\r\n") && **end == *b"\r\n";
        if COUNT.load(Acquire) == 0 || !is_response || chunk_size(size) != Some(opening.len()) {
            return None;
        }
        let table = lock(&IN_FLIGHT);
        let handoff = table.get(&(opening.as_ptr() as usize))?;
        let is_whole = handoff.opening.len() == opening.len();
        let is_same_poll = handoff.waker.will_wake(waker);
        (is_whole && is_same_poll).then(|| Self(handoff.opening.clone()))
    }

    fn address(&self) -> usize {
        self.0.as_ptr() as usize
    }
}

/// Parses the line before a chunk's data.
fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    usize::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventStream, channel::Channels, hub::tests::waker, stream::Feed};

    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\n\r\n";

    fn stream() -> (EventStream, OpenStream) {
        let es = EventStream::new();
        let channels = Channels::collect(["a"], 1).unwrap();
        let feed = Feed::subscribe(&es.core().hub, &channels, None).unwrap();
        let stream = OpenStream::new(feed, es.core().streams.clone());
        (es, stream)
    }

    /// Whether a write of these slices contains an opening.
    fn matches(slices: &[&[u8]], waker: &Waker) -> bool {
        let slices: Vec<_> = slices.iter().map(|slice| IoSlice::new(slice)).collect();
        Opening::of_write(&slices, waker).is_some()
    }

    #[test]
    fn a_write_matches_only_the_memory_of_the_opening_as_first_chunk() {
        let (_es, stream) = stream();
        let ((_, waker), (_, other)) = (waker(), waker());
        let opening = Opening::new(b"data: open\n\n").unwrap();
        let bytes = opening.offer(stream, &waker);
        let copy = bytes.to_vec();
        let first: [&[u8]; 4] = [HEAD, b"C\r\n", &bytes, b"\r\n"];
        assert!(matches(&first, &waker));
        assert!(!matches(&first, &other), "another task writes it");
        let others: [&[&[u8]]; 8] = [
            &[HEAD, b"C\r\n", &copy, b"\r\n"],
            &[HEAD, b"B\r\n", &bytes[..11], b"\r\n"],
            &[HEAD, b"B\r\n", &bytes[1..], b"\r\n"],
            &[HEAD, b"D\r\n", &bytes, b"\r\n"],
            &[HEAD, b"C\r\n", &bytes, b"\r\n0\r\n\r\n"],
            &[HEAD, b"C\r\n", &bytes, b"\r\n", b"1\r\n", b"x", b"\r\n"],
            &[b"C\r\n", &bytes, b"\r\n"],
            &[b"1\r\nx\r\n", b"C\r\n", &bytes, b"\r\n"],
        ];
        for slices in others {
            assert!(!matches(slices, &waker), "{slices:?}");
        }
        assert!(opening.take().is_some());
        assert!(!matches(&first, &waker), "nothing is left to take");
        assert!(opening.take().is_none());
    }

    #[test]
    fn an_empty_slice_is_not_an_opening() {
        assert!(Opening::new(b"").is_none());
    }
}

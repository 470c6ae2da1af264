//! A detached stream and its socket.

use super::{
    chunk::{self, Chunks},
    inbox::LazyWaker,
    progress::Progress,
};
use crate::{
    stream::Next,
    stream::{DetachGuard, FRAME, OpenStream},
};
use bytes::{Buf, Bytes};
use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{io::AsyncWrite, net::TcpStream, time::Instant};

/// Number of reads after which other sockets get their turn.
const READS: usize = 16;

/// Patience with a blocked client once the hub is closed.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    stream: OpenStream,
    /// Bytes that the kernel has refused. Boxed, since few clients are blocked at the same time.
    blocked: Option<Box<Unsent>>,
    progress: Progress,
    _detach_guard: DetachGuard,
}

#[derive(Debug)]
struct Unsent {
    bytes: Bytes,
    is_last: bool,
}

/// Copies the rest of a joined chunk, so that it does not keep the whole chunk in memory. A larger chunk is a
/// single event, whose bytes history and other sockets share anyway.
fn shrink(rest: Bytes) -> Bytes {
    match rest.len() <= FRAME {
        true => Bytes::copy_from_slice(&rest),
        false => rest,
    }
}

/// The state of a socket after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Waits for entries.
    Idle,
    /// Waits until the socket is writable.
    Blocked,
    /// Closed or failed: remove it.
    Closed,
    /// May have more bytes to read: schedule it again.
    Again,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, stream: OpenStream, detach_guard: DetachGuard) -> Self {
        Self {
            tcp,
            stream,
            blocked: None,
            progress: Progress::default(),
            _detach_guard: detach_guard,
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Returns when to send without a new entry, unless the client is blocked.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        (!self.is_blocked()).then(|| self.stream.idle_until())
    }

    /// Until when the stream sends no events, because of its pace. `None` for a blocked client.
    pub(super) fn paused_until(&self) -> Option<Instant> {
        self.stream.paused_until().filter(|_| !self.is_blocked())
    }

    /// Sends everything that is ready.
    pub(super) fn send(
        &mut self,
        chunks: &mut Chunks,
        now: Instant,
        waker: LazyWaker<'_>,
    ) -> State {
        let (mut state, mut more) = (State::Idle, true);
        if let Some(unsent) = self.blocked.take() {
            state = self.write(*unsent, now, waker);
        }
        while more && state == State::Idle {
            let (bytes, is_last) = match self.stream.next(None, || now) {
                Next::Frame {
                    bytes, more: then, ..
                } => {
                    more = then;
                    (chunks.get(bytes), false)
                }
                Next::Empty if self.has_snapshot(waker) => continue,
                Next::Empty => break,
                Next::End => (chunk::LAST, true),
            };
            state = self.write(Unsent { bytes, is_last }, now, waker);
        }
        state
    }

    /// Whether a snapshot is complete. Otherwise the socket is woken when it is.
    fn has_snapshot(&mut self, waker: LazyWaker<'_>) -> bool {
        self.stream.needs_snapshot()
            && self.stream.wait_for_snapshot(&waker.create()) == Some(false)
    }

    /// Writes bytes, and stores the rest if the socket is not writable.
    fn write(&mut self, mut unsent: Unsent, now: Instant, waker: LazyWaker<'_>) -> State {
        while !unsent.bytes.is_empty() {
            match self.tcp.try_write(&unsent.bytes) {
                Ok(written) => {
                    self.progress.accepted(now);
                    unsent.bytes.advance(written);
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return State::Closed,
                Err(_) => match self.poll_write_ready(waker) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return State::Closed,
                    Poll::Pending => {
                        self.progress.refused(now);
                        unsent.bytes = shrink(unsent.bytes);
                        self.blocked = Some(Box::new(unsent));
                        return State::Blocked;
                    }
                },
            }
        }
        match unsent.is_last {
            true => self.shut_down(),
            false => State::Idle,
        }
    }

    fn poll_write_ready(&self, waker: LazyWaker<'_>) -> Poll<io::Result<()>> {
        let waker = waker.create();
        self.tcp.poll_write_ready(&mut Context::from_waker(&waker))
    }

    fn shut_down(&mut self) -> State {
        let mut context = Context::from_waker(Waker::noop());
        // For TCP, this does not block. A failure does not matter, since the socket is closed next.
        let _ = Pin::new(&mut self.tcp).poll_shutdown(&mut context);
        State::Closed
    }

    /// Registers for readability, unless the socket is readable already.
    pub(super) fn wait_to_receive(&self, waker: LazyWaker<'_>) {
        let _ = self.poll_read_ready(&waker.create());
    }

    fn poll_read_ready(&self, waker: &Waker) -> Poll<io::Result<()>> {
        self.tcp.poll_read_ready(&mut Context::from_waker(waker))
    }

    /// Discards received bytes, and detects that the client has disconnected.
    pub(super) fn receive(&mut self, waker: LazyWaker<'_>) -> State {
        let (waker, mut buffer) = (waker.create(), [0; 1024]);
        for _ in 0..READS {
            match self.poll_read_ready(&waker) {
                Poll::Pending => return State::Idle,
                Poll::Ready(Err(_)) => return State::Closed,
                Poll::Ready(Ok(())) => {}
            }
            match self.tcp.try_read(&mut buffer) {
                Ok(0) => return State::Closed,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return State::Closed,
                _ => {}
            }
        }
        State::Again
    }

    /// Sends a keep-alive or ends the stream, if either is due.
    pub(super) fn tick(
        &mut self,
        chunks: &mut Chunks,
        now: Instant,
        waker: LazyWaker<'_>,
    ) -> State {
        match self.wakes_at() {
            None => State::Blocked,
            Some(at) if at > now => State::Idle,
            Some(_) => self.send(chunks, now, waker),
        }
    }

    /// Whether bytes have been outstanding for `patience` without progress.
    pub(super) fn is_stalled(&mut self, patience: Duration, now: Instant) -> bool {
        let is_blocked = self.is_blocked();
        let patience = match is_blocked && self.stream.feed().hub().is_closed() {
            true => patience.min(LAST_PATIENCE),
            false => patience,
        };
        self.progress.check(&self.tcp, is_blocked, now);
        self.progress.stalled_for(now) >= patience
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Event, EventStream, channel::Channels, net::inbox::Inbox, stream::Feed};
    use std::sync::Arc;
    use tokio::{net::TcpListener, time::advance};

    async fn socket(es: &EventStream) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let channels = Channels::collect(["a"], 1).unwrap();
        let feed = Feed::subscribe(&es.core().hub, &channels, None).unwrap();
        let stream = OpenStream::new(feed, es.core().streams.clone());
        let detach_guard = stream.detach();
        let socket = Socket::new(accepted.unwrap().0, stream, detach_guard.unwrap());
        (socket, client.unwrap())
    }

    /// A tick or a send without entries does not restart the interval.
    #[tokio::test(start_paused = true)]
    async fn the_time_to_a_keep_alive_begins_with_the_last_event() {
        let es = EventStream::new();
        let (mut socket, _client) = socket(&es).await;
        let (mut chunks, inbox) = (Chunks::default(), Arc::<Inbox>::default());
        let (second, interval) = (Duration::from_secs(1), socket.stream.keep_alive_interval());
        advance(second).await;
        let event = Event::text("message", "1").unwrap();
        es.publish_event("a", event).await.unwrap();
        let published = Instant::now();
        advance(second).await;
        let now = Instant::now();
        assert_eq!(
            socket.send(&mut chunks, now, LazyWaker(&inbox, 0)),
            State::Idle
        );
        advance(second).await;
        assert_eq!(socket.wakes_at(), Some(published + interval));
    }
}

//! A stream with its socket: what a driver does with one client.

use super::{
    chunk::{self, Chunks},
    inbox::Bell,
    progress::Progress,
};
use crate::{
    feed::Next,
    stream::{Departed, FRAME, OpenStream},
};
use bytes::{Buf, Bytes};
use std::{
    io::{self, ErrorKind},
    pin::Pin,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{io::AsyncWrite, net::TcpStream, time::Instant};

/// How often a socket is read before others get their turn.
const READS: usize = 16;

/// How long a client may block the end of the whole stream.
const LAST_PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Socket {
    tcp: TcpStream,
    stream: OpenStream,
    /// What the client has not taken yet. Few clients are so slow, at any one time.
    blocked: Option<Box<Unsent>>,
    progress: Progress,
    _departed: Departed,
}

#[derive(Debug)]
struct Unsent {
    bytes: Bytes,
    is_last: bool,
}

/// The rest of a joined chunk as bytes of its own, so that it does not keep the whole. A larger one is a
/// single event, which many share and history keeps anyway.
fn own(rest: Bytes) -> Bytes {
    match rest.len() <= FRAME {
        true => Bytes::copy_from_slice(&rest),
        false => rest,
    }
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// News.
    Idle,
    /// The client, to read what it has.
    Blocked,
    /// Nothing: to be dropped.
    Gone,
    /// Its turn: there is more to read.
    Again,
}

impl Socket {
    pub(super) fn new(tcp: TcpStream, stream: OpenStream, departed: Departed) -> Self {
        Self {
            tcp,
            stream,
            blocked: None,
            progress: Progress::default(),
            _departed: departed,
        }
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// When there is something to send even without news, if the client takes it.
    pub(super) fn wakes_at(&self) -> Option<Instant> {
        (!self.is_blocked()).then(|| self.stream.wakes_at())
    }

    /// Sends all that is ready.
    pub(super) fn send(&mut self, chunks: &mut Chunks, now: Instant, bell: Bell<'_>) -> State {
        let (mut state, mut more) = (State::Idle, true);
        if let Some(unsent) = self.blocked.take() {
            state = self.write(*unsent, now, bell);
        }
        while more && state == State::Idle {
            let (bytes, is_last) = match self.stream.next(None, || now) {
                Next::Frame {
                    bytes, more: then, ..
                } => {
                    more = then;
                    (chunks.get(bytes), false)
                }
                Next::Empty => break,
                Next::End => (chunk::LAST, true),
            };
            state = self.write(Unsent { bytes, is_last }, now, bell);
        }
        state
    }

    /// Writes bytes, and keeps what the kernel does not take.
    fn write(&mut self, mut unsent: Unsent, now: Instant, bell: Bell<'_>) -> State {
        while !unsent.bytes.is_empty() {
            match self.tcp.try_write(&unsent.bytes) {
                Ok(written) => {
                    self.progress.accepted(now);
                    unsent.bytes.advance(written);
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return State::Gone,
                Err(_) => match self.poll_write_ready(bell) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return State::Gone,
                    Poll::Pending => {
                        self.progress.refused(now);
                        unsent.bytes = own(unsent.bytes);
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

    fn poll_write_ready(&self, bell: Bell<'_>) -> Poll<io::Result<()>> {
        let waker = bell.waker();
        self.tcp.poll_write_ready(&mut Context::from_waker(&waker))
    }

    fn shut_down(&mut self) -> State {
        let mut context = Context::from_waker(Waker::noop());
        // For TCP this neither waits nor matters if it fails: the socket is closed next.
        let _ = Pin::new(&mut self.tcp).poll_shutdown(&mut context);
        State::Gone
    }

    /// Wakes the driver when the client sends something or is gone, unless it is so already.
    pub(super) fn wait_to_receive(&self, bell: Bell<'_>) {
        let _ = self.poll_read_ready(&bell.waker());
    }

    fn poll_read_ready(&self, waker: &Waker) -> Poll<io::Result<()>> {
        self.tcp.poll_read_ready(&mut Context::from_waker(waker))
    }

    /// Drops what the client sends, and notices when it is gone.
    pub(super) fn receive(&mut self, bell: Bell<'_>) -> State {
        let (waker, mut buffer) = (bell.waker(), [0; 1024]);
        for _ in 0..READS {
            match self.poll_read_ready(&waker) {
                Poll::Pending => return State::Idle,
                Poll::Ready(Err(_)) => return State::Gone,
                Poll::Ready(Ok(())) => {}
            }
            match self.tcp.try_read(&mut buffer) {
                Ok(0) => return State::Gone,
                Err(error) if error.kind() != ErrorKind::WouldBlock => return State::Gone,
                _ => {}
            }
        }
        State::Again
    }

    /// Sends a keep-alive, or the end, if it is time.
    pub(super) fn tick(&mut self, chunks: &mut Chunks, now: Instant, bell: Bell<'_>) -> State {
        match self.wakes_at() {
            None => State::Blocked,
            Some(at) if at > now => State::Idle,
            Some(_) => self.send(chunks, now, bell),
        }
    }

    /// Whether bytes are outstanding and the client has taken none for `patience`.
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
    use crate::{Event, EventStream, channel::Channels, feed::Feed, net::inbox::Inbox};
    use std::sync::Arc;
    use tokio::{net::TcpListener, time::advance};

    async fn socket(es: &EventStream) -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, accepted) = tokio::join!(client, listener.accept());
        let channels = Channels::collect(["a"], 1).unwrap();
        let feed = Feed::subscribe(&es.inner().hub, &channels, None).unwrap();
        let stream = OpenStream::new(feed, es.inner().streams.clone());
        let departed = stream.depart();
        let socket = Socket::new(accepted.unwrap().0, stream, departed);
        (socket, client.unwrap())
    }

    /// Not anew whenever a driver looks.
    #[tokio::test(start_paused = true)]
    async fn the_time_to_a_keep_alive_begins_with_the_last_event() {
        let es = EventStream::new();
        let (mut socket, _client) = socket(&es).await;
        let (mut chunks, inbox) = (Chunks::default(), Arc::<Inbox>::default());
        let (second, interval) = (Duration::from_secs(1), socket.stream.interval());
        advance(second).await;
        let event = Event::text("message", "1").unwrap();
        es.publish_event("a", event).await.unwrap();
        let published = Instant::now();
        advance(second).await;
        let now = Instant::now();
        assert_eq!(socket.send(&mut chunks, now, Bell(&inbox, 0)), State::Idle);
        advance(second).await;
        assert_eq!(socket.wakes_at(), Some(published + interval));
    }
}

//! A stream with its socket: what a driver does with one client.

use super::chunk::{self, Chunks};
use crate::{
    feed::Next,
    stream::{FRAME, OpenStream},
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
    waker: Waker,
    /// Few clients are, at any one time.
    blocked: Option<Box<Blocked>>,
    /// The last chunk is sent, or is what the client has not taken yet.
    ended: bool,
}

/// A client that does not take what it is sent.
#[derive(Debug)]
struct Blocked {
    /// What is left of a chunk that the kernel took only a part of.
    rest: Bytes,
    /// Since when the client has taken nothing.
    since: Instant,
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
    pub(super) fn new(tcp: TcpStream, stream: OpenStream, waker: Waker) -> Self {
        Self {
            tcp,
            stream,
            waker,
            blocked: None,
            ended: false,
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
    pub(super) fn send(&mut self, chunks: &mut Chunks, now: Instant) -> State {
        let mut state = match self.blocked.take().map(|blocked| *blocked) {
            Some(Blocked { rest, since }) => self.write(rest, since, now),
            None => State::Idle,
        };
        let mut more = !self.ended;
        while more && state == State::Idle {
            let chunk = match self.stream.next(now) {
                Next::Frame {
                    bytes, more: then, ..
                } => {
                    more = then;
                    chunks.get(bytes)
                }
                Next::Empty => break,
                Next::End => {
                    (self.ended, more) = (true, false);
                    chunk::LAST
                }
            };
            state = self.write(chunk, now, now);
        }
        match state {
            State::Idle if self.ended => self.shut_down(),
            state => state,
        }
    }

    /// Writes `bytes`, and keeps what the kernel does not take. The client has taken nothing since `since`.
    fn write(&mut self, mut bytes: Bytes, mut since: Instant, now: Instant) -> State {
        while !bytes.is_empty() {
            match self.tcp.try_write(&bytes) {
                Ok(written) if written == bytes.len() => break,
                Ok(written) => {
                    since = now;
                    bytes.advance(written);
                }
                Err(error) if error.kind() != ErrorKind::WouldBlock => return State::Gone,
                Err(_) => match self.poll_write_ready() {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return State::Gone,
                    Poll::Pending => {
                        let rest = own(bytes);
                        self.blocked = Some(Box::new(Blocked { rest, since }));
                        return State::Blocked;
                    }
                },
            }
        }
        State::Idle
    }

    fn poll_write_ready(&self) -> Poll<io::Result<()>> {
        let mut context = Context::from_waker(&self.waker);
        self.tcp.poll_write_ready(&mut context)
    }

    fn shut_down(&mut self) -> State {
        let mut context = Context::from_waker(&self.waker);
        // For TCP this neither waits nor matters if it fails: the socket is closed next.
        let _ = Pin::new(&mut self.tcp).poll_shutdown(&mut context);
        State::Gone
    }

    /// Drops what the client sends, and notices when it is gone.
    pub(super) fn receive(&mut self) -> State {
        let mut buffer = [0; 1024];
        for _ in 0..READS {
            match self
                .tcp
                .poll_read_ready(&mut Context::from_waker(&self.waker))
            {
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

    /// Sends what is due by the clock. A client that has taken nothing for `patience` is gone.
    pub(super) fn tick(&mut self, chunks: &mut Chunks, now: Instant, patience: Duration) -> State {
        let Some(Blocked { since, .. }) = self.blocked.as_deref() else {
            return match self.stream.wakes_at() <= now {
                true => self.send(chunks, now),
                false => State::Idle,
            };
        };
        let patience = match self.stream.feed().hub().is_closing() {
            true => patience.min(LAST_PATIENCE),
            false => patience,
        };
        match now.saturating_duration_since(*since) >= patience {
            true => State::Gone,
            false => State::Blocked,
        }
    }
}

//! Where a response body leaves its stream for the socket, and the socket finds it.
//!
//! hyper polls a connection's socket and, for HTTP/1.1, the response's body in the same task, so the
//! task's id is how the body finds the socket.

use super::chunk::chunk;
use crate::stream::OpenStream;
use bytes::Bytes;
use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, LazyLock, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::*},
    },
    task::{Context, Poll, Waker},
};
use tokio::task;

static SOCKETS: LazyLock<Mutex<HashMap<task::Id, Arc<Handoff>>>> = LazyLock::new(Mutex::default);

/// Whether there may be any: without, no stream need look for one.
static ENABLED: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One socket's place in the table, for as long as it is hyper's.
#[derive(Debug)]
pub(super) struct Registered(task::Id);

impl Registered {
    /// Registers the socket that this task polls.
    pub(super) fn new(handoff: &Arc<Handoff>) -> Option<Self> {
        let id = task::try_id()?;
        lock(&SOCKETS).insert(id, handoff.clone());
        Some(Self(id))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        lock(&SOCKETS).remove(&self.0);
    }
}

#[derive(Debug, Default)]
pub(crate) struct Handoff {
    armed: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// The stream waits for hyper to send the opening, of which these are the last bytes on the wire.
    Armed {
        stream: Box<OpenStream>,
        opening: Bytes,
        body: Waker,
    },
    /// Something else was sent: the body goes on.
    Returned(Box<OpenStream>),
}

impl Handoff {
    /// There is a listener: from now on there may be sockets.
    pub(super) fn enable() {
        ENABLED.store(true, Relaxed);
    }

    /// Whether a stream may find a socket.
    pub(crate) fn is_enabled() -> bool {
        ENABLED.load(Relaxed)
    }

    /// That of the socket which the current task serves.
    pub(crate) fn of_this_task() -> Option<Arc<Self>> {
        let id = task::try_id()?;
        lock(&SOCKETS).get(&id).cloned()
    }

    /// Leaves the stream here until its opening is sent. Gives it back if there is one already: then the
    /// response has two streams in it, and none can leave.
    pub(crate) fn arm(
        &self,
        stream: OpenStream,
        opening: &[u8],
        body: &Waker,
    ) -> Option<OpenStream> {
        let state = &mut *lock(&self.state);
        match mem::take(state) {
            State::Idle => {
                *state = State::Armed {
                    stream: Box::new(stream),
                    opening: chunk(opening),
                    body: body.clone(),
                };
                self.armed.store(true, Release);
                return None;
            }
            State::Armed { stream, body, .. } => {
                self.armed.store(false, Release);
                *state = State::Returned(stream);
                body.wake();
            }
            State::Returned(stream) => *state = State::Returned(stream),
        }
        Some(stream)
    }

    /// The body waits for its stream, in case it does not leave.
    pub(crate) fn poll_returned(&self, cx: &mut Context<'_>) -> Poll<OpenStream> {
        let state = &mut *lock(&self.state);
        match mem::take(state) {
            State::Returned(stream) => Poll::Ready(*stream),
            State::Armed {
                stream, opening, ..
            } => {
                let body = cx.waker().clone();
                *state = State::Armed {
                    stream,
                    opening,
                    body,
                };
                Poll::Pending
            }
            State::Idle => Poll::Pending,
        }
    }

    /// The body is dropped, and the stream with it unless it has left.
    pub(crate) fn cancel(&self) {
        self.armed.store(false, Release);
        let stream = mem::take(&mut *lock(&self.state));
        drop(stream);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.armed.load(Acquire)
    }

    /// hyper has sent all it had, which ended with `tail`. The stream, if that is its opening.
    pub(super) fn flushed(&self, tail: &[u8]) -> Option<OpenStream> {
        self.armed.store(false, Release);
        let state = &mut *lock(&self.state);
        match mem::take(state) {
            State::Armed {
                stream, opening, ..
            } if tail.ends_with(&opening) => Some(*stream),
            State::Armed { stream, body, .. } => {
                *state = State::Returned(stream);
                body.wake();
                None
            }
            other => {
                *state = other;
                None
            }
        }
    }
}

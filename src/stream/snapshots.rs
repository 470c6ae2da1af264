//! The snapshots of one stream.
//!
//! A stream that needs the state spawns a task, which waits for one of a few permits and calls the application's
//! function. Meanwhile the stream sends nothing but keep-alives. It then sends the state, and continues with the
//! events after the state's position.

use super::{Feed, Next, SnapshotSource, TakeSnapshot, reconnect_after};
use crate::{
    Channel, Event, LastEventId,
    hub::{Gap, Hub},
    observe::trace,
    sse,
};
use bytes::{Bytes, BytesMut};
use std::{
    future::{Future, poll_fn},
    mem,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, futures::OwnedNotified},
    task::{JoinHandle, coop::unconstrained},
    time::timeout,
};

/// Number of times in a row that the position of a snapshot may be gone when the snapshot is complete.
const LATE: u8 = 3;

/// Most bytes of the newest events of all keys in the response to a proxy.
const LATEST: usize = 1 << 20;

/// Limits of all snapshots of an `EventStream`.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotLimits {
    pub(crate) permits: Arc<Semaphore>,
    pub(crate) timeout: Duration,
}

#[derive(Debug)]
pub(crate) struct Snapshots {
    /// `None` for a stream that only waits for the position of its client.
    source: Option<SnapshotSource>,
    limits: SnapshotLimits,
    state: State,
    /// Whether the running task waits for the client's position, up to which this instance has to read a shared log.
    is_resuming: bool,
    /// Number of snapshots in a row whose position was gone.
    late: u8,
}

#[derive(Debug)]
enum State {
    /// The client has a position.
    Idle,
    /// The client needs a snapshot.
    Due,
    /// The second value is notified when a channel or the hub is closed, or the hub drains.
    Running(Task, Pin<Box<OwnedNotified>>),
    Done(Result<Taken, Failure>),
}

/// A complete snapshot.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) bytes: Bytes,
    /// The sequence number that the state belongs to.
    pub(crate) at: u64,
}

impl Taken {
    /// The newest event of each key, and the position after them. If they are too many, the position is the one of
    /// the last event, and the others follow it.
    pub(crate) fn latest(hub: &Hub, channels: &[Channel]) -> Self {
        let (recall, until) = hub.recall_latest(channels, None, LATEST);
        Self {
            bytes: recall.bytes,
            at: if recall.more { recall.position } else { until },
        }
    }

    /// Puts a `stream-reset` before it.
    pub(crate) fn after_reset(self, channels: &[Channel]) -> Self {
        let reset = sse::stream_reset(channels, None, None);
        Self {
            bytes: [reset, self.bytes].concat().into(),
            at: self.at,
        }
    }
}

/// Why a snapshot is not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the function returned an error: {0}")]
    Failed(String),
    #[error("the function panicked")]
    Panicked,
    #[error("the function took longer than `Limits::snapshot_timeout`, {0:?}")]
    TimedOut(Duration),
    #[error(
        "events after the snapshot's position were evicted from the history before it was complete"
    )]
    Late,
    #[error("a channel was closed, or the stream has expired")]
    Closed,
    #[error("the position of the client is not in the log")]
    Gone,
}

impl Snapshots {
    /// `is_due`: the client has no position that it can resume from.
    pub(crate) fn new(source: SnapshotSource, limits: SnapshotLimits, is_due: bool) -> Self {
        Self {
            source: Some(source),
            limits,
            state: if is_due { State::Due } else { State::Idle },
            is_resuming: false,
            late: 0,
        }
    }

    /// Waits for `position`, the sequence number from which the client resumes. If it is gone, the client needs a
    /// snapshot, or a `stream-reset` without a source.
    pub(crate) fn resuming<F>(
        source: Option<SnapshotSource>,
        limits: SnapshotLimits,
        hub: &Hub,
        position: F,
    ) -> Self
    where
        F: Future<Output = Option<u64>> + Send + 'static,
    {
        Self {
            source,
            limits,
            state: State::Running(Task::resume(position), Box::pin(hub.ending())),
            is_resuming: true,
            late: 0,
        }
    }

    /// As [`Feed::next`], with a snapshot in place of a gap.
    pub(super) fn next(&mut self, feed: &mut Feed, limit: usize, waker: Option<&Waker>) -> Next {
        // A client that disconnects before the snapshot resumes without a position, and gets one then.
        let has_position = matches!(self.state, State::Idle);
        if let Some(opening) = feed.take_opening(has_position) {
            return opening;
        }
        loop {
            if !matches!(self.state, State::Idle) && feed.is_closed() {
                feed.end();
            }
            match mem::replace(&mut self.state, State::Idle) {
                _ if feed.has_ended() => return Next::End,
                State::Idle => match feed.read(limit, waker) {
                    Ok(next) => return next,
                    Err(gap) if feed.end_on_lag(&gap) => return Next::End,
                    Err(gap) => match self.source {
                        None => return feed.reset(&gap),
                        Some(SnapshotSource::Function(_)) => self.state = State::Due,
                        Some(SnapshotSource::Latest) => return Self::reset_to_latest(feed, &gap),
                    },
                },
                // The reset comes first.
                State::Due
                    if feed.reader.has_gap() && (self.is_latest() || feed.hub().is_cold()) => {}
                State::Due => self.begin(feed),
                State::Running(task, ending) if !task.is_finished() => {
                    self.state = State::Running(task, ending);
                    return Next::Empty;
                }
                State::Running(mut task, ending) => {
                    self.state = match task.poll(Waker::noop()) {
                        Poll::Ready(result) => State::Done(result),
                        Poll::Pending => State::Running(task, ending),
                    };
                }
                State::Done(result) if mem::take(&mut self.is_resuming) => {
                    self.resume(result, feed);
                }
                State::Done(result) => {
                    if let Some(next) = self.finish(result, feed) {
                        return next;
                    }
                }
            }
        }
    }

    fn is_latest(&self) -> bool {
        matches!(self.source, Some(SnapshotSource::Latest))
    }

    /// Continues from the client's position. Otherwise the next read of the feed returns a gap.
    fn resume(&mut self, position: Result<Taken, Failure>, feed: &mut Feed) {
        let is_found = position.is_ok_and(|position| feed.reader.seek(position.at));
        if !is_found {
            feed.reader.lose_position();
        }
        self.state = match (&self.source, is_found) {
            (Some(_), false) => State::Due,
            _ => State::Idle,
        };
    }

    /// The removal of a key may be among the lost events, so the client has to forget its state.
    fn reset_to_latest(feed: &mut Feed, gap: &Gap) -> Next {
        feed.reader.seek_latest();
        feed.hub().observer().snapshot("sent");
        feed.reset(gap)
    }

    fn begin(&mut self, feed: &mut Feed) {
        let hub = feed.hub().clone();
        match &self.source {
            Some(SnapshotSource::Function(take)) => {
                let ending = Box::pin(hub.ending());
                let task = Task::start(take.clone(), self.limits.clone(), hub);
                self.state = State::Running(task, ending);
            }
            Some(SnapshotSource::Latest) => {
                feed.reader.seek_latest();
                hub.observer().snapshot("sent");
            }
            None => {}
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        !matches!(self.state, State::Idle)
    }

    /// Registers `waker` for the end of a running snapshot, or of the feed. Returns `Some(false)` if there is one
    /// already, and `None` if no snapshot is pending.
    pub(super) fn wait(&mut self, feed: &Feed, waker: &Waker) -> Option<bool> {
        let (task, ending) = match &mut self.state {
            State::Idle => return None,
            State::Due | State::Done(_) => return Some(false),
            State::Running(task, ending) => (task, ending),
        };
        if let Poll::Ready(result) = task.poll(waker) {
            self.state = State::Done(result);
            return Some(false);
        }
        let mut context = Context::from_waker(waker);
        if ending.as_mut().poll(&mut context).is_ready() {
            ending.set(feed.hub().ending());
            return Some(false);
        }
        // A close that came before `ending` was created.
        Some(!feed.is_closed())
    }

    /// Sends the snapshot, or ends the stream. Returns `None` if there is nothing to send.
    fn finish(&mut self, result: Result<Taken, Failure>, feed: &mut Feed) -> Option<Next> {
        let taken = match result {
            Ok(taken) if feed.seek(taken.at) => taken,
            Ok(_) if self.late < LATE => {
                self.late += 1;
                self.state = State::Due;
                return None;
            }
            Ok(_) => return Some(end(&Failure::Late, feed)),
            Err(failure) => return Some(end(&failure, feed)),
        };
        self.late = 0;
        feed.hub().observer().snapshot("sent");
        (!taken.bytes.is_empty()).then(|| Next::frame(taken.bytes))
    }
}

/// Ends the stream, so that its client reconnects.
fn end(failure: &Failure, feed: &mut Feed) -> Next {
    failure.record(feed.hub());
    feed.end();
    Next::frame(sse::retry(reconnect_after()))
}

impl Failure {
    pub(crate) fn record(&self, hub: &Hub) {
        hub.observer().snapshot(match self {
            Self::Failed(_) => "failed",
            Self::Panicked => "panicked",
            Self::TimedOut(_) => "timed_out",
            Self::Late => "late",
            Self::Closed | Self::Gone => return,
        });
        trace::event!(error, error = %self, "a stream ends, since its snapshot failed");
    }
}

/// Takes a snapshot once there is a permit.
async fn take_one(
    take: &TakeSnapshot,
    limits: &SnapshotLimits,
    hub: &Hub,
) -> Result<Taken, Failure> {
    // Held until the function has returned. The semaphore is never closed.
    let _permit = limits.permits.acquire().await;
    let (epoch, called_at) = hub.position();
    let taken = timeout(limits.timeout, take.call()).await;
    let taken = taken.map_err(|_| Failure::TimedOut(limits.timeout))?;
    let (events, at) = taken.map_err(Failure::Failed)?.into_parts(hub);
    let id = at.unwrap_or(LastEventId::new(epoch, called_at));
    Ok(Taken {
        bytes: encode(events, Some(id).filter(|_| hub.has_positions())),
        at: id.sequence(),
    })
}

/// Only the last event has an id: a client that disconnects before it has to get the whole snapshot again.
fn encode(mut events: Vec<Event>, id: Option<LastEventId>) -> Bytes {
    let Some(last) = events.pop() else {
        return id.map(sse::position).unwrap_or_default();
    };
    if events.is_empty() {
        return last.seal(id);
    }
    let mut bytes = BytesMut::new();
    for event in events {
        bytes.extend_from_slice(&event.seal(None));
    }
    bytes.extend_from_slice(&last.seal(id));
    bytes.freeze()
}

/// A running snapshot, which is cancelled when it is dropped.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<Result<Taken, Failure>>);

impl Task {
    pub(crate) fn start(take: TakeSnapshot, limits: SnapshotLimits, hub: Arc<Hub>) -> Self {
        Self(tokio::spawn(
            async move { take_one(&take, &limits, &hub).await },
        ))
    }

    /// Waits for the position of a client. It belongs to no state.
    fn resume<F>(position: F) -> Self
    where
        F: Future<Output = Option<u64>> + Send + 'static,
    {
        Self(tokio::spawn(async move {
            let at = position.await.ok_or(Failure::Gone)?;
            let bytes = Bytes::new();
            Ok(Taken { bytes, at })
        }))
    }

    pub(crate) async fn taken(mut self) -> Result<Taken, Failure> {
        poll_fn(|cx| self.poll(cx.waker())).await
    }

    fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    pub(crate) fn poll(&mut self, waker: &Waker) -> Poll<Result<Taken, Failure>> {
        // `Pending` must mean that the task runs, not that the coop budget is exhausted.
        let polled = pin!(unconstrained(&mut self.0)).poll(&mut Context::from_waker(waker));
        polled.map(|joined| joined.unwrap_or(Err(Failure::Panicked)))
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

//! The queue of one proxy.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::error::{Failure, FailureKind};
use crate::{grip::Item, lock::lock, observe::ProxyObserver};

/// Limit of a request's size: Pushpin refuses larger ones.
pub(super) const MAX_BODY: usize = 1_000_000;

/// Number of expired items that a publish removes, bounded since it holds the sequencer.
const EXPIRED_PER_PUBLISH: usize = 16;

pub(super) type Outcome = Result<(), Failure>;

/// Limits of time and size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) items: usize,
    pub(super) bytes: usize,
}

impl Limits {
    pub(super) fn timed_out(&self) -> Failure {
        let message = format!("timed out after {:?}", self.timeout);
        Failure::new(FailureKind::Timeout, message)
    }
}

pub(super) struct Queue {
    limits: Limits,
    observer: Arc<ProxyObserver>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    draining: bool,
}

pub(super) struct Waiting {
    pub(super) item: Arc<Item>,
    pub(super) reply: Reply,
}

/// The sending side of an item's outcome. It sends exactly one, even if it is dropped with its runtime.
pub(super) struct Reply {
    pub(super) deadline: Instant,
    pub(super) retry_until: Instant,
    since: Instant,
    sender: Option<oneshot::Sender<Outcome>>,
    observer: Arc<ProxyObserver>,
}

/// The publisher's side of a queued item.
pub(super) struct Queued {
    pub(super) receiver: oneshot::Receiver<Outcome>,
    pub(super) deadline: Instant,
    /// Whether the caller must start a drain, since none is running.
    pub(super) is_first: bool,
}

impl Queue {
    /// `name` is the proxy's in metrics.
    pub(super) fn new(limits: Limits, name: &Arc<str>) -> Self {
        Self {
            limits,
            observer: Arc::new(ProxyObserver::new(name.clone())),
            state: Mutex::default(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    pub(super) fn observer(&self) -> &ProxyObserver {
        &self.observer
    }

    /// Appends an item, if there is room. The caller first removes expired items with
    /// [`take_expired`](Self::take_expired).
    pub(super) fn push(&self, item: Arc<Item>) -> Result<Queued, Failure> {
        let (size, now) = (item.size(), Instant::now());
        if size >= MAX_BODY {
            return Err(too_large(size));
        }
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        let Limits { items, bytes, .. } = self.limits;
        if state.waiting.len() >= items {
            return Err(full(&format!("{items} items wait already")));
        }
        if state.bytes + size > bytes {
            let waiting = state.bytes;
            return Err(full(&format!("{bytes} bytes may wait, and {waiting} do")));
        }
        let reply = Reply::new(sender, now, &self.limits, &self.observer);
        let deadline = reply.deadline;
        state.bytes += size;
        state.waiting.push_back(Waiting { item, reply });
        let is_first = !std::mem::replace(&mut state.draining, true);
        Ok(Queued {
            receiver,
            deadline,
            is_first,
        })
    }

    /// Removes some of the expired items, so that they do not use up the limits. Dropping the result wakes
    /// their publishers. The drain removes the others.
    pub(super) fn take_expired(&self, now: Instant) -> Expired {
        let mut expired = Vec::new();
        let mut state = self.lock();
        let is_over = |first: &Waiting| first.reply.deadline <= now;
        while expired.len() < EXPIRED_PER_PUBLISH && state.waiting.front().is_some_and(is_over) {
            expired.extend(state.pop());
        }
        Expired(expired, self.limits)
    }

    pub(super) fn pop(&self) -> Option<Waiting> {
        self.lock().pop()
    }

    /// Marks the drain as ended, unless the queue has more items.
    pub(super) fn finish(&self) -> bool {
        let mut state = self.lock();
        state.draining = !state.waiting.is_empty();
        !state.draining
    }

    /// Marks the drain as ended; all waiting items fail.
    pub(super) fn abandon(&self) {
        let abandoned = std::mem::take(&mut *self.lock());
        drop(abandoned);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.bytes -= waiting.item.size();
        Some(waiting)
    }
}

/// Expired items. Dropping them sends their failure.
pub(super) struct Expired(Vec<Waiting>, Limits);

impl Expired {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Expired {
    fn drop(&mut self) {
        for waiting in self.0.drain(..) {
            waiting.reply.send(Err(self.1.timed_out()));
        }
    }
}

impl Reply {
    fn new(
        sender: oneshot::Sender<Outcome>,
        now: Instant,
        limits: &Limits,
        observer: &Arc<ProxyObserver>,
    ) -> Self {
        observer.queued();
        Self {
            deadline: now + limits.timeout,
            // Leaves time for the items behind: they fail with the proxy's failure, and not with a timeout.
            retry_until: now + limits.timeout / 3,
            since: now,
            sender: Some(sender),
            observer: Arc::clone(observer),
        }
    }

    pub(super) fn send(mut self, outcome: Outcome) {
        self.settle(outcome);
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(sender) = self.sender.take() {
            match &outcome {
                Ok(()) => self.observer.published(self.since.elapsed()),
                Err(failure) => self.observer.failed(failure.kind.name()),
            }
            // The receiver is gone if the publish was dropped. The item is sent nevertheless.
            let _ = sender.send(outcome);
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.settle(Err(Failure::new(
            FailureKind::Runtime,
            "the tokio runtime that was sending shut down",
        )));
    }
}

pub(super) fn too_large(size: usize) -> Failure {
    let message = format!("an item of {size} bytes does not fit into a request below {MAX_BODY}");
    Failure::new(FailureKind::TooLarge, message)
}

fn full(limit: &str) -> Failure {
    let message = format!("the queue is full: {limit}");
    Failure::new(FailureKind::QueueFull, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(items: usize, bytes: usize) -> Queue {
        let timeout = Duration::from_secs(9);
        let limits = Limits {
            timeout,
            items,
            bytes,
        };
        Queue::new(limits, &"proxy".into())
    }

    fn item(content: &'static str) -> Arc<Item> {
        Arc::new(Item::stream("c", content))
    }

    fn counts(queue: &Queue) -> [u64; 3] {
        let counts = queue.observer().counts();
        [counts.sent, counts.failed, counts.queued]
    }

    #[test]
    fn the_first_item_starts_a_drain_and_the_last_one_ends_it() {
        let queue = queue(9, 99);
        assert!(queue.push(item("1")).unwrap().is_first);
        assert!(!queue.push(item("2")).unwrap().is_first);
        assert!(!queue.finish());
        queue.pop().unwrap().reply.send(Ok(()));
        assert!(!queue.finish());
        queue.pop().unwrap().reply.send(Ok(()));
        assert!(queue.pop().is_none());
        assert!(queue.finish());
        assert!(queue.push(item("3")).unwrap().is_first);
        assert_eq!(counts(&queue), [2, 0, 1]);
    }

    #[test]
    fn a_full_queue_names_its_limit() {
        let failure = |queue: &Queue, content| queue.push(item(content)).err().unwrap();
        let items = queue(1, 99);
        let _first = items.push(item("1")).unwrap();
        let refused = failure(&items, "2");
        assert_eq!(refused.kind, FailureKind::QueueFull);
        assert_eq!(&*refused.message, "the queue is full: 1 items wait already");
        assert_eq!(counts(&items), [0, 0, 1]);
        drop(items.pop());
        assert!(items.push(item("3")).is_ok());

        let bytes = queue(9, 9);
        let _first = bytes.push(item("12345")).unwrap();
        assert_eq!(
            &*failure(&bytes, "123").message,
            "the queue is full: 9 bytes may wait, and 6 do"
        );
        assert!(bytes.push(item("12")).is_ok());
        drop(bytes.pop());
        assert!(bytes.push(item("123")).is_ok());
    }

    #[test]
    fn an_item_larger_than_a_request_is_refused_at_once() {
        let queue = queue(9, usize::MAX);
        let item = Arc::new(Item::stream("c", vec![b'x'; MAX_BODY - 1]));
        let refused = queue.push(item).err().unwrap();
        assert_eq!(refused.kind, FailureKind::TooLarge);
        assert_eq!(
            &*refused.message,
            "an item of 1000000 bytes does not fit into a request below 1000000"
        );
    }

    #[test]
    fn abandoned_items_fail_and_the_queue_can_be_used_again() {
        let queue = queue(2, 99);
        let mut first = queue.push(item("1")).unwrap();
        queue.abandon();
        let failure = first.receiver.try_recv().unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Runtime);
        assert!(queue.push(item("2")).unwrap().is_first);
        assert!(queue.push(item("3")).is_ok());
        assert_eq!(counts(&queue), [0, 1, 2]);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_items_make_room() {
        let queue = queue(1, 99);
        let mut first = queue.push(item("1")).unwrap();
        tokio::time::advance(Duration::from_secs(8)).await;
        assert!(queue.push(item("2")).is_err());
        tokio::time::advance(Duration::from_secs(1)).await;
        let expired = queue.take_expired(Instant::now());
        assert!(queue.push(item("3")).is_ok());
        assert!(first.receiver.try_recv().is_err(), "it is woken later");
        drop(expired);
        let failure = first.receiver.try_recv().unwrap().unwrap_err();
        assert_eq!(failure.kind, FailureKind::Timeout);
        assert_eq!(&*failure.message, "timed out after 9s");
    }
}

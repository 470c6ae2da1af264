//! What the driver shares with the handle of an `EventStream`.

use super::{Attached, Failure, Head, Known, Origin, Seen, outbox::Outbox};
use crate::{BackplaneHealth, lock::lock, observe::BackplaneObserver};
use bytes::Bytes;
use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime},
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};

/// How long a request waits for the log to be read as far as the engine has it.
pub(super) const CATCH_UP: Duration = Duration::from_secs(2);

pub(crate) struct Shared {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) outbox: Outbox,
    /// The end of the log as the hub has it.
    seen: Mutex<Option<Seen>>,
    progress: watch::Sender<Progress>,
    status: Mutex<Status>,
    warm: watch::Sender<bool>,
    /// Number of requests for the end of the log so far.
    requests: AtomicU64,
    asked: Notify,
    /// The last answer, and the number of requests before it.
    answer: watch::Sender<Option<(u64, Head)>>,
    pub(super) closing: Notify,
}

/// How far the hub has the log.
#[derive(Clone, Copy, Default)]
pub(super) struct Progress {
    epoch: u64,
    last: u64,
}

struct Status {
    is_attached: bool,
    /// When that changed.
    since: Instant,
    /// The end of the log when the engine was asked last.
    head: Option<Head>,
    /// The mark of that end.
    mark: Bytes,
    /// The engine's clock then, and ours.
    clock: (SystemTime, Instant),
    failure: Option<String>,
}

impl Shared {
    pub(super) fn new(name: String, origin: Origin) -> Self {
        let since = Instant::now();
        Self {
            outbox: Outbox::default(),
            name,
            origin,
            seen: Mutex::default(),
            progress: watch::Sender::default(),
            status: Mutex::new(Status {
                is_attached: false,
                since,
                head: None,
                mark: Bytes::new(),
                clock: (SystemTime::now(), since),
                failure: None,
            }),
            warm: watch::Sender::default(),
            requests: AtomicU64::new(0),
            asked: Notify::new(),
            answer: watch::Sender::default(),
            closing: Notify::new(),
        }
    }

    /// What this instance knows of the log. `fresh_epoch` is a random number.
    pub(super) fn known(&self, fresh_epoch: u64) -> Known {
        let number = self.outbox.last_acknowledged();
        let mut known = Known::nothing(self.origin, fresh_epoch).acknowledged(number);
        known.seen = self.seen();
        let appended = |seen: &Seen| self.outbox.acknowledged_at(seen.epoch, number);
        known.acknowledged_at = known.seen.as_ref().and_then(appended);
        known
    }

    pub(super) fn observer(&self) -> &BackplaneObserver {
        &self.outbox.observer
    }

    pub(super) fn seen(&self) -> Option<Seen> {
        lock(&self.seen).clone()
    }

    /// The hub has the log up to here.
    pub(super) fn see(&self, seen: Seen) {
        let Seen { epoch, last, .. } = seen;
        *lock(&self.seen) = Some(seen);
        self.progress.send_replace(Progress { epoch, last });
    }

    pub(super) fn warm_up(&self) {
        self.warm.send_replace(true);
    }

    /// Whether the hub has reached the end of the log once.
    pub(super) fn is_warm(&self) -> bool {
        *self.warm.borrow()
    }

    pub(super) fn attached(&self, attached: &Attached) {
        self.outbox.limit(attached.max_draft);
        self.outbox.connection(None);
        let mut status = lock(&self.status);
        status.set(true);
        status.failure = None;
        status.mark = attached.mark.clone();
        status.clock = (attached.time, Instant::now());
        status.head = Some(Head {
            epoch: attached.epoch,
            last: attached.last,
        });
    }

    /// The end of the log when the engine was asked last.
    pub(super) fn head(&self) -> Option<Head> {
        lock(&self.status).head
    }

    /// The mark of the last attach.
    pub(super) fn mark(&self) -> Bytes {
        lock(&self.status).mark.clone()
    }

    /// The engine's clock at the last attach, and ours.
    pub(super) fn clock(&self) -> (SystemTime, Instant) {
        lock(&self.status).clock
    }

    /// Returns whether this is news: the instance was attached, or failed for another reason.
    pub(super) fn detached(&self, failure: &Failure) -> bool {
        let failure = failure.to_string();
        self.outbox.connection(Some(failure.clone()));
        let mut status = lock(&self.status);
        let is_new = status.is_attached || status.failure.as_ref() != Some(&failure);
        status.set(false);
        status.failure = Some(failure);
        is_new
    }

    pub(super) fn health(&self) -> BackplaneHealth {
        let progress = *self.progress.borrow();
        let status = lock(&self.status);
        let behind = |head: Head| match head.epoch == progress.epoch {
            true => head.last.saturating_sub(progress.last),
            false => 0,
        };
        BackplaneHealth {
            engine: self.name.clone(),
            attached: status.is_attached && self.is_warm(),
            since: status.since.elapsed(),
            behind: status.head.map_or(0, behind),
            failure: status.failure.clone(),
        }
    }

    /// Waits until the hub has reached the end of the log for the first time.
    pub(super) async fn warm(&self) {
        // The sender is a field of `self`.
        let _ = self.warm.subscribe().wait_for(|is_warm| *is_warm).await;
    }

    /// Waits until the hub has all that is in the log now, at most for [`CATCH_UP`]. Returns whether it has.
    pub(super) async fn catch_up(&self) -> bool {
        let caught_up = async {
            self.warm().await;
            let Some(head) = self.ask().await else {
                return false;
            };
            let has =
                |progress: &Progress| progress.epoch == head.epoch && progress.last >= head.last;
            self.progress.subscribe().wait_for(has).await.is_ok()
        };
        timeout(CATCH_UP, caught_up).await.unwrap_or(false)
    }

    /// Returns the end of the log as it is now. Requests that come together are one at the engine.
    async fn ask(&self) -> Option<Head> {
        let mut answer = self.answer.subscribe();
        let request = self.requests.fetch_add(1, SeqCst) + 1;
        self.asked.notify_one();
        let is_answered =
            |answer: &Option<(u64, Head)>| answer.is_some_and(|(to, _)| to >= request);
        let answered = answer.wait_for(is_answered).await;
        answered.ok()?.map(|(_, head)| head)
    }

    /// Waits for requests that were not answered. Returns the number of all requests so far.
    pub(super) async fn requested(&self) -> u64 {
        loop {
            let requests = self.requests.load(SeqCst);
            let answered = self.answer.borrow().map_or(0, |(to, _)| to);
            if requests > answered {
                return requests;
            }
            self.asked.notified().await;
        }
    }

    /// The end of the log, as it was after this number of requests.
    pub(super) fn respond(&self, requests: u64, head: Head) {
        self.answer.send_replace(Some((requests, head)));
    }
}

impl Status {
    fn set(&mut self, is_attached: bool) {
        if self.is_attached != is_attached {
            (self.is_attached, self.since) = (is_attached, Instant::now());
        }
    }
}

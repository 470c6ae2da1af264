//! What the driver shares with the handle of an `EventStream`.

use super::{Attached, Failure, Head, Known, Origin, Seen, outbox::Outbox};
use crate::{BackplaneHealth, observe::BackplaneObserver};
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot, watch},
    time::{Instant, timeout},
};

/// How long a request waits for the log to be read as far as the engine has it.
pub(super) const CATCH_UP: Duration = Duration::from_secs(2);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(super) name: String,
    pub(super) origin: Origin,
    pub(super) outbox: Outbox,
    /// The end of the log as the hub has it.
    seen: Mutex<Option<Seen>>,
    progress: watch::Sender<Progress>,
    status: Mutex<Status>,
    heads: Mutex<Vec<oneshot::Sender<Head>>>,
    pub(super) asked: Notify,
    pub(super) closing: Notify,
}

/// How far the hub has the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) epoch: u64,
    pub(super) last: u64,
    /// Whether the hub has reached the end of the log once.
    pub(super) is_warm: bool,
}

#[derive(Debug)]
struct Status {
    is_attached: bool,
    /// When that changed.
    since: Instant,
    /// The end of the log when the engine was asked last.
    head: Option<Head>,
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
                failure: None,
            }),
            heads: Mutex::default(),
            asked: Notify::new(),
            closing: Notify::new(),
        }
    }

    /// What this instance knows of the log. `fresh_epoch` is a random number.
    pub(super) fn known(&self, fresh_epoch: u64) -> Known {
        let known = Known::nothing(self.origin, fresh_epoch);
        let known = known.acknowledged(self.outbox.last_acknowledged());
        match self.seen() {
            Some(seen) => known.seen(seen),
            None => known,
        }
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
        self.progress.send_modify(|progress| {
            (progress.epoch, progress.last) = (epoch, last);
        });
    }

    pub(super) fn warm_up(&self) {
        self.progress
            .send_modify(|progress| progress.is_warm = true);
    }

    pub(super) fn is_warm(&self) -> bool {
        self.progress.borrow().is_warm
    }

    pub(super) fn attached(&self, attached: &Attached) {
        let mut status = lock(&self.status);
        status.set(true);
        status.failure = None;
        status.head = Some(Head {
            epoch: attached.epoch,
            last: attached.last,
        });
    }

    /// The end of the log when the engine was asked last.
    pub(super) fn head(&self) -> Option<Head> {
        lock(&self.status).head
    }

    /// Returns whether this is news: the instance was attached, or failed for another reason.
    pub(super) fn detached(&self, failure: &Failure) -> bool {
        let failure = failure.to_string();
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
            attached: status.is_attached && progress.is_warm,
            since: status.since.elapsed(),
            behind: status.head.map_or(0, behind),
            failure: status.failure.clone(),
        }
    }

    /// Waits until the hub has reached the end of the log for the first time.
    pub(super) async fn warm(&self) {
        let mut progress = self.progress.subscribe();
        // The sender is a field of `self`.
        let _ = progress.wait_for(|progress| progress.is_warm).await;
    }

    /// Waits until the hub has all that is in the log now, at most for [`CATCH_UP`]. Returns whether it has.
    pub(super) async fn catch_up(&self) -> bool {
        let caught_up = async {
            self.warm().await;
            let head = self.ask().await;
            let has =
                |progress: &Progress| progress.epoch == head.epoch && progress.last >= head.last;
            self.progress.subscribe().wait_for(has).await.is_ok()
        };
        timeout(CATCH_UP, caught_up).await.unwrap_or(false)
    }

    /// Returns the end of the log as it is now. Requests that come together are one at the engine.
    async fn ask(&self) -> Head {
        loop {
            // A session that ends while it asks drops the request.
            if let Ok(head) = self.request().await {
                return head;
            }
        }
    }

    fn request(&self) -> oneshot::Receiver<Head> {
        let (sender, receiver) = oneshot::channel();
        let mut heads = lock(&self.heads);
        heads.retain(|head| !head.is_closed());
        heads.push(sender);
        drop(heads);
        self.asked.notify_one();
        receiver
    }

    /// Whether somebody asks for the end of the log.
    pub(super) fn is_asked(&self) -> bool {
        !lock(&self.heads).is_empty()
    }

    /// Takes the requests for the end of the log, before the engine is asked.
    pub(super) fn take_requests(&self) -> Vec<oneshot::Sender<Head>> {
        std::mem::take(&mut *lock(&self.heads))
    }
}

impl Status {
    fn set(&mut self, is_attached: bool) {
        if self.is_attached != is_attached {
            (self.is_attached, self.since) = (is_attached, Instant::now());
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A change is complete before anything can panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The backplane of one `EventStream`.

use super::{
    Backplane, Draft, Failure, Origin,
    driver::Driver,
    outbox::{self, Receipt, Unpublished},
    shared::Shared,
};
use crate::{BackplaneHealth, Channel, Error, Stats, local::Local, lock::lock, sse::Stored};
use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::{runtime::Handle, task::JoinHandle, time::timeout};

/// How long a request waits for the first connection to the engine.
const WARM_UP: Duration = Duration::from_secs(3);

/// An engine of any type.
pub(crate) trait Engine: Send + Sync {
    fn name(&self) -> String;

    fn check(&self) -> Result<(), Failure>;

    fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        local: Weak<Local>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

impl<B: Backplane> Engine for B {
    fn name(&self) -> String {
        Backplane::name(self)
    }

    fn check(&self) -> Result<(), Failure> {
        Backplane::check(self)
    }

    fn run(
        self: Arc<Self>,
        shared: Arc<Shared>,
        local: Weak<Local>,
    ) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(Driver::new(self, shared, local).run())
    }
}

/// Starts the driver, and talks to it.
pub(crate) struct BackplaneHandle {
    engine: Arc<dyn Engine>,
    shared: Arc<Shared>,
    local: Weak<Local>,
    driver: Mutex<Option<JoinHandle<()>>>,
}

impl BackplaneHandle {
    pub(crate) fn new(engine: Arc<dyn Engine>, local: Weak<Local>) -> Result<Self, Error> {
        let origin = getrandom::u64().map_err(|error| {
            let text = "the operating system provides no random number for the backplane";
            Error::config(text).caused_by(error)
        })?;
        let handle = Self {
            shared: Arc::new(Shared::new(engine.name(), Origin::new(origin))),
            engine,
            local,
            driver: Mutex::default(),
        };
        handle.start();
        Ok(handle)
    }

    /// Starts the driver on the current runtime, unless it runs. Returns false without a runtime.
    pub(crate) fn start(&self) -> bool {
        let mut driver = lock(&self.driver);
        if driver.as_ref().is_some_and(|driver| !driver.is_finished()) {
            return true;
        }
        let Ok(runtime) = Handle::try_current() else {
            return false;
        };
        let running = self
            .engine
            .clone()
            .run(self.shared.clone(), self.local.clone());
        *driver = Some(runtime.spawn(running));
        true
    }

    /// Queues entries for a channel, which become neighbours in the log.
    pub(crate) fn queue(
        &self,
        channel: &Channel,
        entries: impl IntoIterator<Item = Stored>,
    ) -> Result<Vec<Receipt>, Unpublished> {
        if !self.start() {
            return Err(Unpublished::new(false, "there is no tokio runtime"));
        }
        let draft = |stored: Stored| Draft::new(channel.as_str(), stored.encode());
        let receipts = self
            .shared
            .outbox
            .push(entries.into_iter().map(draft).collect());
        self.shared.outbox.measure();
        receipts
    }

    /// Closes a channel in every instance.
    pub(crate) async fn close_channel(&self, channel: &Channel) -> Result<(), Error> {
        for receipt in self.queue(channel, [Stored::Close])? {
            outbox::finish(receipt).await?;
        }
        Ok(())
    }

    /// Waits until the hub has reached the end of the log for the first time, at most 3 seconds.
    pub(crate) async fn warm(&self) {
        if self.start() {
            let _ = timeout(WARM_UP, self.shared.warm()).await;
        }
    }

    /// Waits until the hub has all that is in the log now, at most 2 seconds. Returns whether it has.
    pub(crate) async fn catch_up(&self) -> bool {
        self.start() && self.shared.catch_up().await
    }

    /// Waits until everything that was queued has its outcome.
    pub(crate) async fn idle(&self) {
        self.shared.outbox.idle().await;
    }

    pub(crate) fn health(&self) -> BackplaneHealth {
        self.start();
        self.shared.health()
    }

    /// Adds the counters of the backplane.
    pub(crate) fn count(&self, stats: &mut Stats) {
        self.shared.observer().count(stats);
    }
}

impl Drop for BackplaneHandle {
    fn drop(&mut self) {
        // The driver ends when it has appended what waits.
        self.shared.closing.notify_one();
    }
}

impl fmt::Debug for BackplaneHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Backplane").field(&self.shared.name).finish()
    }
}

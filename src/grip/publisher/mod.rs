//! Publishing to GRIP proxies. Each proxy has an ordered queue and a task that sends it.

mod client;
mod drain;
mod endpoint;
mod error;
mod queue;

use std::fmt;
use std::sync::{Arc, atomic::Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use self::drain::Drain;
use self::endpoint::Endpoint;
use self::error::Failure;
pub use self::error::{EndpointFailure, FailureKind, PublishError};
use self::queue::{Expired, Limits, Outcome, Queued};
use crate::Error;
use crate::grip::{GripConfig, InvalidSignature, Item};

/// Publishes to all configured proxies, and verifies their requests.
///
/// 1. Items reach each proxy in the order in which they were published. Items that wait at the same time go out
///    as one request, so throughput does not depend on the round trip.
/// 2. Proxies do not wait for each other: one that hangs delays only its own items.
/// 3. An item has one [time limit](PublisherBuilder::timeout), which includes the time in the queue.
/// 4. A request is sent again only where no item can be delivered twice. That is the case if no connection
///    could be made, and, if every item has an id, after a broken connection, 502, 503 or 504. Retries take at
///    most a third of the time limit.
/// 5. When a proxy refuses a request with 400 or 413, halves of it are sent, so that only the invalid item
///    fails.
/// 6. Redirects are failures, and the environment's HTTP proxies are not used.
///
/// Clones share the queues. A publisher may live in a `static` and be used from several runtimes, one after the
/// other. Items in flight when a runtime shuts down fail.
///
/// # Examples
///
/// ```no_run
/// use axum_eventstream::grip::{GripConfig, Item, Publisher};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let publisher = Publisher::new([GripConfig::new("http://localhost:5561")])?;
/// publisher.publish(Item::stream("events-test", "data: hello\n\n")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Publisher {
    endpoints: Arc<[Arc<Endpoint>]>,
}

impl Publisher {
    /// A publisher with the default limits.
    ///
    /// # Errors
    ///
    /// A configuration is invalid. The error names the endpoint and the setting.
    pub fn new(configs: impl IntoIterator<Item = GripConfig>) -> Result<Self, Error> {
        Self::builder().endpoints(configs).build()
    }

    /// Joins publishers into one for the endpoints of all.
    pub(crate) fn joined(publishers: &[Self]) -> Self {
        let endpoints = publishers.iter().flat_map(|one| one.endpoints.iter());
        Self {
            endpoints: endpoints.cloned().collect(),
        }
    }

    /// Returns a builder, to set other limits.
    #[must_use]
    pub fn builder() -> PublisherBuilder {
        PublisherBuilder::default()
    }

    /// Publishes to all proxies. Returns when each of them has taken the item or failed.
    ///
    /// A proxy answers before it writes to its clients, so taken does not mean delivered.
    ///
    /// # Errors
    ///
    /// At least one proxy did not take the item.
    ///
    /// # Cancel safety
    ///
    /// The item is queued when the future is first polled. Dropping the future after that does not cancel
    /// sending; its outcome is then not reported.
    pub async fn publish(&self, item: Item) -> Result<(), PublishError> {
        self.enqueue(item).wait().await
    }

    /// Queues an item for all proxies, without waiting or I/O. The order of calls is the order of delivery.
    /// [`Ticket::start`] starts sending; a caller that holds a lock calls it after unlocking.
    pub(crate) fn enqueue(&self, item: Item) -> Ticket {
        let item = Arc::new(item);
        let pending = |endpoint| Pending::new(endpoint, Arc::clone(&item));
        Ticket(self.endpoints.iter().map(pending).collect())
    }

    /// Whether a request with this `Grip-Sig` came through one of the proxies, at the time `now`.
    ///
    /// False without proxies. True if one of them has no key to verify with, since it may sign with any key.
    /// Otherwise one of the keys must verify the token.
    ///
    /// # Errors
    ///
    /// No key verifies the token. The error is the one of the first key.
    pub fn verify(
        &self,
        token: impl AsRef<[u8]>,
        now: SystemTime,
    ) -> Result<bool, InvalidSignature> {
        let verifiers: Option<Vec<_>> =
            self.endpoints.iter().map(|e| e.verifier.as_ref()).collect();
        let Some(verifiers) = verifiers else {
            return Ok(true);
        };
        let mut first = None;
        for verifier in verifiers {
            match verifier.verify(&token, now) {
                Ok(()) => return Ok(true),
                Err(error) => _ = first.get_or_insert(error),
            }
        }
        first.map_or(Ok(false), Err)
    }

    /// Lets every proxy follow the links of the streams it holds, without waiting.
    pub(crate) fn recover(&self) {
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        for endpoint in &*self.endpoints {
            let endpoint = Arc::clone(endpoint);
            runtime.spawn(async move { endpoint.recover().await });
        }
    }

    /// Returns the counters of each proxy, in the order of the configurations.
    #[must_use]
    pub fn stats(&self) -> Vec<EndpointStats> {
        let stats = |endpoint: &Arc<Endpoint>| {
            let counts = endpoint.queue.observer().counts();
            EndpointStats {
                endpoint: endpoint.name.to_string(),
                sent: counts.sent,
                failed: counts.failed,
                queued: counts.queued,
                healthy: endpoint.healthy.load(Relaxed),
            }
        };
        self.endpoints.iter().map(stats).collect()
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.endpoints.iter().map(|endpoint| &endpoint.name);
        f.debug_struct("Publisher")
            .field("endpoints", &names.collect::<Vec<_>>())
            .finish()
    }
}

/// Builds a [`Publisher`].
#[derive(Clone, Debug)]
pub struct PublisherBuilder {
    configs: Vec<GripConfig>,
    limits: Limits,
}

impl Default for PublisherBuilder {
    fn default() -> Self {
        let limits = Limits {
            timeout: Duration::from_secs(10),
            items: 16_384,
            bytes: 64 << 20,
        };
        Self {
            configs: Vec::new(),
            limits,
        }
    }
}

impl PublisherBuilder {
    /// Adds proxies.
    #[must_use]
    pub fn endpoints(mut self, configs: impl IntoIterator<Item = GripConfig>) -> Self {
        self.configs.extend(configs);
        self
    }

    /// Sets the time limit of a publish, its queue included: more than zero and at most a day, 10 s by default.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.limits.timeout = timeout;
        self
    }

    /// Sets how many items may wait for each proxy; 16,384 by default. A publish beyond the limit fails at
    /// once.
    #[must_use]
    pub fn queue_limit(mut self, items: usize) -> Self {
        self.limits.items = items;
        self
    }

    /// Sets how many bytes of items may wait for each proxy; 64 MiB by default. A publish beyond the limit
    /// fails at once.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Builds the publisher, without connecting.
    ///
    /// # Errors
    ///
    /// A limit is zero, the timeout is longer than a day, or a configuration is invalid. The error names the
    /// endpoint and the setting.
    pub fn build(self) -> Result<Publisher, Error> {
        let timeout = self.limits.timeout;
        if timeout.is_zero() || timeout > Duration::from_secs(86_400) {
            return Err(Error::config(format!(
                "the publish timeout of {timeout:?} is not between zero and a day"
            )));
        }
        if self.limits.items == 0 || self.limits.bytes == 0 {
            return Err(Error::config(
                "the publish queue has room for nothing: `queue_limit` and `queue_bytes` must be 1 at least",
            ));
        }
        let endpoint = |config| Endpoint::new(config, self.limits).map(Arc::new);
        let endpoints: Result<_, _> = self.configs.iter().map(endpoint).collect();
        Ok(Publisher {
            endpoints: endpoints?,
        })
    }
}

/// An item in the queues of all proxies.
#[must_use]
pub(crate) struct Ticket(Vec<Pending>);

impl Ticket {
    /// Starts sending. Dropping the ticket does so too.
    pub(crate) fn start(&mut self) {
        self.0.iter_mut().for_each(|pending| pending.start = None);
    }

    /// Waits for all proxies. Dropping the future does not cancel sending.
    pub(crate) async fn wait(mut self) -> Result<(), PublishError> {
        self.start();
        let mut failures = Vec::new();
        for pending in self.0 {
            let endpoint = Arc::clone(&pending.endpoint.name);
            if let Err(failure) = pending.outcome().await {
                failures.push(EndpointFailure { endpoint, failure });
            }
        }
        if failures.is_empty() {
            return Ok(());
        }
        Err(PublishError { failures })
    }
}

struct Pending {
    endpoint: Arc<Endpoint>,
    queued: Result<Queued, Failure>,
    start: Option<Start>,
}

/// When dropped, wakes the publishers of expired items, spawns the drain, and records that the item was not
/// queued. Must not be dropped under a lock.
struct Start {
    endpoint: Arc<Endpoint>,
    refused: Option<FailureKind>,
    _expired: Expired,
    runtime: Option<Handle>,
}

impl Drop for Start {
    fn drop(&mut self) {
        if let Some(runtime) = &self.runtime {
            runtime.spawn(Drain::new(Arc::clone(&self.endpoint)).run());
        }
        if let Some(kind) = self.refused {
            self.endpoint.refused(kind);
        }
    }
}

impl Pending {
    fn new(endpoint: &Arc<Endpoint>, item: Arc<Item>) -> Self {
        let expired = endpoint.queue.take_expired(Instant::now());
        let runtime = Handle::try_current().ok();
        let queued = match runtime {
            Some(_) => endpoint.queue.push(item),
            None => Err(Failure::new(
                FailureKind::Runtime,
                "there is no tokio runtime here",
            )),
        };
        let is_first = queued.as_ref().is_ok_and(|queued| queued.is_first);
        let refused = queued.as_ref().err().map(|failure| failure.kind);
        let is_needed = is_first || refused.is_some() || !expired.is_empty();
        let start = is_needed.then(|| Start {
            endpoint: Arc::clone(endpoint),
            refused,
            _expired: expired,
            runtime: runtime.filter(|_| is_first),
        });
        Self {
            endpoint: Arc::clone(endpoint),
            queued,
            start,
        }
    }

    async fn outcome(self) -> Outcome {
        let Queued {
            receiver, deadline, ..
        } = self.queued?;
        match timeout_at(deadline, receiver).await {
            Ok(Ok(outcome)) => outcome,
            // `Reply` sends an outcome even if it is dropped.
            Ok(Err(_)) | Err(_) => Err(self.endpoint.queue.limits().timed_out()),
        }
    }
}

/// The counters of one proxy since the publisher was built.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// The control URI without user, password and query.
    pub endpoint: String,
    /// Number of items that the proxy has taken.
    pub sent: u64,
    /// Number of items that failed, for any reason.
    pub failed: u64,
    /// Number of items that wait or are in flight.
    pub queued: u64,
    /// Whether the last request was answered with 2xx; true before the first. 400 and 413 are ignored, since
    /// they concern an item and not the proxy.
    pub healthy: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sending_starts_after_the_item_is_queued() {
        let publisher = Publisher::new([GripConfig::new("http://127.0.0.1:9")]).unwrap();
        let tasks = || Handle::current().metrics().num_alive_tasks();
        let before = tasks();
        let mut ticket = publisher.enqueue(Item::stream("c", "1"));
        assert_eq!(tasks(), before);
        ticket.start();
        assert_eq!(tasks(), before + 1);
        let other = Publisher::new([GripConfig::new("http://127.0.0.1:9")]).unwrap();
        // A ticket starts it at the latest when dropped.
        drop(other.enqueue(Item::stream("c", "1")));
        assert_eq!(tasks(), before + 2);
    }

    #[tokio::test(start_paused = true)]
    async fn an_item_times_out_if_its_drain_does_not_run() {
        let publisher = Publisher::new([GripConfig::new("http://127.0.0.1:9")]).unwrap();
        // As if the drain ran in another runtime that is not polled any more.
        let queue = &publisher.endpoints[0].queue;
        let first = queue.push(Arc::new(Item::stream("c", "1")));
        assert!(first.ok().unwrap().is_first);
        let start = Instant::now();
        let error = publisher.publish(Item::stream("c", "2")).await.unwrap_err();
        assert_eq!(error.failures()[0].kind(), FailureKind::Timeout);
        assert_eq!(start.elapsed().as_secs(), 10);
    }
}

//! The task that connects one instance with the engine.
//!
//! 1. A session is one connection to the engine, both halves. A failure of either half ends it, and the driver connects
//!    again after a pause.
//! 2. A session attaches first, and then runs four loops: it appends the batches of the outbox, reads the log, attaches
//!    again every 5 seconds, and asks for the end of the log on request. Drafts expire even without a session.
//! 3. Only the loop that reads changes the hub, so the hub has the order of the log.
//! 4. The task ends when the `EventStream` is dropped and every draft has its outcome.

use super::{
    Attached, Backplane, Batch, Failure, FailureKind, Reader, Writer, follower::Follower,
    outbox::Outgoing, shared::Shared,
};
use crate::{local::Local, trace};
use std::{
    convert::Infallible,
    future::pending,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};
use tokio::time::{Instant, interval_at, sleep, timeout};

/// An engine that does not connect in this time is unavailable.
const CONNECT: Duration = Duration::from_secs(5);

/// The time between two attaches: how long a change of the engine's server may go unnoticed without traffic.
const ATTACH: Duration = Duration::from_secs(5);

/// The pause after an engine was busy.
const BUSY: Duration = Duration::from_millis(20);

/// The longest pause between two attempts to connect.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// An id of an event has 48 bits for it.
const MAX_EPOCH: u64 = 0xffff_ffff_ffff;

/// A failure that ends a session.
type Ended = Result<Infallible, Failure>;

pub(super) struct Driver<B> {
    engine: Arc<B>,
    shared: Arc<Shared>,
    local: Weak<Local>,
}

impl<B> Drop for Driver<B> {
    /// Gives every draft an outcome if the task is dropped with its runtime.
    fn drop(&mut self) {
        self.shared.outbox.abandon();
    }
}

impl<B: Backplane> Driver<B> {
    pub(super) fn new(engine: Arc<B>, shared: Arc<Shared>, local: Weak<Local>) -> Self {
        Self {
            engine,
            shared,
            local,
        }
    }

    pub(super) async fn run(self) {
        tokio::select! {
            biased;
            () = self.closed() => {}
            () = self.shared.outbox.expire() => {}
            () = self.connect() => {}
        }
    }

    /// Resolves when the `EventStream` is dropped, and everything is appended or has expired.
    async fn closed(&self) {
        self.shared.closing.notified().await;
        self.shared.outbox.flush().await;
    }

    async fn connect(&self) {
        let mut failures = 0;
        loop {
            let started = Instant::now();
            let Err(failure) = self.session().await;
            if started.elapsed() > LONGEST_PAUSE {
                failures = 0;
            }
            if self.shared.detached(&failure) {
                trace::event!(warn, engine = self.shared.name, %failure, "the backplane is not attached");
            }
            sleep(pause(failures)).await;
            failures += 1;
        }
    }

    async fn session(&self) -> Ended {
        let connected = timeout(CONNECT, self.engine.connect()).await;
        let unavailable = |_| Failure::unavailable(format!("no connection within {CONNECT:?}"));
        let (writer, reader) = connected.map_err(unavailable)??;
        let session = Session {
            shared: &self.shared,
            local: &self.local,
            writer,
            epoch: AtomicU64::new(0),
        };
        let attached = session.attach().await?;
        tokio::select! {
            ended = session.publish() => ended,
            ended = session.follow(reader, attached) => ended,
            ended = session.attach_again() => ended,
            ended = session.answer() => ended,
        }
    }
}

/// The pause after this number of failures: up to a second, with jitter, so that instances do not connect at once.
fn pause(failures: u32) -> Duration {
    let longest = Duration::from_millis(50 << failures.min(5)).min(LONGEST_PAUSE);
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

struct Session<'a, W> {
    shared: &'a Shared,
    local: &'a Weak<Local>,
    writer: W,
    /// The epoch of batches.
    epoch: AtomicU64,
}

impl<W: Writer> Session<'_, W> {
    async fn attach(&self) -> Result<Attached, Failure> {
        let fresh_epoch = random_epoch()?;
        let attached = self.writer.attach(&self.shared.known(fresh_epoch)).await?;
        if attached.epoch > MAX_EPOCH {
            let text = format!(
                "the engine's epoch {} has more than 48 bits",
                attached.epoch
            );
            return Err(Failure::refused(text));
        }
        self.epoch.store(attached.epoch, Relaxed);
        self.shared.attached(&attached);
        self.shared.observer().behind(self.shared.health().behind);
        self.shared.observer().attached(attached.cause.as_deref());
        if let Some(cause) = &attached.cause {
            trace::event!(
                warn,
                engine = self.shared.name,
                cause,
                "a new epoch of the log begins: clients are reset"
            );
            let _ = cause;
        }
        Ok(attached)
    }

    async fn publish(&self) -> Ended {
        loop {
            let batch = self.shared.outbox.next().await;
            self.append(&batch).await?;
        }
    }

    /// Appends a batch, or lets the engine refuse it. Returns also when no draft of the batch is wanted any more.
    async fn append(&self, batch: &Outgoing) -> Result<(), Failure> {
        let (outbox, observer) = (&self.shared.outbox, self.shared.observer());
        loop {
            let (epoch, began) = (self.epoch.load(Relaxed), Instant::now());
            let drafts = &batch.drafts;
            let to_append = Batch::new(epoch, self.shared.origin, batch.first_number, drafts);
            let failure = match self.writer.append(to_append).await {
                Ok(committed) => {
                    observer.appended(drafts.len(), began.elapsed());
                    outbox.acknowledge(epoch, committed);
                    outbox.measure();
                    return Ok(());
                }
                Err(failure) => failure,
            };
            observer.failed(failure.kind().label());
            match failure.kind() {
                FailureKind::Stale => {
                    let attached = self.attach_to_same().await;
                    attached.inspect_err(|_| outbox.retry(false))?;
                }
                FailureKind::Busy => sleep(BUSY).await,
                FailureKind::Refused => {
                    trace::event!(error, engine = self.shared.name, %failure, events = drafts.len(), "the engine refuses events");
                    outbox.refuse(&failure);
                    return Ok(());
                }
                kind => {
                    outbox.retry(kind == FailureKind::Lost);
                    return Err(failure);
                }
            }
            if !outbox.wants_sent() {
                trace::event!(warn, engine = self.shared.name, %failure, events = drafts.len(), "the engine did not accept events in time");
                return Ok(());
            }
        }
    }

    async fn follow(&self, reader: impl Reader, attached: Attached) -> Ended {
        let ended = self.read(reader, attached).await;
        if self.local.strong_count() == 0 {
            // What the outbox has is appended nevertheless.
            return pending().await;
        }
        ended
    }

    async fn read(&self, mut reader: impl Reader, mut attached: Attached) -> Ended {
        let mut follower = Follower::new(self.shared, self.local);
        follower.place(&attached)?;
        loop {
            follower.warm_up_after(attached.last)?;
            let head = self.shared.head();
            let entries = reader.read(follower.last()).await?;
            if entries.is_empty() {
                follower.end_at(head)?;
            } else if let Some(gap) = follower.apply(entries).await? {
                attached = self.attach().await?;
                follower.place(&attached)?;
                follower.pass(gap)?;
            }
        }
    }

    /// Attaches at regular times, which notices a server that lost its data or its role.
    async fn attach_again(&self) -> Ended {
        let mut times = interval_at(Instant::now() + ATTACH, ATTACH);
        loop {
            times.tick().await;
            self.attach_to_same().await?;
        }
    }

    /// Attaches, and ends the session if the log has another epoch. The follower begins it with the next session: the
    /// entries alone need not show that their epoch is another one.
    async fn attach_to_same(&self) -> Result<(), Failure> {
        let epoch = self.epoch.load(Relaxed);
        match self.attach().await?.epoch == epoch {
            true => Ok(()),
            false => Err(Failure::unavailable("the log has another epoch")),
        }
    }

    /// Answers requests for the end of the log.
    async fn answer(&self) -> Ended {
        loop {
            let requests = self.shared.requested().await;
            match self.writer.head().await {
                Ok(head) if head.epoch == self.epoch.load(Relaxed) => {
                    self.shared.respond(requests, head)
                }
                Err(failure) if failure.kind() != FailureKind::Stale => return Err(failure),
                Ok(_) | Err(_) => self.attach_to_same().await?,
            }
        }
    }
}

fn random_epoch() -> Result<u64, Failure> {
    let random = getrandom::u64().map_err(|error| {
        let text = "the operating system provides no random number";
        Failure::unavailable(text).caused_by(error)
    })?;
    // 48 bits, and not 0, which stands for no epoch.
    Ok((random >> 16).max(1))
}

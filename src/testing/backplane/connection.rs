//! A connection to a [`Memory`], with the faults of its link.

use super::{link::Link, log::Log, memory::Memory};
use crate::{
    backplane::{
        Attached, Backplane, Batch, Committed, Entry, Failure, FailureKind, Head, Known, Reader,
        Writer,
    },
    lock::lock,
};
use std::{
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a read waits for an entry.
const READ_WAIT: Duration = Duration::from_secs(5);
/// How long a read waits for an answer.
const READ_LIMIT: Duration = Duration::from_secs(8);
/// How long any other operation waits for an answer.
const LIMIT: Duration = Duration::from_secs(2);

impl Backplane for Memory {
    type Writer = MemoryWriter;
    type Reader = MemoryReader;

    fn name(&self) -> String {
        "memory".to_owned()
    }

    async fn connect(&self) -> Result<(MemoryWriter, MemoryReader), Failure> {
        let connection = Connection::open(self).await?;
        Ok((MemoryWriter(connection.clone()), MemoryReader(connection)))
    }
}

/// A connection to a [`Memory`] that appends.
#[derive(Clone, Debug)]
pub struct MemoryWriter(Connection);

impl Writer for MemoryWriter {
    async fn attach(&self, known: &Known) -> Result<Attached, Failure> {
        self.0.run(|log| Ok(log.attach(known))).await
    }

    async fn append(&self, batch: Batch<'_>) -> Result<Committed, Failure> {
        let append = |log: &mut Log| match self.0.link().is_busy() {
            true => Err(Failure::new(FailureKind::Busy, "the log in memory is busy")),
            false => log.append(batch),
        };
        let committed = self.0.run(append).await?;
        if self.0.link().loses_reply() {
            return Err(lost("the answer of the log in memory was lost"));
        }
        Ok(committed)
    }

    async fn head(&self) -> Result<Head, Failure> {
        self.0.run(|log| log.head()).await
    }
}

/// A connection to a [`Memory`] that reads.
#[derive(Debug)]
pub struct MemoryReader(Connection);

impl Reader for MemoryReader {
    /// Cancel safe: no entry is lost.
    async fn read(&mut self, after: u64) -> Result<Vec<Entry>, Failure> {
        self.0.check(unavailable)?;
        let read = async {
            self.0.pass().await?;
            let until = Instant::now() + READ_WAIT;
            let found = self.0.wait(until, |log| {
                let entries = log.after(after);
                (!entries.is_empty()).then_some(entries)
            });
            let entries = found.await?;
            self.0.pass().await?;
            Ok(entries.unwrap_or_default())
        };
        within(READ_LIMIT, read).await
    }
}

#[derive(Clone)]
pub(super) struct Connection {
    memory: Memory,
    number: u64,
    log: Arc<Mutex<Log>>,
}

impl Connection {
    pub(super) async fn open(memory: &Memory) -> Result<Self, Failure> {
        let connection = {
            let link = lock(&memory.link);
            if link.is_down {
                return Err(unavailable());
            }
            Self {
                memory: memory.clone(),
                number: link.connection,
                log: link.log.clone(),
            }
        };
        let passed = within(LIMIT, connection.pass()).await;
        passed.map_err(|_| unavailable())?;
        Ok(connection)
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        lock(&self.memory.link)
    }

    /// Fails if the connection is broken.
    fn check(&self, failure: impl FnOnce() -> Failure) -> Result<(), Failure> {
        let is_whole = self.link().connection == self.number;
        is_whole.then_some(()).ok_or_else(failure)
    }

    /// Runs an operation half-way through its delay, so that a cancelled one may have been done or not.
    async fn run<T>(
        &self,
        operation: impl FnOnce(&mut Log) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.check(unavailable)?;
        let run = async {
            self.pass().await?;
            let result = operation(&mut lock(&self.log));
            self.memory.changed.send_replace(());
            self.pass().await?;
            result
        };
        within(LIMIT, run).await
    }

    /// Passes half of the delay.
    async fn pass(&self) -> Result<(), Failure> {
        let until = Instant::now() + self.link().delay / 2;
        self.wait(until, |_| None::<()>).await.map(drop)
    }

    /// Waits until `look` finds something, and for as long as the link hangs.
    async fn wait<T>(
        &self,
        until: Instant,
        mut look: impl FnMut(&Log) -> Option<T>,
    ) -> Result<Option<T>, Failure> {
        let mut changed = self.memory.changed.subscribe();
        loop {
            self.check(|| lost("the connection to the log in memory broke"))?;
            if self.link().is_hanging {
                _ = changed.changed().await;
                continue;
            }
            let found = look(&lock(&self.log));
            if found.is_some() || Instant::now() >= until {
                return Ok(found);
            }
            _ = timeout_at(until, changed.changed()).await;
        }
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}

async fn within<T>(
    limit: Duration,
    operation: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let timed = timeout(limit, operation).await;
    timed.unwrap_or_else(|_| Err(lost("the log in memory did not answer in time")))
}

fn unavailable() -> Failure {
    Failure::unavailable("the log in memory refuses connections")
}

fn lost(message: &str) -> Failure {
    Failure::new(FailureKind::Lost, message)
}

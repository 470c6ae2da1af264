//! An engine in memory.

use super::{link::Link, log::Log};
use crate::{backplane::Head, lock::lock};
use std::{
    fmt,
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// Default maximum number of entries.
const MAX_ENTRIES: usize = 100_000;

/// An engine in the test's own memory, with faults on demand.
///
/// Clones share the log, so several `EventStream`s of one test form a deployment. Faults take effect at once, and
/// on all clones. Delays and limits use tokio's time, so paused time works: an operation without an answer fails
/// after 2 seconds, and a read after 8.
///
/// The log keeps the newest 100,000 entries, unless it is [created](Self::with_max_entries) with another number.
///
/// # Examples
///
/// ```
/// use axum_eventstream::backplane::{Backplane, Batch, Draft, FailureKind, Known, Origin, Writer};
/// use axum_eventstream::testing::backplane::Memory;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let memory = Memory::new();
/// let (writer, _reader) = memory.connect().await?;
/// let origin = Origin::new(1);
/// let attached = writer.attach(&Known::nothing(origin, 7)).await?;
/// let drafts = [Draft::new("red", "hello")];
/// let batch = Batch::new(attached.epoch, origin, 1, &drafts);
///
/// memory.lose_replies(1);
/// let failure = writer.append(batch).await.unwrap_err();
/// assert_eq!(failure.kind(), FailureKind::Lost);
/// // It was appended, so the repetition adds nothing.
/// assert_eq!(writer.append(batch).await?.added, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Memory {
    pub(super) link: Arc<Mutex<Link>>,
    /// Wakes operations of all links to this log and its forks.
    pub(super) changed: watch::Sender<()>,
}

impl Memory {
    /// Creates an engine without a log. The first attach begins one.
    #[must_use]
    pub fn new() -> Self {
        Self::with_max_entries(MAX_ENTRIES)
    }

    /// Creates an engine whose log drops its oldest entries above a number.
    #[must_use]
    pub fn with_max_entries(entries: usize) -> Self {
        let log = Arc::new(Mutex::new(Log::new(entries)));
        Self::linked(log, watch::Sender::new(()))
    }

    /// Numbers the entries of each append in a block of 1024 sequences, as some engines do. So sequences have gaps.
    #[must_use]
    pub fn in_blocks(self) -> Self {
        lock(&self.log()).has_blocks = true;
        self
    }

    pub(super) fn linked(log: Arc<Mutex<Log>>, changed: watch::Sender<()>) -> Self {
        let link = Arc::new(Mutex::new(Link::new(log)));
        Self { link, changed }
    }

    /// Returns the number of entries in the log, including the first entry of an epoch.
    #[must_use]
    pub fn entries(&self) -> usize {
        let log = self.log();
        let history = lock(&log).history.as_ref().map(|history| history.entries());
        history.unwrap_or_default()
    }

    /// Returns the log's epoch and its last sequence. `None` if there is no log.
    #[must_use]
    pub fn head(&self) -> Option<Head> {
        let log = self.log();
        let head = lock(&log).head();
        head.ok()
    }

    pub(super) fn log(&self) -> Arc<Mutex<Log>> {
        lock(&self.link).log.clone()
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory")
            .field("head", &self.head())
            .field("entries", &self.entries())
            .finish_non_exhaustive()
    }
}

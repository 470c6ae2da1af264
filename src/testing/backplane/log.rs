//! The log of a server in memory. It outlives its epochs.

use super::history::History;
use crate::backplane::{Attached, Batch, Committed, Entry, Failure, FailureKind, Head, Known};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Debug)]
pub(super) struct Log {
    /// `None` before the first attach, and after a wipe.
    pub(super) history: Option<History>,
    pub(super) is_full: bool,
    pub(super) has_blocks: bool,
    max_entries: usize,
    /// The highest sequence that any epoch has had.
    highest: u64,
}

impl Log {
    pub(super) fn new(max_entries: usize) -> Self {
        Self {
            history: None,
            is_full: false,
            has_blocks: false,
            max_entries,
            highest: 0,
        }
    }

    /// Returns a copy that continues as another branch of history.
    pub(super) fn fork(&self) -> Self {
        let mut fork = self.clone();
        fork.history.iter_mut().for_each(History::begin_term);
        fork
    }

    pub(super) fn attach(&mut self, known: &Known) -> Attached {
        let cause = match &self.history {
            None => Some("absent"),
            Some(history) => history.lacks(known),
        };
        let current = self.history.take().filter(|_| cause.is_none());
        let mut history = current.unwrap_or_else(|| self.begin(known));
        history.skip_to(known.origin, known.acknowledged);
        let attached = Attached {
            epoch: history.epoch,
            last: history.last,
            first: history.first(),
            mark: history.mark(),
            max_draft: None,
            cause: cause.map(str::to_owned),
            time: SystemTime::now(),
        };
        self.keep(history);
        attached
    }

    /// Begins an epoch above all sequences that this log or the instance knows, and above the time.
    fn begin(&self, known: &Known) -> History {
        let seen = known.seen.as_ref().map_or(0, |seen| seen.last);
        let sequence = self.highest.max(seen).max(microseconds()) + 1;
        History::begin(known.fresh_epoch, sequence, self.has_blocks)
    }

    pub(super) fn append(&mut self, batch: Batch<'_>) -> Result<Committed, Failure> {
        if self.is_full {
            return Err(Failure::refused("the log in memory is full"));
        }
        let is_current = |history: &mut History| history.epoch == batch.epoch;
        let Some(mut history) = self.history.take_if(is_current) else {
            return Err(stale());
        };
        let committed = history.append(batch);
        self.keep(history);
        Ok(committed)
    }

    /// Puts the history into its place after a change.
    pub(super) fn keep(&mut self, mut history: History) {
        history.trim(self.max_entries);
        self.highest = self.highest.max(history.last);
        self.history = Some(history);
    }

    pub(super) fn head(&self) -> Result<Head, Failure> {
        let history = self.history.as_ref().ok_or_else(stale)?;
        Ok(Head::new(history.epoch, history.last))
    }

    pub(super) fn after(&self, sequence: u64) -> Vec<Entry> {
        let history = self.history.as_ref();
        history.map_or_else(Vec::new, |history| history.after(sequence))
    }
}

fn stale() -> Failure {
    Failure::new(FailureKind::Stale, "the log in memory has another epoch")
}

fn microseconds() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let microseconds = time.expect("a clock after 1970").as_micros();
    u64::try_from(microseconds).expect("a clock before the year 586912")
}

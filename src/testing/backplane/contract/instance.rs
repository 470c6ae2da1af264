//! An instance of an application, as an engine sees it.

use super::{Checked, ensure, subject::Broken};
use crate::backplane::{
    Attached, Backplane, Batch, Committed, Content, Draft, Entry, Failure, FailureKind, Head,
    Known, Origin, Publication, Reader, Seen, Writer,
};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::sleep;

/// The time until an append is repeated if the engine is busy.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) struct Instance<B: Backplane> {
    pub(super) writer: B::Writer,
    pub(super) reader: B::Reader,
    pub(super) origin: Origin,
    pub(super) epoch: u64,
    /// The number of the next draft.
    pub(super) next: u64,
    /// The epoch and the sequence of the last append.
    pub(super) acknowledged: Option<(u64, u64)>,
    /// The sequence of the last entry that it has read, or the end of the log when it attached.
    pub(super) last: u64,
    /// The mark of `last`.
    pub(super) mark: Bytes,
}

impl<B: Backplane> Instance<B> {
    /// Connects, and attaches for the first time.
    pub(super) async fn join(engine: &B) -> Result<Self, Failure> {
        let origin = Origin::new(fastrand::u64(..));
        let (writer, reader) = engine.connect().await?;
        let known = Known::nothing(origin, fresh_epoch());
        let attached = writer.attach(&known).await?;
        Ok(Self {
            writer,
            reader,
            origin,
            epoch: attached.epoch,
            next: 1,
            acknowledged: None,
            last: attached.last,
            mark: attached.mark,
        })
    }

    /// Connects again, and attaches.
    pub(super) async fn rejoin(&mut self, engine: &B) -> Result<(), Failure> {
        self.reconnect(engine).await?;
        self.attach().await.map(drop)
    }

    /// Connects again, without the attach that has to come next.
    pub(super) async fn reconnect(&mut self, engine: &B) -> Result<(), Failure> {
        (self.writer, self.reader) = engine.connect().await?;
        Ok(())
    }

    /// Returns what the instance knows, if all of its appends were acknowledged.
    pub(super) fn known(&self) -> Known {
        let known = Known::nothing(self.origin, fresh_epoch()).seen(self.seen());
        let known = known.acknowledged(self.next - 1);
        match self.acknowledged {
            Some((epoch, sequence)) if epoch == self.epoch => known.acknowledged_at(sequence),
            _ => known,
        }
    }

    pub(super) fn seen(&self) -> Seen {
        Seen {
            epoch: self.epoch,
            last: self.last,
            mark: self.mark.clone(),
        }
    }

    /// Attaches again, and follows the log's epoch.
    pub(super) async fn attach(&mut self) -> Result<Attached, Failure> {
        let attached = self.writer.attach(&self.known()).await?;
        self.follow(&attached);
        Ok(attached)
    }

    /// Goes on at the end of the log if it has another epoch.
    pub(super) fn follow(&mut self, attached: &Attached) {
        if attached.epoch != self.epoch {
            self.epoch = attached.epoch;
            self.last = attached.last;
            self.mark = attached.mark.clone();
        }
    }

    pub(super) fn batch<'a>(&self, first_number: u64, drafts: &'a [Draft]) -> Batch<'a> {
        Batch::new(self.epoch, self.origin, first_number, drafts)
    }

    /// Appends the next drafts.
    pub(super) async fn append(&mut self, drafts: &[Draft]) -> Result<Committed, Failure> {
        let committed = self.append_at(self.next, drafts).await?;
        self.next += drafts.len() as u64;
        self.acknowledged = Some((self.epoch, committed.last));
        Ok(committed)
    }

    /// Appends drafts from a number on, as soon as the engine is not busy.
    pub(super) async fn append_at(
        &mut self,
        first_number: u64,
        drafts: &[Draft],
    ) -> Result<Committed, Failure> {
        loop {
            match self.writer.append(self.batch(first_number, drafts)).await {
                Err(failure) if failure.kind() == FailureKind::Busy => sleep(PAUSE).await,
                appended => return appended,
            }
        }
    }

    /// Reads until the sequence `last`, and checks that no sequence is missing.
    pub(super) async fn read_to(&mut self, last: u64) -> Result<Vec<Entry>, Broken> {
        let mut read = Vec::new();
        while self.last < last {
            let entries = self.reader.read(self.last).await?;
            ensure(!entries.is_empty(), || {
                format!(
                    "a read after {} returned no entry, and the log ends at {last}",
                    self.last
                )
            })?;
            for entry in entries {
                self.take(&entry)?;
                read.push(entry);
            }
        }
        Ok(read)
    }

    fn take(&mut self, entry: &Entry) -> Checked {
        let follows = (entry.previous..entry.sequence).contains(&self.last);
        ensure(follows, || {
            format!("the entry after {} is {entry:?}", self.last)
        })?;
        self.last = entry.sequence;
        self.mark = entry.mark.clone();
        Ok(())
    }

    /// Reads until `last`, and checks that the entries are these drafts with consecutive numbers.
    pub(super) async fn expect(
        &mut self,
        last: u64,
        first_number: u64,
        drafts: &[Draft],
    ) -> Checked {
        let entries = self.read_to(last).await?;
        let publications = publications(&entries)?;
        let found: Vec<_> = publications.iter().map(|found| summary(found)).collect();
        let numbers = first_number..;
        let origin = self.origin;
        let expected: Vec<_> = numbers
            .zip(drafts)
            .map(|(number, draft)| (origin, number, draft.clone()))
            .collect();
        ensure(found == expected, || difference(&found, &expected))
    }

    /// Appends the next drafts, and checks that the instance reads them.
    pub(super) async fn round_trip(&mut self, drafts: &[Draft]) -> Checked {
        let number = self.next;
        let last = self.append(drafts).await?.last;
        self.expect(last, number, drafts).await
    }

    /// Appends a number of drafts, and reads them. Returns the last sequence.
    pub(super) async fn append_and_read(&mut self, count: usize) -> Result<u64, Broken> {
        let last = self.append(&drafts(count)).await?.last;
        self.read_to(last).await?;
        Ok(last)
    }

    /// Checks that a repetition of the first append adds nothing.
    pub(super) async fn expect_repeated(
        &mut self,
        committed: Committed,
        drafts: &[Draft],
    ) -> Checked {
        let repeated = self.append_at(1, drafts).await?;
        let expected = Committed::new(committed.last, 0);
        ensure(repeated == expected, || {
            format!("{repeated:?}, not {expected:?}")
        })
    }

    /// Checks that an attach begins an epoch above a sequence.
    pub(super) async fn expect_begun(&mut self, above: u64) -> Result<Attached, Broken> {
        let known = self.known();
        let attached = self.writer.attach(&known).await?;
        expect_begun(&attached, &known, above)?;
        Ok(attached)
    }

    /// Checks that an attach begins no epoch.
    pub(super) async fn expect_kept(&mut self) -> Result<Attached, Broken> {
        let epoch = self.epoch;
        let attached = self.attach().await?;
        expect_kept(&attached, epoch)?;
        Ok(attached)
    }

    /// Checks the log's end.
    pub(super) async fn expect_head(&self, last: u64) -> Checked {
        let head = self.writer.head().await?;
        let expected = Head {
            epoch: self.epoch,
            last,
        };
        ensure(head == expected, || {
            format!("the head is {head:?}, not {expected:?}")
        })
    }

    /// Checks that an append is refused as stale.
    pub(super) async fn expect_stale(&self, batch: Batch<'_>) -> Checked {
        let appended = self.writer.append(batch).await;
        let is_stale = matches!(&appended, Err(failure) if failure.kind() == FailureKind::Stale);
        ensure(is_stale, || {
            format!("the append returned {appended:?}, not a stale failure")
        })
    }
}

type Summary = (Origin, u64, Draft);

fn summary(publication: &Publication) -> Summary {
    let draft = Draft::new(publication.channel.clone(), publication.payload.clone());
    (publication.origin, publication.number, draft)
}

fn difference(found: &[Summary], expected: &[Summary]) -> String {
    let at = found
        .iter()
        .zip(expected)
        .take_while(|(found, expected)| found == expected)
        .count();
    let shown = |summaries: &[Summary]| match summaries.get(at) {
        Some((origin, number, draft)) => format!(
            "{origin}:{number} on {:?} with {} bytes",
            draft.channel,
            draft.payload.len()
        ),
        None => "absent".to_owned(),
    };
    format!("entry {at} is {}, not {}", shown(found), shown(expected))
}

/// Returns the publications of entries, if all are such.
pub(super) fn publications(entries: &[Entry]) -> Result<Vec<&Publication>, Broken> {
    let publication = |entry| match entry {
        &Entry {
            content: Content::Published(ref publication),
            ..
        } => Ok(publication),
        other => Err(Broken::Rule(format!("{other:?} is not an appended entry"))),
    };
    entries.iter().map(publication).collect()
}

/// Returns drafts with different payloads.
pub(super) fn drafts(count: usize) -> Vec<Draft> {
    let payload = |index: usize| format!("{index} of {:x}", fastrand::u32(..));
    (0..count)
        .map(|index| Draft::new("channel", payload(index)))
        .collect()
}

pub(super) fn fresh_epoch() -> u64 {
    fastrand::u64(1..1 << 48)
}

/// Fails unless an attach has begun the epoch of `known`, above the sequence `above`.
pub(super) fn expect_begun(attached: &Attached, known: &Known, above: u64) -> Checked {
    let is_begun = attached.epoch == known.fresh_epoch && attached.cause.is_some();
    ensure(is_begun, || {
        format!("no epoch began: {attached:?} after {known:?}")
    })?;
    ensure(attached.last > above, || {
        format!(
            "the new epoch is at {}, which is not above {above}",
            attached.last
        )
    })
}

/// Fails if an attach has begun an epoch.
pub(super) fn expect_kept(attached: &Attached, epoch: u64) -> Checked {
    let is_kept = attached.epoch == epoch && attached.cause.is_none();
    ensure(is_kept, || {
        format!("an epoch began without a loss: {attached:?}")
    })
}

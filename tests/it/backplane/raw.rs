//! An instance as an engine sees it.

use crate::support::within;
use axum_eventstream::backplane::{
    Attached, Backplane, Batch, Committed, Content, Draft, Entry, Failure, FailureKind, Known,
    Origin, Reader, Seen, Writer,
};
use std::time::Duration;
use tokio::time::sleep;

/// What an instance of an application knows of the log.
pub(crate) struct Instance<B: Backplane> {
    pub(crate) writer: B::Writer,
    pub(crate) reader: B::Reader,
    pub(crate) known: Known,
    pub(crate) epoch: u64,
    pub(crate) last: u64,
}

impl<B: Backplane> Instance<B> {
    /// Connects and attaches.
    pub(crate) async fn of(engine: &B) -> Self {
        let (writer, reader) = engine.connect().await.unwrap();
        let origin = Origin::new(fastrand::u64(..));
        let known = Known::nothing(origin, fresh_epoch());
        let mut instance = Self {
            writer,
            reader,
            known,
            epoch: 0,
            last: 0,
        };
        instance.attach().await.unwrap();
        instance
    }

    /// Attaches, and knows then what the engine has answered.
    pub(crate) async fn attach(&mut self) -> Result<Attached, Failure> {
        let attached = self.writer.attach(&self.known).await?;
        if attached.epoch != self.epoch {
            self.known.acknowledged_at = None;
        }
        (self.epoch, self.last) = (attached.epoch, attached.last);
        self.known.fresh_epoch = fresh_epoch();
        self.see(attached.last, attached.mark.clone());
        Ok(attached)
    }

    /// Connects again, and keeps its knowledge of the log.
    pub(crate) async fn reconnect(&mut self, engine: &B) {
        (self.writer, self.reader) = engine.connect().await.unwrap();
    }

    pub(crate) async fn append(&mut self, payloads: &[&str]) -> Result<Committed, Failure> {
        let first = self.known.acknowledged + 1;
        let committed = self.append_at(first, payloads).await?;
        self.known.acknowledged += payloads.len() as u64;
        self.known.acknowledged_at = Some(committed.last);
        Ok(committed)
    }

    /// Appends a draft when the engine waits for no other instance any more.
    pub(crate) async fn append_when_possible(&mut self, payload: &str) {
        within("the engine", async {
            while let Err(failure) = self.append(&[payload]).await {
                assert_eq!(failure.kind(), FailureKind::Busy, "{failure}");
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Appends drafts whose first has this number.
    pub(crate) async fn append_at(
        &self,
        number: u64,
        payloads: &[&str],
    ) -> Result<Committed, Failure> {
        let draft = |payload: &&str| Draft::new("news", (*payload).to_owned());
        let drafts: Vec<_> = payloads.iter().map(draft).collect();
        let batch = Batch::new(self.epoch, self.known.origin, number, &drafts);
        self.writer.append(batch).await
    }

    /// Reads the entries after the last that was read.
    pub(crate) async fn read(&mut self) -> Result<Vec<Entry>, Failure> {
        let entries = self.reader.read(self.last).await?;
        if let Some(entry) = entries.last() {
            self.see(entry.sequence, entry.mark.clone());
        }
        Ok(entries)
    }

    pub(crate) fn see(&mut self, last: u64, mark: bytes::Bytes) {
        self.last = last;
        self.known.seen = Some(Seen::new(self.epoch, last, mark));
    }
}

pub(crate) fn fresh_epoch() -> u64 {
    fastrand::u64(..1 << 48)
}

/// The payloads of entries.
pub(crate) fn payloads(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(payload).collect()
}

/// The payload of an entry, or the name of its content.
pub(crate) fn payload(entry: &Entry) -> &str {
    match &entry.content {
        Content::Published(publication) => std::str::from_utf8(&publication.payload).unwrap(),
        Content::NewEpoch => "<epoch>",
        _ => "<foreign>",
    }
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T, Failure>) -> FailureKind {
    result.unwrap_err().kind()
}

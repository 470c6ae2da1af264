//! The engine on Redis.

mod attach;
mod cluster;
mod contract;
mod faults;
mod rights;
pub(crate) mod sentinel;
mod stream;
#[cfg(any(feature = "rustls", feature = "native-tls"))]
mod tls;

use crate::support::within;
use axum_eventstream::backplane::{
    Attached, Backplane, Batch, Committed, Content, Draft, Entry, Failure, FailureKind, Known,
    Origin, Reader, Redis, Seen, Writer,
};
use std::time::Duration;
use tokio::time::sleep;

type RedisWriter = <Redis as Backplane>::Writer;
type RedisReader = <Redis as Backplane>::Reader;

/// What an instance of an application knows of the log.
struct Instance {
    writer: RedisWriter,
    reader: RedisReader,
    known: Known,
    epoch: u64,
    last: u64,
}

impl Instance {
    /// Connects and attaches.
    async fn of(redis: &Redis) -> Self {
        let (writer, reader) = redis.connect().await.unwrap();
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
    async fn attach(&mut self) -> Result<Attached, Failure> {
        let attached = self.writer.attach(&self.known).await?;
        (self.epoch, self.last) = (attached.epoch, attached.last);
        self.known.fresh_epoch = fresh_epoch();
        self.see(attached.last, attached.mark.clone());
        Ok(attached)
    }

    /// Connects again, and keeps its knowledge of the log.
    async fn reconnect(&mut self, redis: &Redis) {
        (self.writer, self.reader) = redis.connect().await.unwrap();
    }

    async fn append(&mut self, payloads: &[&str]) -> Result<Committed, Failure> {
        let first = self.known.acknowledged + 1;
        let committed = self.append_at(first, payloads).await?;
        self.known.acknowledged += payloads.len() as u64;
        Ok(committed)
    }

    /// Appends a draft when the engine waits for no other instance any more.
    async fn append_when_possible(&mut self, payload: &str) {
        within("the engine", async {
            while let Err(failure) = self.append(&[payload]).await {
                assert_eq!(failure.kind(), FailureKind::Busy, "{failure}");
                sleep(Duration::from_millis(20)).await;
            }
        })
        .await;
    }

    /// Appends drafts whose first has this number.
    async fn append_at(&self, number: u64, payloads: &[&str]) -> Result<Committed, Failure> {
        let draft = |payload: &&str| Draft::new("news", (*payload).to_owned());
        let drafts: Vec<_> = payloads.iter().map(draft).collect();
        let batch = Batch::new(self.epoch, self.known.origin, number, &drafts);
        self.writer.append(batch).await
    }

    /// Reads the entries after the last that was read.
    async fn read(&mut self) -> Result<Vec<Entry>, Failure> {
        let entries = self.reader.read(self.last).await?;
        if let Some(entry) = entries.last() {
            self.see(entry.sequence, entry.mark.clone());
        }
        Ok(entries)
    }

    fn see(&mut self, last: u64, mark: bytes::Bytes) {
        self.last = last;
        self.known.seen = Some(Seen::new(self.epoch, last, mark));
    }
}

fn fresh_epoch() -> u64 {
    fastrand::u64(..1 << 48)
}

/// The payloads of entries.
fn payloads(entries: &[Entry]) -> Vec<&str> {
    entries.iter().map(payload).collect()
}

/// The payload of an entry, or the name of its content.
fn payload(entry: &Entry) -> &str {
    match &entry.content {
        Content::Published(publication) => std::str::from_utf8(&publication.payload).unwrap(),
        Content::NewEpoch => "<epoch>",
        _ => "<foreign>",
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, Failure>) -> FailureKind {
    result.unwrap_err().kind()
}

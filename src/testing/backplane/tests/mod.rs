//! Each fault of a [`Memory`].

mod link;
mod log;

use super::{Memory, MemoryReader, MemoryWriter};
use crate::backplane::{
    Attached, Backplane, Batch, Committed, Content, Draft, Entry, Failure, FailureKind, Known,
    Origin, Reader, Seen, Writer,
};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn origin() -> Origin {
    Origin::new(7)
}

struct Client {
    writer: MemoryWriter,
    reader: MemoryReader,
    attached: Attached,
}

impl Client {
    async fn join(memory: &Memory) -> Self {
        let (writer, reader) = memory.connect().await.unwrap();
        let known = Known::nothing(origin(), 1);
        let attached = writer.attach(&known).await.unwrap();
        Self {
            writer,
            reader,
            attached,
        }
    }

    async fn append(&self, number: u64, texts: &[&str]) -> Result<Committed, Failure> {
        let drafts: Vec<_> = texts
            .iter()
            .map(|text| Draft::new("channel", (*text).to_owned()))
            .collect();
        let batch = Batch::new(self.attached.epoch, origin(), number, &drafts);
        self.writer.append(batch).await
    }

    async fn read(&mut self) -> Result<Vec<Entry>, Failure> {
        self.reader.read(self.attached.last).await
    }

    /// Attaches with the mark of an entry.
    async fn attach_at(&self, entry: &Entry) -> Attached {
        let seen = Seen {
            epoch: self.attached.epoch,
            last: entry.sequence,
            mark: entry.mark.clone(),
        };
        let known = Known::nothing(Origin::new(8), 2).seen(seen);
        self.writer.attach(&known).await.unwrap()
    }
}

fn texts(entries: &[Entry]) -> Vec<&[u8]> {
    let text = |entry| match entry {
        &Entry {
            content: Content::Published(ref publication),
            ..
        } => &*publication.payload,
        other => panic!("{other:?}"),
    };
    entries.iter().map(text).collect()
}

fn kind<T>(result: Result<T, Failure>) -> Option<FailureKind> {
    result.err().map(|failure| failure.kind())
}

fn cause(attached: &Attached) -> Option<&str> {
    attached.cause.as_deref()
}

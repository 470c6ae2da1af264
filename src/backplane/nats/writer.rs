//! Attaches and appends.
//!
//! 1. The id of a message names its first draft, and the server skips a message whose id it has. A repeated batch has
//!    the same drafts, but perhaps in other messages.
//! 2. The stream is deleted only if two looks find that something is gone from it. A new leader of a server before 2.11
//!    can lack messages for a moment that are not gone.
//! 3. The stream is examined once more just before it is deleted. NATS has no delete with a condition, so a slow
//!    instance, or a delete that is executed late, can delete a stream that another instance has just created. Then a
//!    second epoch begins. Events of that stream are lost, and the second reset covers them.

use super::{
    Warned,
    message::{self, last_of, message_of},
    stream::{Info, Stream},
};
use crate::{
    backplane::{
        Attached, Batch, Committed, Draft, Failure, FailureKind, Head, Known, Origin, Seen, Writer,
        block::Label,
    },
    lock::lock,
};
use serde::Deserialize;
use std::{
    fmt,
    sync::{Arc, Mutex, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::time::{sleep, timeout};

/// How often an attach looks again if other instances change the stream meanwhile.
const LOOKS: usize = 5;

/// The time between two looks at a stream from which something seems to be gone.
const DOUBT: Duration = Duration::from_millis(250);

/// How long an attach may take. Each of its requests has a limit too.
const ATTACH_LIMIT: Duration = Duration::from_secs(5);

/// Appends to a log in NATS JetStream.
pub struct NatsWriter {
    stream: Stream,
    warned: Arc<Warned>,
    /// The last append of this connection.
    appended: Mutex<Option<Appended>>,
}

#[derive(Clone, Copy)]
struct Appended {
    epoch: u64,
    origin: Origin,
    number: u64,
    sequence: u64,
}

#[derive(Deserialize)]
struct Acknowledgement {
    /// Servers of the version 2.10 answer 0 for a duplicate of a message that they have not stored yet.
    seq: u64,
    #[serde(default)]
    duplicate: bool,
}

impl NatsWriter {
    pub(super) fn new(stream: Stream, warned: Arc<Warned>) -> Self {
        Self {
            stream,
            warned,
            appended: Mutex::default(),
        }
    }

    /// Returns what `known` has and the stream lacks. Another epoch is only compared by its end.
    async fn lacks(&self, known: &Known, info: &Info) -> Result<Option<&'static str>, Failure> {
        let Some(seen) = &known.seen else {
            return Ok(None);
        };
        if last_of(info.last) < seen.last {
            return Ok(Some("regress"));
        }
        if seen.epoch != info.epoch {
            return Ok(None);
        }
        if self.lacks_number(known, info).await? {
            return Ok(Some("publisher"));
        }
        Ok(self.contradicts(seen).await?.then_some("mark"))
    }

    async fn lacks_number(&self, known: &Known, info: &Info) -> Result<bool, Failure> {
        // The number 0 stands for no append.
        let sequence = known.acknowledged_at.filter(|_| known.acknowledged > 0);
        let Some(sequence) = sequence else {
            return Ok(false);
        };
        if last_of(info.last) < sequence {
            return Ok(true);
        }
        let stored = self.stream.message(message_of(sequence)).await?;
        // A message that is not there has left the log at its beginning.
        let Some(stored) = stored else {
            return Ok(false);
        };
        let has_it = |label: &Label| {
            label.origin == known.origin && label.number_at(sequence) == Some(known.acknowledged)
        };
        Ok(!stored.label.as_ref().is_some_and(has_it))
    }

    async fn contradicts(&self, seen: &Seen) -> Result<bool, Failure> {
        if seen.mark.is_empty() {
            return Ok(false);
        }
        let stored = self.stream.message(message_of(seen.last)).await?;
        Ok(stored.is_some_and(|stored| stored.mark().as_ref() != Some(&seen.mark)))
    }

    async fn attach_at_last(&self, known: &Known) -> Result<Attached, Failure> {
        let mut cause = "absent";
        let mut doubted = None;
        for _ in 0..LOOKS {
            let info = self.stream.info().await?;
            if let Some(info) = &info {
                self.warned.review(&self.stream, info);
                let Some(lack) = self.lacks(known, info).await? else {
                    return Ok(info.attached(self.stream.room()));
                };
                if doubted.replace(info.epoch) != Some(info.epoch) {
                    sleep(DOUBT).await;
                    continue;
                }
                cause = lack;
                self.delete(info).await?;
            }
            if let Some(attached) = self.begin(known, info.as_ref(), cause).await? {
                return Ok(attached);
            }
        }
        let text = "changes the stream again and again";
        Err(self.stream.link.unavailable(text))
    }

    /// Deletes the stream, unless another one has replaced it.
    async fn delete(&self, examined: &Info) -> Result<(), Failure> {
        match self.stream.info().await? {
            Some(info) if info.epoch == examined.epoch => self.stream.delete().await,
            _ => Ok(()),
        }
    }

    /// Begins an epoch above everything that is known, and above the time. Returns `None` if another instance has.
    async fn begin(
        &self,
        known: &Known,
        lost: Option<&Info>,
        cause: &str,
    ) -> Result<Option<Attached>, Failure> {
        let seen = known.seen.as_ref().map_or(0, |seen| message_of(seen.last));
        let lost = lost.map_or(0, |info| info.last);
        // One message is left out, so that the begin of the epoch is above the end of the earlier one.
        let first = seen.max(lost).max(milliseconds()) + 2;
        let Some(info) = self.stream.create(known.fresh_epoch, first).await? else {
            return Ok(None);
        };
        if info.last + 1 != first {
            let text = "does not begin a stream at the sequence that it is asked for";
            return Err(Failure::refused(format!(
                "{} {text}",
                self.stream.link.name
            )));
        }
        self.warned.review(&self.stream, &info);
        Ok(Some(info.attached(self.stream.room()).cause(cause)))
    }

    /// Stores some drafts as one message. Returns its sequence, and the number of its drafts if it was there already.
    async fn store(
        &self,
        epoch: u64,
        label: Label,
        drafts: &[Draft],
    ) -> Result<(u64, Option<usize>), Failure> {
        let (stream, link) = (&self.stream, &self.stream.link);
        let payload = crate::backplane::block::encode(drafts);
        let subject = stream.subject(epoch, label.origin);
        let answer = link
            .request(subject, Some(label.headers()), payload.into())
            .await?;
        let Some(answer) = answer else {
            return Err(self.unreceived(epoch).await);
        };
        let Acknowledgement { seq, duplicate } = match link.parse(&answer.payload)? {
            Ok(acknowledgement) => acknowledgement,
            Err(error) => return Err(link.unacknowledged(&error)),
        };
        if seq == 0 {
            let text = "has an earlier attempt of the batch on its way";
            let text = format!("{} {text}", link.name);
            return Err(Failure::new(FailureKind::Busy, text));
        }
        if !duplicate {
            return Ok((seq, None));
        }
        let stored = stream.message(seq).await.map_err(once_begun)?;
        let stored = stored.and_then(|stored| stored.label);
        // If it has left the log already, it had the same drafts.
        Ok((seq, Some(stored.map_or(drafts.len(), |label| label.count))))
    }

    /// Why no stream has received a batch.
    async fn unreceived(&self, epoch: u64) -> Failure {
        let failure =
            |kind, text: &str| Failure::new(kind, format!("{}: {text}", self.stream.link.name));
        match self.stream.info().await {
            Ok(Some(info)) if info.epoch == epoch => failure(
                FailureKind::Busy,
                "the stream does not receive messages yet",
            ),
            Ok(_) => failure(FailureKind::Stale, "the log has another epoch"),
            Err(error) => {
                failure(FailureKind::Unavailable, "the stream does not answer").caused_by(error)
            }
        }
    }

    /// Appends a batch message by message.
    async fn store_all(&self, batch: Batch<'_>) -> Result<Committed, Failure> {
        let mut drafts = batch.drafts;
        let mut label = Label {
            origin: batch.origin,
            first_number: batch.first_number,
            count: drafts.len(),
        };
        let (mut last, mut added) = (0, 0);
        let room = self.stream.room();
        while !drafts.is_empty() {
            let is_first = drafts.len() == batch.drafts.len();
            label.count = message::fitting(drafts, room).ok_or_else(|| self.too_large(room))?;
            let stored = self.store(batch.epoch, label, &drafts[..label.count]).await;
            let (sequence, found) = stored.map_err(|failure| match is_first {
                true => failure,
                false => once_begun(failure),
            })?;
            added += if found.is_some() { 0 } else { label.count };
            let done = found.unwrap_or(label.count).min(drafts.len());
            (last, drafts) = (last_of(sequence), &drafts[done..]);
            label.first_number += done as u64;
        }
        Ok(Committed { last, added })
    }

    fn too_large(&self, room: usize) -> Failure {
        Failure::refused(format!(
            "an event is larger than {room} bytes, the `max_payload` of {} without headers",
            self.stream.link.name
        ))
    }

    /// The drafts that this connection has not appended yet.
    fn new_drafts<'a>(&self, batch: &Batch<'a>) -> Batch<'a> {
        let appended = *lock(&self.appended);
        let is_its = |it: &Appended| (it.epoch, it.origin) == (batch.epoch, batch.origin);
        let number = appended.filter(is_its).map_or(0, |it| it.number);
        let known = (number + 1).saturating_sub(batch.first_number);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        let known = known.min(batch.drafts.len());
        Batch {
            first_number: batch.first_number + known as u64,
            drafts: &batch.drafts[known..],
            ..*batch
        }
    }
}

impl Writer for NatsWriter {
    async fn attach(&self, known: &Known) -> Result<Attached, Failure> {
        let attached = timeout(ATTACH_LIMIT, self.attach_at_last(known)).await;
        let too_long = |_| self.stream.link.lost("an attach takes too long");
        let attached = attached.map_err(too_long)??;
        self.stream.attached.store(attached.epoch, Relaxed);
        Ok(attached)
    }

    async fn append(&self, batch: Batch<'_>) -> Result<Committed, Failure> {
        let new = self.new_drafts(&batch);
        if new.drafts.is_empty() {
            let appended = *lock(&self.appended);
            let last = appended.map_or(0, |appended| appended.sequence);
            return Ok(Committed { last, added: 0 });
        }
        let committed = self.store_all(new).await?;
        *lock(&self.appended) = Some(Appended {
            epoch: batch.epoch,
            origin: batch.origin,
            number: new.first_number + new.drafts.len() as u64 - 1,
            sequence: committed.last,
        });
        Ok(committed)
    }

    async fn head(&self) -> Result<Head, Failure> {
        let none = || Failure::new(FailureKind::Stale, "there is no log");
        let info = self.stream.info().await?.ok_or_else(none)?;
        Ok(Head::new(info.epoch, last_of(info.last)))
    }
}

impl fmt::Debug for NatsWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsWriter")
            .field("server", &self.stream.link.name)
            .field("namespace", &self.stream.settings.namespace)
            .finish_non_exhaustive()
    }
}

/// A failure when the log has a message of the batch does not mean that nothing was done.
fn once_begun(failure: Failure) -> Failure {
    match failure.kind() {
        // The batch is repeated.
        FailureKind::Busy | FailureKind::Lost => failure,
        _ => {
            let message = failure.to_string();
            Failure::new(FailureKind::Lost, message).caused_by(failure)
        }
    }
}

fn milliseconds() -> u64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    let time = time.unwrap_or_default().as_millis();
    time.try_into().unwrap_or(0)
}

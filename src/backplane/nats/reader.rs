//! Reads the log with a consumer of its own.
//!
//! 1. The consumer begins at a message, and delivers on request. A request outlasts a read, so that no entry is lost
//!    when a read is cancelled: later messages wait in the reader.
//! 2. While a request waits, the server sends a heartbeat each second. A consumer that is silent is gone, perhaps with
//!    its stream.
//! 3. In a cluster, a new consumer may receive requests some milliseconds later than it is announced.
//! 4. A message whose epoch differs from the last attach's ends the read. Instances that find a loss at the same time
//!    may create streams one after the other, and the last one may begin at the same sequence as the one before it.
//! 5. The client's own ordered consumer is not used: it hides gaps and new consumers.

use super::{
    link::Link,
    message::{Delivered, message_of},
    stream::Stream,
};
use crate::backplane::{Entry, Failure, Reader, block::Label};
use async_nats::{Message, Subscriber};
use serde::de::IgnoredAny;
use serde_json::json;
use std::{fmt, future::ready, mem, time::Duration};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_stream::StreamExt as _;

/// How long a read waits for an entry.
const WAIT: Duration = Duration::from_secs(5);

const HEARTBEAT: Duration = Duration::from_secs(1);

/// Longer than some heartbeats.
const SILENCE: Duration = Duration::from_secs(4);

/// The time between two requests that no consumer receives.
const PAUSE: Duration = Duration::from_millis(20);

/// Limits of a request.
const MESSAGES: usize = 1024;
const BYTES: usize = 8 << 20;

/// A read returns no more once it has so many entries.
const PAGE: usize = 1024;

/// How long the server keeps a consumer without requests.
const KEPT: Duration = Duration::from_secs(60);

/// Reads a log in NATS JetStream.
pub struct NatsReader {
    stream: Stream,
    consumer: Option<Consumer>,
    /// Entries that no read has returned.
    entries: Vec<Entry>,
    /// The sequence of the last entry that a read has returned.
    position: u64,
}

struct Consumer {
    /// The subject of requests.
    next: String,
    inbox: String,
    messages: Subscriber,
    /// Number of messages that the current request may still deliver.
    left: usize,
    /// When the server was heard last.
    heard: Instant,
    /// Since when no consumer receives requests.
    unreachable: Option<Instant>,
}

impl NatsReader {
    pub(super) fn new(stream: Stream) -> Self {
        Self {
            stream,
            consumer: None,
            entries: Vec::new(),
            position: 0,
        }
    }

    /// Creates a consumer that begins with the message after a sequence, or with the one that has it.
    async fn open(&self, after: u64) -> Result<Consumer, Failure> {
        let (link, namespace) = (&self.stream.link, &self.stream.settings.namespace);
        let name = format!("eventstream-{:016x}", fastrand::u64(..));
        let (inbox, messages) = link.subscribe().await?;
        let consumer = json!({
            "stream_name": namespace,
            "action": "create",
            "config": {
                "name": name,
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": message_of(after.saturating_add(1)).max(1),
                "ack_policy": "none",
                "inactive_threshold": nanoseconds(KEPT),
                "num_replicas": 1,
                "mem_storage": true,
            },
        });
        let request = format!("CONSUMER.CREATE.{namespace}.{name}");
        let created = link.ask::<IgnoredAny>(request, Some(&consumer)).await?;
        created.map_err(|error| Failure::unavailable(link.answered(&error).to_string()))?;
        Ok(Consumer {
            next: format!("$JS.API.CONSUMER.MSG.NEXT.{namespace}.{name}"),
            inbox,
            messages,
            left: 0,
            heard: Instant::now(),
            unreachable: None,
        })
    }

    /// Waits until the deadline for a message or a status, and takes its entries.
    async fn receive(&mut self, deadline: Instant) -> Result<(), Failure> {
        let link = &self.stream.link;
        let Some(consumer) = &mut self.consumer else {
            return Ok(());
        };
        if consumer.left == 0 {
            if consumer.unreachable.is_some() {
                sleep(PAUSE).await;
            }
            consumer.pull(link).await?;
        }
        let silent = consumer.heard + SILENCE;
        let received = tokio::select! {
            biased;
            received = timeout_at(deadline.min(silent), consumer.messages.next()) => received,
            failure = link.ended(&consumer.next) => return Err(failure),
        };
        match received {
            Ok(Some(message)) => self.take(message),
            Ok(None) => Err(link.lost("the subscription ended")),
            Err(_) if silent <= deadline => Err(link.lost("the consumer is silent")),
            Err(_) => Ok(()),
        }
    }

    /// Returns a message that has arrived, without waiting for one.
    async fn arrived(&mut self) -> Option<Message> {
        let consumer = self.consumer.as_mut()?;
        // A timer would wait for a millisecond.
        tokio::select! {
            biased;
            message = consumer.messages.next() => message,
            () = ready(()) => None,
        }
    }

    fn take(&mut self, message: Message) -> Result<(), Failure> {
        let (link, after) = (&self.stream.link, self.position);
        link.check()?;
        if message.status.is_none() && !self.stream.is_current(&message.subject) {
            return Err(link.unavailable("has another stream in place of this one"));
        }
        let Some(consumer) = &mut self.consumer else {
            return Ok(());
        };
        let entries = consumer.take(message).map_err(|text| link.lost(text))?;
        let is_new = |entry: &Entry| {
            let is_beside = message_of(entry.sequence) != message_of(after);
            is_beside || entry.sequence > after
        };
        self.entries.extend(entries.into_iter().filter(is_new));
        Ok(())
    }

    async fn read_page(&mut self, after: u64) -> Result<Vec<Entry>, Failure> {
        if self.consumer.is_none() || after != self.position {
            self.consumer = None;
            self.entries.clear();
            self.consumer = Some(self.open(after).await?);
            self.position = after;
        }
        let deadline = Instant::now() + WAIT;
        while self.entries.is_empty() && Instant::now() < deadline {
            self.receive(deadline).await?;
        }
        while !self.entries.is_empty() && self.entries.len() < PAGE {
            match self.arrived().await {
                Some(message) => self.take(message)?,
                None => break,
            }
        }
        if let Some(last) = self.entries.last() {
            self.position = last.sequence;
        }
        Ok(mem::take(&mut self.entries))
    }
}

impl Consumer {
    async fn pull(&mut self, link: &Link) -> Result<(), Failure> {
        let pull = json!({
            "batch": MESSAGES,
            "max_bytes": BYTES.max(2 * link.max_payload()),
            "expires": nanoseconds(WAIT),
            "idle_heartbeat": nanoseconds(HEARTBEAT),
        });
        link.send(self.next.clone(), self.inbox.clone(), &pull)
            .await?;
        (self.left, self.heard) = (MESSAGES, Instant::now());
        Ok(())
    }

    fn end_request(&mut self) -> Vec<Entry> {
        self.left = 0;
        Vec::new()
    }

    fn may_be_new(&mut self) -> bool {
        let since = self.unreachable.get_or_insert(self.heard);
        since.elapsed() < SILENCE
    }

    /// Returns the entries of a message, and none of a status that ends no more than the request.
    fn take(&mut self, message: Message) -> Result<Vec<Entry>, String> {
        let text = message.description.as_deref().unwrap_or("no description");
        let status = message.status.map(|status| status.as_u16());
        if status != Some(503) {
            (self.heard, self.unreachable) = (Instant::now(), None);
        }
        match status {
            None => {}
            Some(100) => return Ok(Vec::new()),
            Some(404 | 408) => return Ok(self.end_request()),
            Some(409) if ends_request(text) => return Ok(self.end_request()),
            Some(503) if self.may_be_new() => return Ok(self.end_request()),
            Some(status) => return Err(format!("the consumer ended: {status} {text}")),
        }
        self.left = self.left.saturating_sub(1);
        let subject = message.reply.as_deref().unwrap_or_default();
        let delivered = Delivered::parse(subject);
        let delivered =
            delivered.ok_or_else(|| format!("an unexpected message with {subject:?}"))?;
        let header = |name| Some(message.headers.as_ref()?.get(name)?.as_str());
        Ok(delivered.entries(Label::read(header), message.payload))
    }
}

impl Reader for NatsReader {
    async fn read(&mut self, after: u64) -> Result<Vec<Entry>, Failure> {
        let read = self.read_page(after).await;
        if read.is_err() {
            self.consumer = None;
        }
        read
    }
}

impl fmt::Debug for NatsReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NatsReader")
            .field("server", &self.stream.link.name)
            .field("namespace", &self.stream.settings.namespace)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

/// Whether a conflict concerns a request only: its limit of bytes or of messages.
fn ends_request(text: &str) -> bool {
    text.contains("MaxBytes") || text.contains("Batch Completed")
}

fn nanoseconds(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap_or(u64::MAX)
}

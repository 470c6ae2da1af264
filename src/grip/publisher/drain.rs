//! The task that sends a queue: batches, retries, halves.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::endpoint::{self, Endpoint};
use super::error::Failure;
use super::queue::{MAX_BODY, Outcome, Reply, Waiting, too_large};

const HEAD: &[u8] = br#"{"items":["#;
const TAIL: &[u8] = b"]}";

/// Sends the items of one queue until it is empty. If it is dropped before, with its runtime, all items fail,
/// and the next item starts another drain.
pub(super) struct Drain {
    endpoint: Arc<Endpoint>,
    /// The message that did not fit into the last batch.
    carried: Option<Message>,
    finished: bool,
}

/// An encoded item of a batch.
struct Message {
    json: Vec<u8>,
    has_id: bool,
    reply: Reply,
}

#[derive(Default)]
struct Batch {
    messages: Vec<Message>,
    /// Size of all messages, with a comma each.
    bytes: usize,
}

impl Drain {
    pub(super) fn new(endpoint: Arc<Endpoint>) -> Self {
        Self {
            endpoint,
            carried: None,
            finished: false,
        }
    }

    pub(super) async fn run(mut self) {
        while !self.finished {
            let batch = self.next_batch();
            self.endpoint.queue.observer().requesting();
            if batch.messages.is_empty() {
                self.finished = self.endpoint.queue.finish();
            } else {
                self.deliver(batch).await;
            }
        }
    }

    fn next_batch(&mut self) -> Batch {
        let mut batch = Batch::default();
        while let Some(message) = self.next_message() {
            if message.json.len() + HEAD.len() + TAIL.len() >= MAX_BODY {
                message.reply.send(Err(too_large(message.json.len())));
            } else if let Err(message) = batch.push(message) {
                self.carried = Some(message);
                break;
            }
        }
        batch
    }

    fn next_message(&mut self) -> Option<Message> {
        let next = || self.endpoint.queue.pop().map(Message::from);
        self.carried.take().or_else(next)
    }

    /// Sends a batch. Halves of it are sent in order if the proxy refuses the whole.
    async fn deliver(&self, batch: Batch) {
        let mut parts = vec![batch];
        while let Some(part) = parts.pop() {
            if let Some([first, second]) = self.send(part).await {
                parts.extend([second, first]);
            }
        }
    }

    /// Sends until every message has its outcome, or returns the halves that must be sent instead.
    async fn send(&self, mut batch: Batch) -> Option<[Batch; 2]> {
        for attempt in 0.. {
            self.expire(&mut batch);
            let deadline = batch.last_deadline()?;
            let answer = timeout_at(deadline, self.endpoint.post(batch.body())).await;
            let answer = answer.unwrap_or_else(|_| Err(self.timed_out()));
            self.endpoint.was_answered(&answer);
            let failure = match answer {
                Ok(response) => {
                    batch.answer(&Ok(()));
                    endpoint::finish(response).await;
                    return None;
                }
                Err(failure) => failure,
            };
            if failure.is_about_content() && batch.messages.len() > 1 {
                return Some(batch.halves());
            }
            let pause = pause(attempt);
            self.fail(
                batch.take_unretryable(&failure, Instant::now() + pause),
                failure,
            );
            if batch.messages.is_empty() {
                return None;
            }
            sleep(pause).await;
        }
        None
    }

    fn expire(&self, batch: &mut Batch) {
        let now = Instant::now();
        let expired = batch.take(|message| message.reply.deadline <= now);
        self.fail(expired, self.timed_out());
    }

    fn fail(&self, batch: Batch, failure: Failure) {
        #[cfg(feature = "tracing")]
        if !batch.messages.is_empty() {
            let (endpoint, items) = (&*self.endpoint.name, batch.messages.len());
            tracing::warn!(endpoint, items, kind = ?failure.kind, "publishing failed");
        }
        batch.answer(&Err(failure));
    }

    fn timed_out(&self) -> Failure {
        self.endpoint.queue.limits().timed_out()
    }
}

impl Drop for Drain {
    fn drop(&mut self) {
        if !self.finished {
            self.endpoint.queue.abandon();
        }
    }
}

impl From<Waiting> for Message {
    fn from(Waiting { item, reply }: Waiting) -> Self {
        // Cannot fail: strings, maps with string keys, and an infallible writer.
        let json = serde_json::to_vec(&*item).unwrap_or_default();
        let has_id = item.has_id();
        Self {
            json,
            has_id,
            reply,
        }
    }
}

impl Batch {
    /// Adds a message, or returns it if the body would be too large.
    fn push(&mut self, message: Message) -> Result<(), Message> {
        let bytes = self.bytes + message.json.len() + 1;
        if HEAD.len() + bytes + TAIL.len() > MAX_BODY {
            return Err(message);
        }
        self.bytes = bytes;
        self.messages.push(message);
        Ok(())
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(HEAD.len() + self.bytes + TAIL.len());
        body.extend_from_slice(HEAD);
        for (n, message) in self.messages.iter().enumerate() {
            if n > 0 {
                body.push(b',');
            }
            body.extend_from_slice(&message.json);
        }
        body.extend_from_slice(TAIL);
        body
    }

    fn last_deadline(&self) -> Option<Instant> {
        self.messages
            .iter()
            .map(|message| message.reply.deadline)
            .max()
    }

    /// Takes the messages that must not be sent again at `next`.
    fn take_unretryable(&mut self, failure: &Failure, next: Instant) -> Self {
        let all_have_ids = self.messages.iter().all(|message| message.has_id);
        // A second delivery must be impossible, or harmless since the items have ids.
        let again = failure.is_before_sending() || (all_have_ids && failure.is_transient());
        self.take(|message| !again || message.reply.retry_until <= next)
    }

    fn take(&mut self, condition: impl Fn(&Message) -> bool) -> Self {
        let messages = std::mem::take(&mut self.messages);
        let (taken, kept): (Vec<_>, Vec<_>) = messages.into_iter().partition(condition);
        *self = Self::from(kept);
        Self::from(taken)
    }

    fn halves(mut self) -> [Self; 2] {
        let second = self.messages.split_off(self.messages.len() / 2);
        [Self::from(self.messages), Self::from(second)]
    }

    fn answer(self, outcome: &Outcome) {
        for message in self.messages {
            message.reply.send(outcome.clone());
        }
    }
}

impl From<Vec<Message>> for Batch {
    fn from(messages: Vec<Message>) -> Self {
        let bytes = messages.iter().map(|message| message.json.len() + 1).sum();
        Self { messages, bytes }
    }
}

/// Exponential backoff up to a second, with jitter, so that publishers do not retry at the same time.
fn pause(attempt: u32) -> Duration {
    let longest = Duration::from_millis(50 << attempt.min(4)).min(Duration::from_secs(1));
    longest.mul_f64(0.5 + fastrand::f64() / 2.0)
}

#[cfg(test)]
mod tests {
    use super::super::error::FailureKind;
    use super::super::queue::{Limits, Queue};
    use super::*;
    use crate::grip::{GripConfig, Item};

    const LIMITS: Limits = Limits {
        timeout: Duration::from_secs(9),
        items: 9,
        bytes: usize::MAX,
    };

    fn message(size: usize, id: Option<&str>) -> Message {
        let item = Item::stream("c", vec![b'x'; size]);
        let item = id.map_or(item.clone(), |id| item.id(id));
        let queue = Queue::new(LIMITS, &"proxy".into());
        queue.push(Arc::new(item)).ok().unwrap();
        queue.pop().unwrap().into()
    }

    #[test]
    fn a_batch_takes_messages_up_to_the_size_of_a_request() {
        let mut batch = Batch::default();
        assert!(batch.push(message(10, None)).is_ok());
        // The frame of two items takes 125 bytes.
        assert!(batch.push(message(MAX_BODY - 10 - 126, None)).is_ok());
        assert_eq!(batch.body().len(), MAX_BODY - 1);
        assert!(batch.push(message(1, None)).is_err());

        let mut batch = Batch::default();
        assert!(batch.push(message(10, None)).is_ok());
        assert!(batch.push(message(MAX_BODY - 10 - 125, None)).is_err());
        assert_eq!(batch.messages.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn expired_messages_are_taken_out_of_a_batch() {
        let config = GripConfig::new("http://127.0.0.1:9");
        let endpoint = Endpoint::new(&config, LIMITS);
        let drain = Drain::new(Arc::new(endpoint.ok().unwrap()));
        let first = message(1, None);
        tokio::time::advance(Duration::from_secs(1)).await;
        let mut batch = Batch::from(vec![first, message(2, None)]);
        tokio::time::advance(LIMITS.timeout - Duration::from_secs(1)).await;
        drain.expire(&mut batch);
        assert_eq!(batch.messages.len(), 1);
        assert_eq!(batch.bytes, batch.messages[0].json.len() + 1);
        tokio::time::advance(Duration::from_secs(1)).await;
        drain.expire(&mut batch);
        assert_eq!(batch.last_deadline(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_that_deliver_once_take_a_third_of_the_time_limit() {
        let third = Instant::now() + LIMITS.timeout / 3;
        let before = third - Duration::from_millis(1);
        let refused = Failure::new(FailureKind::Connect, "");
        let broken = Failure::new(FailureKind::Transport, "");
        let table = [
            (&refused, &[None][..], before, 0),
            (&refused, &[None], third, 1),
            (&broken, &[None], before, 1),
            (&broken, &[Some("1")], before, 0),
            (&broken, &[Some("1")], third, 1),
            (&broken, &[Some("1"), None], before, 2),
        ];
        for (failure, ids, next, hopeless) in table {
            let messages = ids.iter().map(|id| message(1, *id));
            let mut batch = Batch::from(messages.collect::<Vec<_>>());
            let taken = batch.take_unretryable(failure, next).messages.len();
            assert_eq!(
                (taken, batch.messages.len()),
                (hopeless, ids.len() - hopeless)
            );
        }
    }

    #[test]
    fn pauses_grow_up_to_a_second_and_have_jitter() {
        for (attempt, longest) in [(0, 50), (1, 100), (4, 800), (5, 800), (u32::MAX, 800)] {
            let longest = Duration::from_millis(longest);
            let pauses: Vec<_> = (0..50).map(|_| pause(attempt)).collect();
            assert!(
                pauses
                    .iter()
                    .all(|&pause| longest / 2 <= pause && pause <= longest)
            );
            assert!(pauses.iter().any(|&pause| pause != pauses[0]));
        }
    }
}

//! The drafts of one instance, from the publish until they were read back from the log.
//!
//! 1. A draft waits, is sent in a batch, is acknowledged, and is applied when the instance reads it from the log. Its
//!    order never changes.
//! 2. A batch gets its numbers when it is formed. It is repeated with the same numbers until the engine acknowledges
//!    or refuses it, or until all its drafts have expired.
//! 3. Every draft has one outcome, at the latest when it expires: a receipt never waits forever.

use super::{Committed, Draft, Failure};
use crate::{
    Error, ErrorKind, LastEventId, local::Delivered, lock::lock, observe::BackplaneObserver, trace,
};
use std::{
    collections::VecDeque,
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{
    sync::{Notify, oneshot},
    time::{Instant, sleep, sleep_until, timeout},
};

/// The time from a publish until its outcome.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer a publish waits for the driver.
const GRACE: Duration = Duration::from_secs(1);

/// The time between two looks at an outbox that is to be flushed, which happens once in its life.
const FLUSH: Duration = Duration::from_millis(5);

/// Limits of the drafts that wait.
const MAX_DRAFTS: usize = 16_384;
const MAX_BYTES: usize = 64 << 20;

/// Limits of a batch. A larger draft is a batch of its own.
const BATCH_DRAFTS: usize = 512;
const BATCH_BYTES: usize = 1 << 20;

/// The result of a draft.
pub(crate) type Outcome = Result<Applied, Unpublished>;

/// Resolves to the outcome of a draft.
pub(crate) type Receipt = oneshot::Receiver<Outcome>;

/// A draft that is in the log.
#[derive(Default)]
pub(crate) struct Applied {
    /// `None` for an event with an id of its own, without history, and for a draft that was not read back.
    pub(crate) id: Option<LastEventId>,
    pub(crate) delivered: Delivered,
    /// Whether this instance has not read it back in time, so that its proxies do not have it.
    pub(crate) is_unread: bool,
}

/// A draft that is not in the log, as far as is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unpublished {
    /// Whether an attempt may have succeeded.
    pub(crate) may_be_published: bool,
    pub(crate) reason: Arc<str>,
}

#[derive(Default)]
pub(super) struct Outbox {
    pub(super) observer: BackplaneObserver,
    state: Mutex<State>,
    /// Notified when a draft is pushed.
    pushed: Notify,
    /// Notified when a draft is pushed and no other had a deadline.
    began: Notify,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    bytes: usize,
    /// The largest draft that the engine accepts.
    max_draft: Option<usize>,
    /// Why there is no connection to the engine.
    failure: Option<String>,
    sent: Option<Sent>,
    acknowledged: VecDeque<Acknowledged>,
    /// The number of the last draft of all batches.
    last_number: u64,
    last_acknowledged: u64,
    /// The last append that the engine has acknowledged.
    appended: Option<Appended>,
}

/// Where the engine has appended a draft.
#[derive(Clone, Copy)]
struct Appended {
    number: u64,
    epoch: u64,
    sequence: u64,
}

struct Reply {
    sender: Option<oneshot::Sender<Outcome>>,
    deadline: Instant,
}

struct Waiting {
    draft: Draft,
    reply: Reply,
    /// Number of drafts after it that belong into the same batch.
    following: usize,
}

struct Sent {
    first_number: u64,
    drafts: Arc<[Draft]>,
    replies: Vec<Reply>,
    /// Whether an attempt runs.
    is_running: bool,
    /// Whether the answer to an attempt is missing.
    is_uncertain: bool,
}

struct Acknowledged {
    number: u64,
    epoch: u64,
    /// At most this sequence.
    sequence: u64,
    reply: Reply,
}

/// A batch to append.
pub(super) struct Outgoing {
    pub(super) first_number: u64,
    pub(super) drafts: Arc<[Draft]>,
}

impl Reply {
    fn send(mut self, outcome: Outcome, observer: &BackplaneObserver) {
        let Some(sender) = self.sender.take() else {
            return;
        };
        if outcome.is_err() {
            observer.unpublished();
        }
        // The receiver is gone if the publish was dropped, or if nothing waits for its outcome.
        if let Err(Err(unpublished)) = sender.send(outcome) {
            trace::event!(
                error,
                reason = &*unpublished.reason,
                may_be_published = unpublished.may_be_published,
                "an event was not published to the backplane"
            );
            let _ = unpublished;
        }
    }

    /// Leaves a reply that has been sent.
    fn take(&mut self) -> Self {
        let (sender, deadline) = (self.sender.take(), self.deadline);
        Self { sender, deadline }
    }
}

impl Unpublished {
    pub(super) fn new(may_be_published: bool, reason: impl fmt::Display) -> Self {
        Self {
            may_be_published,
            reason: reason.to_string().into(),
        }
    }

    /// `failure` is the reason why there is no connection.
    fn timed_out(may_be_published: bool, failure: Option<&str>) -> Self {
        let text = format!("the engine did not answer within {TIMEOUT:?}");
        match failure {
            Some(failure) => Self::new(may_be_published, format_args!("{text}: {failure}")),
            None => Self::new(may_be_published, text),
        }
    }
}

/// A draft that is in the log, and that the proxies have.
pub(crate) struct Finished {
    pub(crate) id: Option<LastEventId>,
    /// The number of subscribers in this process. `None` if it was not read back.
    pub(crate) subscribers: Option<usize>,
}

/// Waits until a draft is in the log, and until the proxies have it.
pub(crate) async fn finish(receipt: Receipt) -> Result<Finished, Error> {
    // The driver gives each draft an outcome, unless its runtime stands still or has ended.
    let outcome = timeout(TIMEOUT + GRACE, receipt).await.ok();
    let outcome = outcome.and_then(Result::ok);
    let text = "the driver of the backplane does not run";
    let lost = || Err(Unpublished::new(true, text));
    let Applied {
        id,
        delivered,
        is_unread,
    } = outcome.unwrap_or_else(lost)?;
    if is_unread {
        trace::event!(
            warn,
            "an event is in the log, but this instance has not read it back in time"
        );
    }
    let subscribers = (!is_unread).then_some(delivered.appended.subscribers);
    delivered.finish().await?;
    Ok(Finished { id, subscribers })
}

impl From<Unpublished> for Error {
    fn from(unpublished: Unpublished) -> Self {
        let (kind, text) = match unpublished.may_be_published {
            true => (ErrorKind::MaybePublished, "may have been published"),
            false => (ErrorKind::NotPublished, "was not published"),
        };
        Self::new(kind, format!("the event {text}: {}", unpublished.reason))
    }
}

impl Outbox {
    /// Queues drafts, which go into one batch as far as its limits allow.
    pub(super) fn push(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, Unpublished> {
        let deadline = Instant::now() + TIMEOUT;
        let mut state = self.lock();
        let bytes: usize = drafts.iter().map(size).sum();
        drafts
            .iter()
            .try_for_each(|draft| state.check_size(draft))?;
        state.check_room(drafts.len(), bytes)?;
        let is_first = !state.has_deadline();
        state.bytes += bytes;
        let count = drafts.len();
        let drafts = drafts.into_iter().enumerate().map(|(index, draft)| {
            let (sender, receipt) = oneshot::channel();
            let sender = Some(sender);
            let reply = Reply { sender, deadline };
            let following = count - 1 - index;
            state.waiting.push_back(Waiting {
                draft,
                reply,
                following,
            });
            receipt
        });
        let receipts = drafts.collect();
        drop(state);
        self.pushed.notify_one();
        if is_first {
            self.began.notify_one();
        }
        Ok(receipts)
    }

    /// A larger draft is refused when it is pushed, or now: in a batch, the engine would refuse its neighbours too.
    pub(super) fn limit(&self, max_draft: Option<usize>) {
        let mut state = self.lock();
        state.max_draft = max_draft;
        let refused = state.take_too_large();
        drop(state);
        for (reply, error) in refused {
            reply.send(Err(error), &self.observer);
        }
    }

    /// Records why there is no connection to the engine, or that there is one.
    pub(super) fn connection(&self, failure: Option<String>) {
        self.lock().failure = failure;
    }

    /// Whether a draft of the batch that was sent has no outcome yet.
    pub(super) fn wants_sent(&self) -> bool {
        self.lock().sent.as_ref().is_some_and(Sent::is_wanted)
    }

    /// Waits until no draft is without an outcome.
    pub(super) async fn idle(&self) {
        while self.len() > 0 {
            sleep(FLUSH).await;
        }
    }

    fn is_flushed(&self) -> bool {
        let state = self.lock();
        state.waiting.is_empty() && !state.sent.as_ref().is_some_and(Sent::is_wanted)
    }

    /// Waits until every draft was appended, or has failed.
    pub(super) async fn flush(&self) {
        while !self.is_flushed() {
            sleep(FLUSH).await;
        }
    }

    /// Number of drafts without an outcome.
    pub(super) fn len(&self) -> usize {
        let state = self.lock();
        let sent = state.sent.as_ref().map_or(0, |sent| sent.replies.len());
        state.waiting.len() + sent + state.acknowledged.len()
    }

    pub(super) fn last_acknowledged(&self) -> u64 {
        self.lock().last_acknowledged
    }

    /// The sequence of the last acknowledged number, if the engine has appended it in this epoch.
    pub(super) fn acknowledged_at(&self, epoch: u64, number: u64) -> Option<u64> {
        let appended = self.lock().appended?;
        let is_it = (appended.epoch, appended.number) == (epoch, number);
        is_it.then_some(appended.sequence)
    }

    /// Returns the batch that has no outcome yet, or forms the next one. Waits for a draft.
    pub(super) async fn next(&self) -> Outgoing {
        loop {
            let pushed = self.pushed.notified();
            if let Some(batch) = self.lock().next() {
                return batch;
            }
            pushed.await;
        }
    }

    /// The engine has appended the batch.
    pub(super) fn acknowledge(&self, epoch: u64, committed: Committed) {
        let mut state = self.lock();
        let Some(sent) = state.sent.take() else {
            return;
        };
        let last = sent.first_number + sent.replies.len() as u64 - 1;
        state.last_acknowledged = state.last_acknowledged.max(last);
        state.appended = Some(Appended {
            number: last,
            epoch,
            sequence: committed.last,
        });
        for (number, reply) in (sent.first_number..).zip(sent.replies) {
            if reply.sender.is_some() {
                let sequence = committed.last.saturating_sub(last - number);
                state.acknowledged.push_back(Acknowledged {
                    number,
                    epoch,
                    sequence,
                    reply,
                });
            }
        }
    }

    /// The engine has refused the batch, and has not appended it now.
    pub(super) fn refuse(&self, failure: &Failure) {
        let sent = self.lock().sent.take();
        if let Some(sent) = sent {
            sent.fail(failure, &self.observer);
        }
        self.measure();
    }

    /// An attempt to append the batch has failed. `is_lost`: its answer is missing.
    pub(super) fn retry(&self, is_lost: bool) {
        if let Some(sent) = &mut self.lock().sent {
            sent.is_running = false;
            sent.is_uncertain |= is_lost;
        }
    }

    /// The instance has read its draft with this number. `applied` is called if somebody waits for it.
    pub(super) fn apply(&self, number: u64, applied: Applied) {
        let mut state = self.lock();
        let unread = state.take_acknowledged(|one| one.number < number);
        let reply = state.take_reply(number);
        state.last_acknowledged = state.last_acknowledged.max(number);
        drop(state);
        for one in unread {
            one.reply.send(Ok(Applied::unread()), &self.observer);
        }
        if let Some(reply) = reply {
            reply.send(Ok(applied), &self.observer);
        }
    }

    /// The log begins after the sequence `base` of `epoch`: earlier acknowledged drafts will not be read.
    pub(super) fn begin(&self, epoch: u64, base: u64) {
        let mut state = self.lock();
        let acknowledged = mem::take(&mut state.acknowledged);
        let is_left = |one: &Acknowledged| one.epoch == epoch && one.sequence > base;
        let (left, gone): (Vec<_>, Vec<_>) = acknowledged.into_iter().partition(is_left);
        state.acknowledged = left.into();
        drop(state);
        for one in gone {
            let text = "the engine has lost the end of its log";
            let outcome = match one.epoch == epoch {
                true => Ok(Applied::unread()),
                false => Err(Unpublished::new(true, text)),
            };
            one.reply.send(outcome, &self.observer);
        }
        self.measure();
    }

    /// Gives each draft its outcome when it expires.
    pub(super) async fn expire(&self) {
        loop {
            let began = self.began.notified();
            let deadline = self.lock().next_deadline();
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => began.await,
            }
            self.expire_until(Instant::now());
        }
    }

    fn expire_until(&self, now: Instant) {
        let expired = self.lock().take_expired(now);
        for (reply, outcome) in expired {
            reply.send(outcome, &self.observer);
        }
        self.measure();
    }

    /// Nobody appends any more: every draft gets an outcome.
    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        let (waiting, sent) = (mem::take(&mut state.waiting), state.sent.take());
        let acknowledged = mem::take(&mut state.acknowledged);
        state.bytes = 0;
        drop(state);
        let reason = "the tokio runtime that was publishing shut down";
        if let Some(mut sent) = sent {
            sent.is_uncertain = true;
            sent.fail(reason, &self.observer);
        }
        for one in waiting {
            let outcome = Err(Unpublished::new(false, reason));
            one.reply.send(outcome, &self.observer);
        }
        for one in acknowledged {
            one.reply.send(Ok(Applied::unread()), &self.observer);
        }
        self.measure();
    }

    /// Records the number of drafts without an outcome, after it has changed.
    pub(super) fn measure(&self) {
        self.observer.queued(self.len());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Applied {
    fn unread() -> Self {
        Self {
            is_unread: true,
            ..Self::default()
        }
    }
}

impl Sent {
    /// Whether a draft has no outcome yet.
    fn is_wanted(&self) -> bool {
        self.replies.iter().any(|reply| reply.sender.is_some())
    }

    fn fail(self, reason: impl fmt::Display, observer: &BackplaneObserver) {
        let outcome = Unpublished::new(self.is_uncertain, reason);
        for reply in self.replies {
            reply.send(Err(outcome.clone()), observer);
        }
    }
}

impl State {
    fn check_size(&self, draft: &Draft) -> Result<(), Unpublished> {
        let size = size(draft);
        match self.max_draft.filter(|max| size > *max) {
            Some(max) => Err(Unpublished::new(
                false,
                format_args!("it has {size} bytes, and the engine accepts at most {max}"),
            )),
            None => Ok(()),
        }
    }

    fn take_too_large(&mut self) -> Vec<(Reply, Unpublished)> {
        let (mut left, mut refused) = (VecDeque::new(), Vec::new());
        for one in mem::take(&mut self.waiting) {
            match self.check_size(&one.draft) {
                Ok(()) => left.push_back(one),
                Err(error) => {
                    self.bytes -= size(&one.draft);
                    refused.push((one.reply, error));
                }
            }
        }
        self.waiting = left;
        refused
    }

    fn check_room(&self, drafts: usize, bytes: usize) -> Result<(), Unpublished> {
        let waiting = self.waiting.len();
        if waiting + drafts > MAX_DRAFTS && waiting > 0 {
            let text =
                format!("{waiting} events wait for the engine, and at most {MAX_DRAFTS} may");
            return Err(Unpublished::new(false, text));
        }
        if self.bytes + bytes > MAX_BYTES && self.bytes > 0 {
            let text = format!(
                "{} bytes wait for the engine, and at most {MAX_BYTES} may",
                self.bytes
            );
            return Err(Unpublished::new(false, text));
        }
        Ok(())
    }

    fn next(&mut self) -> Option<Outgoing> {
        if !self.sent.as_ref().is_some_and(Sent::is_wanted) {
            self.sent = self.form();
        }
        let sent = self.sent.as_mut()?;
        // An attempt that runs still was cancelled with its session.
        sent.is_uncertain |= sent.is_running;
        sent.is_running = true;
        Some(Outgoing {
            first_number: sent.first_number,
            drafts: sent.drafts.clone(),
        })
    }

    fn form(&mut self) -> Option<Sent> {
        let (mut drafts, mut replies, mut bytes) = (Vec::new(), Vec::new(), 0);
        // Whether the previous draft is to be followed by the next one.
        let mut has_begun = false;
        while let Some(first) = self.waiting.front() {
            // Neighbours that do not fit begin the next batch. A longer list is split.
            let needed = if has_begun { 0 } else { first.following };
            let has_room =
                drafts.len() + needed < BATCH_DRAFTS && bytes + size(&first.draft) <= BATCH_BYTES;
            if !drafts.is_empty() && !has_room {
                break;
            }
            let waiting = self.waiting.pop_front()?;
            has_begun = waiting.following > 0;
            bytes += size(&waiting.draft);
            drafts.push(waiting.draft);
            replies.push(waiting.reply);
        }
        if drafts.is_empty() {
            return None;
        }
        self.bytes -= bytes;
        let first_number = self.last_number + 1;
        self.last_number += drafts.len() as u64;
        Some(Sent {
            first_number,
            drafts: drafts.into(),
            replies,
            is_running: false,
            is_uncertain: false,
        })
    }

    /// Takes the first acknowledged drafts for which this holds.
    fn take_acknowledged(
        &mut self,
        is_taken: impl Fn(&&Acknowledged) -> bool,
    ) -> Vec<Acknowledged> {
        let count = self.acknowledged.iter().take_while(is_taken).count();
        self.acknowledged.drain(..count).collect()
    }

    fn take_reply(&mut self, number: u64) -> Option<Reply> {
        let first = self.acknowledged.front();
        if first.is_some_and(|first| first.number == number) {
            return self.acknowledged.pop_front().map(|first| first.reply);
        }
        // The log has it, but the answer to the append is not here yet.
        let sent = self.sent.as_mut()?;
        let index = number.checked_sub(sent.first_number)?;
        let reply = sent.replies.get_mut(usize::try_from(index).ok()?)?;
        Some(reply.take())
    }

    fn has_deadline(&self) -> bool {
        // A sent batch comes last: its replies may all be gone, and each is looked at.
        !self.waiting.is_empty()
            || !self.acknowledged.is_empty()
            || self.sent.as_ref().is_some_and(Sent::is_wanted)
    }

    fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|one| &one.reply);
        let sent = self.sent.iter().flat_map(|sent| &sent.replies);
        let sent = sent.filter(|reply| reply.sender.is_some());
        let acknowledged = self.acknowledged.front().map(|one| &one.reply);
        let replies = waiting.into_iter().chain(sent.take(1)).chain(acknowledged);
        replies.map(|reply| reply.deadline).min()
    }

    fn take_expired(&mut self, now: Instant) -> Vec<(Reply, Outcome)> {
        let acknowledged = self.take_acknowledged(|one| one.reply.deadline <= now);
        let unread = |one: Acknowledged| (one.reply, Ok(Applied::unread()));
        let mut expired: Vec<_> = acknowledged.into_iter().map(unread).collect();
        let failure = self.failure.as_deref();
        if let Some(sent) = &mut self.sent {
            // As long as one draft is wanted, the whole batch is repeated.
            let is_wanted = |reply: &Reply| reply.deadline > now && reply.sender.is_some();
            let is_repeated = sent.replies.iter().any(is_wanted);
            let may_be_published = sent.is_uncertain || sent.is_running || is_repeated;
            let outcome = || Err(Unpublished::timed_out(may_be_published, failure));
            let is_over = |reply: &&mut Reply| reply.deadline <= now && reply.sender.is_some();
            let over = sent.replies.iter_mut().filter(is_over);
            expired.extend(over.map(|reply| (reply.take(), outcome())));
        }
        let is_over = |one: &&Waiting| one.reply.deadline <= now;
        let count = self.waiting.iter().take_while(is_over).count();
        for one in self.waiting.drain(..count) {
            self.bytes -= size(&one.draft);
            expired.push((one.reply, Err(Unpublished::timed_out(false, failure))));
        }
        expired
    }
}

fn size(draft: &Draft) -> usize {
    draft.channel.len() + draft.payload.len()
}

#[cfg(test)]
mod tests {
    use super::{super::FailureKind, *};

    fn drafts(texts: &[&'static str]) -> Vec<Draft> {
        texts.iter().map(|text| Draft::new("a", *text)).collect()
    }

    fn push(outbox: &Outbox, texts: &[&'static str]) -> Vec<Receipt> {
        outbox.push(drafts(texts)).unwrap()
    }

    fn next(outbox: &Outbox) -> Option<(u64, Vec<&'static str>)> {
        let batch = outbox.lock().next()?;
        let texts = batch.drafts.iter().map(|draft| {
            let text = String::from_utf8(draft.payload.to_vec()).unwrap();
            &*text.leak()
        });
        Some((batch.first_number, texts.collect()))
    }

    /// `1`: published, `?`: in the log but not read back, `m`: maybe published, `n`: not published, `-`: no outcome.
    fn outcomes(receipts: &mut [Receipt]) -> String {
        let outcome = |receipt: &mut Receipt| match receipt.try_recv() {
            Ok(Ok(applied)) if applied.is_unread => '?',
            Ok(Ok(_)) => '1',
            Ok(Err(unpublished)) if unpublished.may_be_published => 'm',
            Ok(Err(_)) => 'n',
            Err(_) => '-',
        };
        receipts.iter_mut().map(outcome).collect()
    }

    #[test]
    fn a_batch_is_repeated_with_its_numbers_until_it_is_acknowledged() {
        let outbox = Outbox::default();
        let mut receipts = push(&outbox, &["one", "two"]);
        assert_eq!(next(&outbox), Some((1, vec!["one", "two"])));
        receipts.extend(push(&outbox, &["three"]));
        outbox.retry(true);
        assert_eq!(next(&outbox), Some((1, vec!["one", "two"])));
        outbox.acknowledge(7, Committed::new(12, 0));
        assert_eq!(outbox.last_acknowledged(), 2);
        assert_eq!(outbox.acknowledged_at(7, 2), Some(12));
        assert_eq!(outbox.acknowledged_at(8, 2), None, "of another epoch");
        assert_eq!(outbox.acknowledged_at(7, 3), None);
        assert_eq!(next(&outbox), Some((3, vec!["three"])));
        outbox.acknowledge(7, Committed::new(13, 1));
        assert_eq!(next(&outbox), None);
        assert!(outbox.is_flushed());
        for number in 1..=3 {
            outbox.apply(number, Applied::default());
        }
        assert_eq!(outcomes(&mut receipts), "111");
        assert_eq!(outbox.len(), 0);
    }

    #[test]
    fn a_draft_may_be_read_before_its_acknowledgement() {
        let outbox = Outbox::default();
        let mut receipts = push(&outbox, &["one", "two"]);
        next(&outbox);
        outbox.apply(1, Applied::default());
        outbox.apply(2, Applied::default());
        assert_eq!(outcomes(&mut receipts), "11");
        assert_eq!(outbox.last_acknowledged(), 2);
        outbox.retry(true);
        assert_eq!(next(&outbox), None, "nobody waits for the batch");
    }

    #[test]
    fn neighbours_are_in_one_batch() {
        let outbox = Outbox::default();
        let names: Vec<_> = vec!["x"; BATCH_DRAFTS - 1];
        push(&outbox, &names);
        push(&outbox, &["one", "two"]);
        let lengths = || {
            next(&outbox).map(|(first, texts)| {
                outbox.acknowledge(1, Committed::new(1, 1));
                (first, texts.len())
            })
        };
        assert_eq!(lengths(), Some((1, BATCH_DRAFTS - 1)));
        assert_eq!(lengths(), Some((BATCH_DRAFTS as u64, 2)));
        let names: Vec<_> = vec!["x"; 2 * BATCH_DRAFTS + 1];
        push(&outbox, &names);
        let long = (0..3).map(|_| lengths().map_or(0, |(_, length)| length));
        let sum: usize = long.sum();
        assert_eq!(sum, 2 * BATCH_DRAFTS + 1, "a longer list is split");
    }

    #[test]
    fn a_large_draft_is_a_batch_of_its_own() {
        let outbox = Outbox::default();
        let large = || vec![Draft::new("a", vec![b'x'; BATCH_BYTES + 1])];
        for draft in [drafts(&["one"]), large(), large(), drafts(&["two"])] {
            outbox.push(draft).unwrap();
        }
        let lengths = (0..4).map(|_| {
            let length = outbox.lock().next().unwrap().drafts.len();
            outbox.acknowledge(1, Committed::new(1, 1));
            length
        });
        assert_eq!(lengths.collect::<Vec<_>>(), [1, 1, 1, 1]);
    }

    #[test]
    fn a_refusal_says_what_has_happened() {
        for (is_lost, expected) in [(false, "nn"), (true, "mm")] {
            let outbox = Outbox::default();
            let mut receipts = push(&outbox, &["one", "two"]);
            next(&outbox);
            outbox.retry(is_lost);
            next(&outbox);
            outbox.refuse(&Failure::new(FailureKind::Refused, "full"));
            assert_eq!(outcomes(&mut receipts), expected);
            assert_eq!(next(&outbox), None);
        }
    }

    #[test]
    fn an_expired_draft_says_what_has_happened() {
        let later = Instant::now() + 2 * TIMEOUT;
        type Before = fn(&Outbox);
        let cases: [(Before, &str); 5] = [
            (|_| {}, "n"),
            (|outbox| _ = next(outbox), "m"),
            (
                |outbox| {
                    next(outbox);
                    outbox.retry(false)
                },
                "n",
            ),
            (
                |outbox| {
                    next(outbox);
                    outbox.retry(true)
                },
                "m",
            ),
            (
                |outbox| {
                    next(outbox);
                    outbox.acknowledge(1, Committed::new(1, 1))
                },
                "?",
            ),
        ];
        for (index, (before, expected)) in cases.into_iter().enumerate() {
            let outbox = Outbox::default();
            let mut receipts = push(&outbox, &["one"]);
            before(&outbox);
            outbox.expire_until(Instant::now());
            assert_eq!(outcomes(&mut receipts), "-", "{index}: it has not expired");
            outbox.expire_until(later);
            assert_eq!(outcomes(&mut receipts), expected, "{index}");
            assert!(!outbox.lock().has_deadline(), "{index}");
        }
    }

    #[test]
    fn a_lost_end_of_the_log_is_not_a_success() {
        let outbox = Outbox::default();
        let mut receipts = push(&outbox, &["one", "two"]);
        next(&outbox);
        outbox.acknowledge(1, Committed::new(11, 2));
        outbox.begin(1, 10);
        assert_eq!(outcomes(&mut receipts), "?-", "the first one was trimmed");
        receipts.extend(push(&outbox, &["three"]));
        next(&outbox);
        outbox.begin(2, 100);
        assert_eq!(outcomes(&mut receipts[1..]), "m-", "the batch is repeated");
        assert_eq!(next(&outbox), Some((3, vec!["three"])));
    }

    #[test]
    fn drafts_that_were_skipped_have_an_outcome() {
        let outbox = Outbox::default();
        let mut receipts = push(&outbox, &["one", "two"]);
        next(&outbox);
        outbox.acknowledge(1, Committed::new(11, 2));
        outbox.apply(2, Applied::default());
        assert_eq!(outcomes(&mut receipts), "?1");
    }

    #[test]
    fn the_limits_count_what_waits() {
        let outbox = Outbox::default();
        let many: Vec<_> = vec!["x"; MAX_DRAFTS];
        push(&outbox, &many);
        let refused = outbox.push(drafts(&["one"])).err().expect("it is full");
        let is_named = refused.reason.contains("16384");
        assert!(!refused.may_be_published && is_named, "{refused:?}");
        next(&outbox);
        push(&outbox, &["one"]);
        let outbox = Outbox::default();
        let large = Draft::new("a", vec![0; MAX_BYTES]);
        outbox.push(vec![large]).unwrap();
        assert!(outbox.push(drafts(&["one"])).is_err());
    }

    #[test]
    fn a_draft_that_the_engine_would_refuse_is_not_queued() {
        let outbox = Outbox::default();
        outbox.limit(Some(4));
        push(&outbox, &["123"]);
        let refused = outbox.push(drafts(&["1", "1234"])).err();
        let text = "it has 5 bytes, and the engine accepts at most 4";
        assert_eq!(refused, Some(Unpublished::new(false, text)));
        assert_eq!(outbox.len(), 1);
        outbox.limit(None);
        push(&outbox, &["1234"]);
    }

    #[test]
    fn an_abandoned_outbox_has_an_outcome_for_every_draft() {
        let outbox = Outbox::default();
        let mut receipts = push(&outbox, &["one"]);
        next(&outbox);
        outbox.acknowledge(1, Committed::new(1, 1));
        receipts.extend(push(&outbox, &["two"]));
        next(&outbox);
        receipts.extend(push(&outbox, &["three"]));
        outbox.abandon();
        assert_eq!(outcomes(&mut receipts), "?mn");
        assert_eq!(outbox.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn every_draft_expires() {
        let outbox = Arc::new(Outbox::default());
        let (expiring, started) = (outbox.clone(), Instant::now());
        let task = tokio::spawn(async move { expiring.expire().await });
        for _ in 0..2 {
            let receipt = push(&outbox, &["one"]).remove(0);
            let unpublished = receipt.await.unwrap().err().unwrap();
            assert!(!unpublished.may_be_published);
        }
        assert_eq!(started.elapsed().as_secs(), 2 * TIMEOUT.as_secs());
        task.abort();
    }
}

//! Applies the entries of the log to the hub of one instance.

use super::{
    Attached, Content, Entry, Failure, Head, Publication, Seen, outbox::Applied, shared::Shared,
};
use crate::{
    Channel,
    hub::{ChannelLog, Following, Hub},
    local::Local,
    sse::Stored,
    trace,
};
use bytes::Bytes;
use std::{
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};
use tokio::time::Instant;

/// Number of entries after which the readers of the hub run at the latest: a small ring is overrun earlier.
const STEP: usize = 64;

/// `Instant + Duration` may overflow.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

pub(super) struct Follower<'a> {
    shared: &'a Shared,
    local: &'a Weak<Local>,
    seen: Seen,
    /// The engine's clock at the last attach, and ours.
    clock: (SystemTime, Instant),
}

/// An entry that does not follow the last one, begins an epoch, or cannot be read.
pub(super) struct Discontinuity {
    sequence: u64,
    /// Everything up to here is missing.
    previous: u64,
    mark: Bytes,
    is_new_epoch: bool,
}

impl Discontinuity {
    fn new(sequence: u64, previous: u64, mark: Bytes) -> Self {
        Self {
            sequence,
            previous,
            mark,
            is_new_epoch: false,
        }
    }
}

impl<'a> Follower<'a> {
    pub(super) fn new(shared: &'a Shared, local: &'a Weak<Local>) -> Self {
        let nothing = || Seen::new(0, 0, Bytes::new());
        Self {
            shared,
            local,
            seen: shared.seen().unwrap_or_else(nothing),
            clock: shared.clock(),
        }
    }

    /// The sequence of the last entry that the hub has.
    pub(super) fn last(&self) -> u64 {
        self.seen.last
    }

    /// Begins where the log does, unless that follows on what the hub has.
    pub(super) fn place(&mut self, attached: &Attached) -> Result<(), Failure> {
        let before_first = attached.first.map(|first| first.saturating_sub(1));
        let base = before_first.unwrap_or(attached.last);
        match attached.epoch == self.seen.epoch {
            true if base > self.seen.last => self.begin(attached.epoch, base),
            true => Ok(()),
            false => {
                // Above all sequences of earlier epochs. An entry there is the one that begins the epoch, or lost.
                let base = base.max(self.seen.last.saturating_add(1));
                self.begin(attached.epoch, base)?;
                // An epoch without entries may end where the earlier one did. That is no loss for the engine.
                self.advance(base.min(attached.last), self.shared.mark());
                Ok(())
            }
        }
    }

    /// Continues after an attach that was made because of `gap`.
    pub(super) fn pass(&mut self, gap: Discontinuity) -> Result<(), Failure> {
        if gap.previous > self.seen.last {
            // Entries before it were deleted.
            self.begin(self.seen.epoch, gap.previous)?;
        } else if gap.sequence > self.seen.last && gap.is_new_epoch {
            self.advance(gap.sequence, gap.mark);
        }
        // Any other entry is read again.
        Ok(())
    }

    /// The log has no entry after the last one. If its end is `head` nevertheless, entries were deleted there.
    pub(super) fn end_at(&mut self, head: Option<Head>) -> Result<(), Failure> {
        match head {
            Some(head) if head.epoch == self.seen.epoch && head.last > self.seen.last => {
                self.begin(head.epoch, head.last)
            }
            _ => Ok(()),
        }
    }

    /// Everything up to the sequence `base` is lost for the clients of this instance.
    fn begin(&mut self, epoch: u64, base: u64) -> Result<(), Failure> {
        let local = self.local()?;
        local.core.hub.begin(epoch, base);
        self.shared.outbox.begin(epoch, base);
        if self.shared.is_warm() {
            trace::event!(
                warn,
                engine = self.shared.name,
                "entries of the log are lost: clients are reset"
            );
            self.shared.observer().reset();
            local
                .proxies()
                .into_iter()
                .for_each(|proxies| proxies.recover());
        }
        self.seen.epoch = epoch;
        self.advance(base, self.shared.mark());
        Ok(())
    }

    fn advance(&mut self, last: u64, mark: Bytes) {
        (self.seen.last, self.seen.mark) = (last, mark);
        self.shared.see(self.seen.clone());
    }

    /// Ends the cold stage of the hub when it has the log up to `last`.
    pub(super) fn warm_up_after(&self, last: u64) -> Result<(), Failure> {
        if self.seen.last >= last && !self.shared.is_warm() {
            self.local()?.core.hub.warm_up();
            self.shared.warm_up();
        }
        Ok(())
    }

    /// Applies entries in order. Returns the first one that does not follow.
    pub(super) async fn apply(
        &mut self,
        entries: Vec<Entry>,
    ) -> Result<Option<Discontinuity>, Failure> {
        let mut entries = entries.into_iter().peekable();
        while entries.peek().is_some() {
            let local = self.local()?;
            let (congested, gap) = self.apply_some(&local, entries.by_ref().take(STEP));
            if gap.is_some() {
                return Ok(gap);
            }
            match congested {
                Some(log) => Hub::settle(&log).await,
                // A reader that has just subscribed waits for nothing yet.
                None => tokio::task::yield_now().await,
            }
        }
        Ok(None)
    }

    /// Returns a congested log, and the entry that does not follow.
    fn apply_some(
        &mut self,
        local: &Local,
        entries: impl Iterator<Item = Entry>,
    ) -> (Option<Arc<ChannelLog>>, Option<Discontinuity>) {
        let (mut congested, mut gap, mut outcomes) = (None, None, Vec::new());
        self.clock = self.shared.clock();
        let mut following = local.core.hub.follow();
        for entry in entries {
            let Entry {
                sequence,
                previous,
                mark,
                content,
            } = entry;
            let follows = (previous..sequence).contains(&self.seen.last);
            let publication = match content {
                Content::Published(publication) if follows => publication,
                Content::Foreign => {
                    self.skipped(sequence, "no instance of this version has written it");
                    if sequence <= self.seen.last {
                        // It is beside the order of the log.
                        continue;
                    }
                    // It may be a batch in another version's form, so it counts as lost.
                    gap = Some(Discontinuity::new(sequence, sequence, mark));
                    break;
                }
                content => {
                    let is_new_epoch = content == Content::NewEpoch;
                    gap = Some(Discontinuity {
                        is_new_epoch,
                        ..Discontinuity::new(sequence, previous, mark)
                    });
                    break;
                }
            };
            if let Some((number, mut applied)) =
                self.apply_one(local, &mut following, sequence, &publication)
            {
                congested = applied.delivered.appended.congested.take();
                outcomes.extend(number.map(|number| (number, applied)));
            }
            (self.seen.last, self.seen.mark) = (sequence, mark);
            if congested.is_some() {
                break;
            }
        }
        drop(following);
        self.shared.see(self.seen.clone());
        // A publisher that waits for its event finds it in the hub.
        let has_own = !outcomes.is_empty();
        for (number, mut applied) in outcomes {
            applied.delivered.start();
            self.shared.outbox.apply(number, applied);
        }
        if has_own {
            self.shared.outbox.measure();
        }
        (congested, gap)
    }

    /// Returns the number of the draft if it is one of this instance, and its result.
    fn apply_one(
        &self,
        local: &Local,
        following: &mut Following<'_>,
        sequence: u64,
        publication: &Publication,
    ) -> Option<(Option<u64>, Applied)> {
        let (channel, stored) = match read(publication) {
            Ok(read) => read,
            Err((channel, reason)) => {
                self.skipped(sequence, &reason);
                match channel {
                    Some(channel) => following.lose(&channel, sequence),
                    None => following.advance_to(sequence),
                }
                return None;
            }
        };
        let is_own = publication.origin == self.shared.origin;
        let at = self.appended_at(local, publication.at);
        let (id, delivered) = match stored {
            Stored::Event(event) => local.follow(following, &channel, event, sequence, at, is_own),
            Stored::Close => local.follow_close(following, &channel, sequence, is_own),
        };
        let applied = Applied {
            id,
            delivered,
            is_unread: false,
        };
        Some((is_own.then_some(publication.number), applied))
    }

    fn skipped(&self, sequence: u64, reason: &str) {
        trace::event!(
            warn,
            engine = self.shared.name,
            sequence,
            reason,
            "an entry of the log is skipped"
        );
        let _ = (sequence, reason);
        self.shared.observer().skipped();
    }

    /// The time of an append on our clock.
    ///
    /// Clients of a warm hub wait for an entry, however long the engine was away: it must not expire before they read.
    fn appended_at(&self, local: &Local, at: SystemTime) -> Instant {
        let at = self.local_time(at);
        match self.shared.is_warm() {
            true => at.max(local.core.hub.half_expired()),
            false => at,
        }
    }

    /// The time of the engine's clock on ours.
    fn local_time(&self, at: SystemTime) -> Instant {
        let (engine, ours) = self.clock;
        match at.duration_since(engine) {
            Ok(later) => (ours + later.min(YEAR)).min(Instant::now()),
            Err(earlier) => {
                let age = earlier.duration();
                ours.checked_sub(age).unwrap_or(ours)
            }
        }
    }

    fn local(&self) -> Result<Arc<Local>, Failure> {
        let dropped = || Failure::unavailable("the `EventStream` was dropped");
        self.local.upgrade().ok_or_else(dropped)
    }
}

/// Why a draft is skipped. Its channel, if the name is valid, misses an event.
type Unreadable = (Option<Channel>, String);

/// Checks a draft like input: other programs and other versions of this crate can write to the log.
fn read(publication: &Publication) -> Result<(Channel, Stored), Unreadable> {
    let channel = Channel::new(&publication.channel);
    let channel = channel.map_err(|error| (None, error.to_string()))?;
    match Stored::decode(&publication.payload) {
        Ok(stored) => Ok((channel, stored)),
        Err(error) => Err((Some(channel), error.to_string())),
    }
}

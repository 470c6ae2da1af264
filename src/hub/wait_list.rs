//! The wait list of a channel: wakers of readers parked until its next entry.
//!
//! A waiter registers once and stores its waker each time it parks. An append takes all stored wakers,
//! so readers that are already awake cost it nothing.

use super::wake_batch::{MIN_BATCH, WakeBatch};
use slab::Slab;
use std::{collections::VecDeque, mem, task::Waker};

#[derive(Debug)]
pub(crate) struct WaitList {
    registered: usize,
    wakers: Slab<Waker>,
    /// Incremented when all wakers are taken, which invalidates the index of every key at once.
    round: u64,
    /// Incremented by `end_all`: keys of earlier generations have an end.
    generation: u32,
    /// Whether the wakers are about to be taken. Then no waiter counts as parked.
    is_due: bool,
    /// Boxed: few channels are ever closed.
    ends: Option<Box<Ends>>,
}

/// The end of each earlier generation: the last sequence number that its readers return.
#[derive(Debug, Default)]
struct Ends {
    first: u32,
    until: VecDeque<u64>,
}

/// Number of generations whose end is exact. Readers of older ones stop at the oldest end that is kept.
const ENDS: usize = 8;

/// Registration of a waiter. It must be removed from its list when the reader is dropped.
#[derive(Debug)]
#[must_use]
pub(crate) struct WaiterKey {
    /// The round in which it last stored a waker, `UNREGISTERED` or `NEVER_PARKED`.
    round: u64,
    /// Index of its waker in that round.
    index: u32,
    generation: u32,
}

/// Minimum capacity of an emptied slab that is worth reusing.
const MIN_REUSED: usize = 64;

/// The round of an unregistered key, which the list does not count yet.
const UNREGISTERED: u64 = u64::MAX;

/// The round of a registered key before it first parks. The first real round is 1.
const NEVER_PARKED: u64 = 0;

/// Wakers taken from a list, to be woken without a lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wakers(Slab<Waker>);

impl WaitList {
    pub(crate) fn new() -> Self {
        Self {
            registered: 0,
            wakers: Slab::new(),
            round: 1,
            generation: 0,
            is_due: false,
            ends: None,
        }
    }

    /// A key that registers when it first parks.
    pub(crate) fn new_key(&self) -> WaiterKey {
        WaiterKey {
            round: UNREGISTERED,
            index: 0,
            generation: self.generation,
        }
    }

    /// Registers a waiter, which counts as awake until it parks.
    pub(crate) fn register(&mut self) -> WaiterKey {
        self.registered += 1;
        WaiterKey {
            round: NEVER_PARKED,
            ..self.new_key()
        }
    }

    pub(crate) fn remove(&mut self, waiter: &WaiterKey) {
        if waiter.round == UNREGISTERED {
            return;
        }
        self.registered -= 1;
        if waiter.round == self.round {
            self.wakers.remove(waiter.index as usize);
        }
        if self.wakers.is_empty() {
            self.wakers = Slab::new();
        }
    }

    /// Parks a waiter: stores `waker` for the next entry and replaces the one it stored before.
    pub(crate) fn wait(&mut self, waiter: &mut WaiterKey, waker: &Waker) {
        if waiter.round == self.round {
            self.wakers[waiter.index as usize].clone_from(waker);
            return;
        }
        self.registered += usize::from(waiter.round == UNREGISTERED);
        waiter.round = self.round;
        let index = self.wakers.insert(waker.clone());
        waiter.index = u32::try_from(index).expect("so many wakers do not fit into memory");
    }

    /// Ends the readers of all current keys after the sequence number `until`.
    pub(crate) fn end_all(&mut self, until: u64) {
        let ends = self.ends.get_or_insert_default();
        if ends.until.is_empty() {
            ends.first = self.generation;
        }
        ends.until.push_back(until);
        if ends.until.len() > ENDS {
            ends.until.pop_front();
            ends.first = ends.first.wrapping_add(1);
        }
        self.generation = self.generation.wrapping_add(1);
    }

    /// Whether the reader of this key has an end.
    pub(crate) fn has_ended(&self, waiter: &WaiterKey) -> bool {
        waiter.generation != self.generation
    }

    /// The last sequence number that the reader of this key returns, if it has an end.
    pub(crate) fn end_of(&self, waiter: &WaiterKey) -> Option<u64> {
        let ends = self.ends.as_ref().filter(|_| self.has_ended(waiter))?;
        let generation = waiter.generation.wrapping_sub(ends.first) as usize;
        let end = ends.until.get(generation).or(ends.until.front());
        end.copied()
    }

    pub(crate) fn round(&self) -> u64 {
        self.round
    }

    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Takes all wakers, to be woken after the locks are released.
    pub(crate) fn take(&mut self) -> Wakers {
        self.round += 1;
        self.is_due = false;
        Wakers(mem::take(&mut self.wakers))
    }

    /// Reuses an emptied slab, so that the next round does not grow a new one.
    pub(crate) fn reuse(&mut self, woken: Wakers) {
        if self.wakers.capacity() == 0 && self.registered > 0 {
            self.wakers = woken.0;
        }
    }

    /// Announces a [`take`](Self::take). Returns false if one was announced already.
    pub(crate) fn announce(&mut self) -> bool {
        !mem::replace(&mut self.is_due, true)
    }

    /// Number of registered waiters that are not parked.
    pub(crate) fn awake(&self) -> usize {
        match self.is_due {
            true => self.registered,
            false => self.registered - self.wakers.len(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.registered
    }
}

impl WaiterKey {
    /// Called once the waiter is removed: it registers again when it parks.
    pub(crate) fn unregister(&mut self) {
        self.round = UNREGISTERED;
    }

    /// The round in which it last parked.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }
}

impl Wakers {
    /// Wakes all. Returns true if the emptied slab is worth reusing.
    pub(crate) fn wake(&mut self) -> bool {
        match self.0.len() < MIN_BATCH {
            true => self.0.drain().for_each(Waker::wake),
            false => WakeBatch::new(self.0.drain()).wake(),
        }
        self.0.capacity() >= MIN_REUSED
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::waker, *};

    #[test]
    fn a_waiter_is_woken_once_until_it_waits_again() {
        let (mut waiters, (count, waker)) = (WaitList::new(), waker());
        let mut waiter = waiters.new_key();
        assert_eq!(waiters.awake(), 0);
        waiters.wait(&mut waiter, &waker);
        waiters.wait(&mut waiter, &waker);
        assert_eq!(waiters.awake(), 0);
        waiters.take().wake();
        waiters.take().wake();
        assert_eq!((count.take(), waiters.awake()), (1, 1));
        waiters.wait(&mut waiter, &waker);
        waiters.take().wake();
        assert_eq!(count.take(), 1);
    }

    #[test]
    fn only_the_last_waker_of_a_waiter_is_woken() {
        let mut waiters = WaitList::new();
        let ((old, old_waker), (new, new_waker)) = (waker(), waker());
        let mut waiter = waiters.register();
        waiters.wait(&mut waiter, &old_waker);
        waiters.wait(&mut waiter, &new_waker);
        waiters.take().wake();
        assert_eq!((old.take(), new.take()), (0, 1));
    }

    #[test]
    fn a_removed_waiter_is_not_woken_and_frees_its_slot() {
        let mut waiters = WaitList::new();
        let mut keys: Vec<_> = (0..5).map(|_| (waiters.register(), waker())).collect();
        for (waiter, (_, waker)) in &mut keys {
            waiters.wait(waiter, waker);
        }
        for gone in [0, 4, 2] {
            waiters.remove(&keys[gone].0);
        }
        let (late, late_waker) = waker();
        let mut waiter = waiters.register();
        waiters.wait(&mut waiter, &late_waker);
        waiters.take().wake();
        let woken: Vec<_> = keys.iter().map(|(_, (count, _))| count.take()).collect();
        assert_eq!((woken, late.take()), (vec![0, 1, 0, 1, 0], 1));
        for left in [&keys[1].0, &keys[3].0, &waiter] {
            waiters.remove(left);
        }
        assert_eq!((waiters.len(), waiters.wakers.capacity()), (0, 0));
    }

    #[test]
    fn a_new_waiter_in_a_reused_slot_does_not_get_the_old_waker() {
        let (mut waiters, (count, waker)) = (WaitList::new(), waker());
        let mut waiter = waiters.register();
        waiters.wait(&mut waiter, &waker);
        waiters.remove(&waiter);
        let again = waiters.register();
        assert_eq!(waiters.awake(), 1);
        waiters.remove(&again);
        waiters.take().wake();
        assert_eq!(count.take(), 0);
    }
}

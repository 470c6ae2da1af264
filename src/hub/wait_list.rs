//! Who waits for a channel's next entry.
//!
//! A reader takes a seat once and sits down to wait with its waker whenever it has read all. An
//! append takes every waker at once: readers that are awake already cost it nothing.

use super::wake_batch::{MIN_BATCH, WakeBatch};
use slab::Slab;
use std::{collections::VecDeque, mem, task::Waker};

#[derive(Debug)]
pub(crate) struct WaitList {
    registered: usize,
    waiting: Slab<Waker>,
    /// Goes up whenever all wakers are taken, so that no seat needs to be touched then.
    round: u64,
    /// Goes up when the readers of the time are to end.
    generation: u32,
    /// Few channels are ever closed.
    ends: Option<Box<Ends>>,
}

/// Where the readers of earlier generations end, a sequence for each generation.
#[derive(Debug, Default)]
struct Ends {
    first: u32,
    until: VecDeque<u64>,
}

/// Generations whose end is known exactly. Readers that are older end with the oldest of these.
const ENDS: usize = 8;

/// A reader's seat, and where in `waiting` its waker is if it sat down in this round.
#[derive(Debug)]
#[must_use]
pub(crate) struct WaiterKey {
    /// When it sat down last, or one of those below.
    round: u64,
    index: u32,
    generation: u32,
}

/// From how many waiters on the room for them is kept.
const KEPT: usize = 64;

/// The round of a seat that nobody has sat down in: it does not count yet.
const FREE: u64 = u64::MAX;

/// The round of a seat that is taken, before anybody has sat down in it. The first real round is 1.
const TAKEN: u64 = 0;

/// The wakers that an append has taken, to be woken without a lock.
#[derive(Debug, Default)]
#[must_use]
pub(crate) struct Wakers(Slab<Waker>);

impl WaitList {
    pub(crate) fn new() -> Self {
        Self {
            registered: 0,
            waiting: Slab::new(),
            round: 1,
            generation: 0,
            ends: None,
        }
    }

    /// A seat that counts from when its reader first waits.
    pub(crate) fn new_key(&self) -> WaiterKey {
        WaiterKey {
            round: FREE,
            index: 0,
            generation: self.generation,
        }
    }

    /// A seat that counts at once.
    pub(crate) fn register(&mut self) -> WaiterKey {
        self.registered += 1;
        WaiterKey {
            round: TAKEN,
            ..self.new_key()
        }
    }

    pub(crate) fn remove(&mut self, waiter: &WaiterKey) {
        if waiter.round == FREE {
            return;
        }
        self.registered -= 1;
        if waiter.round == self.round {
            self.waiting.remove(waiter.index as usize);
        }
        if self.waiting.is_empty() {
            self.waiting = Slab::new();
        }
    }

    /// Keeps `waker` for the next entry, instead of the one this seat gave before.
    pub(crate) fn wait(&mut self, waiter: &mut WaiterKey, waker: &Waker) {
        if waiter.round == self.round {
            self.waiting[waiter.index as usize].clone_from(waker);
            return;
        }
        self.registered += usize::from(waiter.round == FREE);
        waiter.round = self.round;
        let index = self.waiting.insert(waker.clone());
        waiter.index = u32::try_from(index).expect("as many wakers do not fit into memory");
    }

    /// Ends the readers of all registered after the entries up to the sequence `until`.
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

    /// Whether the reader of this seat is to end.
    pub(crate) fn has_ended(&self, waiter: &WaiterKey) -> bool {
        waiter.generation != self.generation
    }

    /// The last sequence that the reader of this seat is to read, if it is to end.
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

    /// All wakers, to be woken when no lock is held.
    pub(crate) fn take(&mut self) -> Wakers {
        self.round += 1;
        Wakers(mem::take(&mut self.waiting))
    }

    /// Takes back an emptied list, so that the next round of waiters need not grow a new one.
    pub(crate) fn reuse(&mut self, woken: Wakers) {
        if self.waiting.capacity() == 0 && self.registered > 0 {
            self.waiting = woken.0;
        }
    }

    /// How many registered are taken by readers that are awake.
    pub(crate) fn awake(&self) -> usize {
        self.registered - self.waiting.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.registered
    }
}

impl WaiterKey {
    /// In which round its reader sat down last.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }
}

impl Wakers {
    /// Wakes all. True if the emptied list is worth taking back.
    pub(crate) fn wake(&mut self) -> bool {
        match self.0.len() < MIN_BATCH {
            true => self.0.drain().for_each(Waker::wake),
            false => WakeBatch::new(self.0.drain()).wake(),
        }
        self.0.capacity() >= KEPT
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
    fn the_last_waker_of_a_seat_counts() {
        let mut waiters = WaitList::new();
        let ((old, old_waker), (new, new_waker)) = (waker(), waker());
        let mut waiter = waiters.register();
        waiters.wait(&mut waiter, &old_waker);
        waiters.wait(&mut waiter, &new_waker);
        waiters.take().wake();
        assert_eq!((old.take(), new.take()), (0, 1));
    }

    #[test]
    fn who_leaves_is_not_woken_and_leaves_nothing_behind() {
        let mut waiters = WaitList::new();
        let mut who: Vec<_> = (0..5).map(|_| (waiters.register(), waker())).collect();
        for (waiter, (_, waker)) in &mut who {
            waiters.wait(waiter, waker);
        }
        for gone in [0, 4, 2] {
            waiters.remove(&who[gone].0);
        }
        let (late, late_waker) = waker();
        let mut waiter = waiters.register();
        waiters.wait(&mut waiter, &late_waker);
        waiters.take().wake();
        let woken: Vec<_> = who.iter().map(|(_, (count, _))| count.take()).collect();
        assert_eq!((woken, late.take()), (vec![0, 1, 0, 1, 0], 1));
        for left in [&who[1].0, &who[3].0, &waiter] {
            waiters.remove(left);
        }
        assert_eq!((waiters.len(), waiters.waiting.capacity()), (0, 0));
    }

    #[test]
    fn a_new_reader_in_an_old_seat_is_not_taken_for_its_former_owner() {
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

//! Who waits for a channel's next entry.
//!
//! A reader takes a seat once and sits down to wait with its waker whenever it has read all. An
//! append takes every waker at once: readers that are awake already cost it nothing.

use super::crowd::{CROWD, Crowd};
use slab::Slab;
use std::{collections::VecDeque, mem, task::Waker};

#[derive(Debug)]
pub(crate) struct Waiters {
    seats: usize,
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
pub(crate) struct Seat {
    /// When it sat down last, or one of those below.
    round: u64,
    place: u32,
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
pub(crate) struct Woken(Slab<Waker>);

impl Waiters {
    pub(crate) fn new() -> Self {
        Self {
            seats: 0,
            waiting: Slab::new(),
            round: 1,
            generation: 0,
            ends: None,
        }
    }

    /// A seat that counts from when its reader first waits.
    pub(crate) fn seat(&self) -> Seat {
        Seat {
            round: FREE,
            place: 0,
            generation: self.generation,
        }
    }

    /// A seat that counts at once.
    pub(crate) fn join(&mut self) -> Seat {
        self.seats += 1;
        Seat {
            round: TAKEN,
            ..self.seat()
        }
    }

    pub(crate) fn leave(&mut self, seat: &Seat) {
        if seat.round == FREE {
            return;
        }
        self.seats -= 1;
        if seat.round == self.round {
            self.waiting.remove(seat.place as usize);
        }
        if self.waiting.is_empty() {
            self.waiting = Slab::new();
        }
    }

    /// Keeps `waker` for the next entry, instead of the one this seat gave before.
    pub(crate) fn wait(&mut self, seat: &mut Seat, waker: &Waker) {
        if seat.round == self.round {
            self.waiting[seat.place as usize].clone_from(waker);
            return;
        }
        self.seats += usize::from(seat.round == FREE);
        seat.round = self.round;
        let place = self.waiting.insert(waker.clone());
        seat.place = u32::try_from(place).expect("as many wakers do not fit into memory");
    }

    /// Ends the readers of all seats after the entries up to the sequence `until`.
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
    pub(crate) fn has_ended(&self, seat: &Seat) -> bool {
        seat.generation != self.generation
    }

    /// The last sequence that the reader of this seat is to read, if it is to end.
    pub(crate) fn end_of(&self, seat: &Seat) -> Option<u64> {
        let ends = self.ends.as_ref().filter(|_| self.has_ended(seat))?;
        let generation = seat.generation.wrapping_sub(ends.first) as usize;
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
    pub(crate) fn take(&mut self) -> Woken {
        self.round += 1;
        Woken(mem::take(&mut self.waiting))
    }

    /// Takes back an emptied list, so that the next round of waiters need not grow a new one.
    pub(crate) fn reuse(&mut self, woken: Woken) {
        if self.waiting.capacity() == 0 && self.seats > 0 {
            self.waiting = woken.0;
        }
    }

    /// How many seats are taken by readers that are awake.
    pub(crate) fn awake(&self) -> usize {
        self.seats - self.waiting.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.seats
    }
}

impl Seat {
    /// In which round its reader sat down last.
    pub(crate) fn round(&self) -> u64 {
        self.round
    }
}

impl Woken {
    /// Wakes all. True if the emptied list is worth taking back.
    pub(crate) fn wake(&mut self) -> bool {
        match self.0.len() < CROWD {
            true => self.0.drain().for_each(Waker::wake),
            false => Crowd::new(self.0.drain()).wake(),
        }
        self.0.capacity() >= KEPT
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::waker, *};

    #[test]
    fn a_waiter_is_woken_once_until_it_waits_again() {
        let (mut waiters, (count, waker)) = (Waiters::new(), waker());
        let mut seat = waiters.seat();
        assert_eq!(waiters.awake(), 0);
        waiters.wait(&mut seat, &waker);
        waiters.wait(&mut seat, &waker);
        assert_eq!(waiters.awake(), 0);
        waiters.take().wake();
        waiters.take().wake();
        assert_eq!((count.take(), waiters.awake()), (1, 1));
        waiters.wait(&mut seat, &waker);
        waiters.take().wake();
        assert_eq!(count.take(), 1);
    }

    #[test]
    fn the_last_waker_of_a_seat_counts() {
        let mut waiters = Waiters::new();
        let ((old, old_waker), (new, new_waker)) = (waker(), waker());
        let mut seat = waiters.join();
        waiters.wait(&mut seat, &old_waker);
        waiters.wait(&mut seat, &new_waker);
        waiters.take().wake();
        assert_eq!((old.take(), new.take()), (0, 1));
    }

    #[test]
    fn who_leaves_is_not_woken_and_leaves_nothing_behind() {
        let mut waiters = Waiters::new();
        let mut who: Vec<_> = (0..5).map(|_| (waiters.join(), waker())).collect();
        for (seat, (_, waker)) in &mut who {
            waiters.wait(seat, waker);
        }
        for gone in [0, 4, 2] {
            waiters.leave(&who[gone].0);
        }
        let (late, late_waker) = waker();
        let mut seat = waiters.join();
        waiters.wait(&mut seat, &late_waker);
        waiters.take().wake();
        let woken: Vec<_> = who.iter().map(|(_, (count, _))| count.take()).collect();
        assert_eq!((woken, late.take()), (vec![0, 1, 0, 1, 0], 1));
        for left in [&who[1].0, &who[3].0, &seat] {
            waiters.leave(left);
        }
        assert_eq!((waiters.len(), waiters.waiting.capacity()), (0, 0));
    }

    #[test]
    fn a_new_reader_in_an_old_seat_is_not_taken_for_its_former_owner() {
        let (mut waiters, (count, waker)) = (Waiters::new(), waker());
        let mut seat = waiters.join();
        waiters.wait(&mut seat, &waker);
        waiters.leave(&seat);
        let again = waiters.join();
        assert_eq!(waiters.awake(), 1);
        waiters.leave(&again);
        waiters.take().wake();
        assert_eq!(count.take(), 0);
    }
}

//! The lock that orders publishes. Long work in steps does not starve other threads.
//!
//! A thread that releases and retakes a mutex usually wins against a thread that has to be woken first.
//! Work in steps therefore takes a second mutex, the turn, before it takes the lock. A thread that waits for the lock
//! holds the turn, so it gets the lock before the next step. Neither mutex is fair: further threads that wait for the
//! turn get it in no particular order, and a thread that finds the lock free needs no turn.

use super::{
    frames::FrameIndex,
    lock,
    log::Log,
    state::HubState,
    sync::{Mutex, MutexGuard},
};
use crate::observe::{Observer, Resized};
use bytes::Bytes;
use std::{
    ops::{Deref, DerefMut},
    sync::{Arc, TryLockError},
};

pub(super) struct Sequencer {
    state: Mutex<HubState>,
    /// Held by the thread that waits for `state`, so that later threads queue here.
    turn: Mutex<()>,
    frames: Arc<FrameIndex>,
    observer: Arc<Observer>,
}

/// Holds the sequencer's lock.
///
/// Fields drop in declaration order. After the lock is released, the gauges are updated, and `garbage` and
/// `forgotten` are freed.
pub(super) struct SequencerGuard<'a> {
    state: MutexGuard<'a, HubState>,
    resized: Option<Resized<'a>>,
    garbage: Vec<Bytes>,
    forgotten: Vec<Log>,
    sequencer: &'a Sequencer,
}

impl Sequencer {
    pub(super) fn new(frames: Arc<FrameIndex>, observer: Arc<Observer>) -> Self {
        Self {
            state: Mutex::default(),
            turn: Mutex::default(),
            frames,
            observer,
        }
    }

    pub(super) fn lock(&self) -> SequencerGuard<'_> {
        match self.state.try_lock() {
            Ok(state) => self.guard(state),
            Err(TryLockError::Poisoned(poisoned)) => self.guard(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => self.in_turn(),
        }
    }

    /// Locks after the thread that holds the turn, if there is one. Work in steps uses this.
    pub(super) fn in_turn(&self) -> SequencerGuard<'_> {
        let _turn = lock(&self.turn);
        self.guard(lock(&self.state))
    }

    fn guard<'a>(&'a self, state: MutexGuard<'a, HubState>) -> SequencerGuard<'a> {
        SequencerGuard {
            state,
            resized: None,
            garbage: Vec::new(),
            forgotten: Vec::new(),
            sequencer: self,
        }
    }
}

impl Deref for SequencerGuard<'_> {
    type Target = HubState;

    fn deref(&self) -> &HubState {
        &self.state
    }
}

impl DerefMut for SequencerGuard<'_> {
    fn deref_mut(&mut self) -> &mut HubState {
        &mut self.state
    }
}

impl Drop for SequencerGuard<'_> {
    fn drop(&mut self) {
        let sizes = self.state.sizes(&self.sequencer.frames);
        self.resized = Some(self.sequencer.observer.resize(sizes));
        (self.garbage, self.forgotten) = self.state.take_garbage();
    }
}

#[cfg(all(test, not(shuttle)))]
impl Sequencer {
    pub(super) fn is_free_for_test(&self) -> bool {
        self.state.try_lock().is_ok()
    }
}

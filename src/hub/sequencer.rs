//! The lock that orders publishes. Long work in steps does not starve other threads.
//!
//! A thread that releases and retakes a mutex usually wins against a thread that has to be woken first.
//! Work in steps therefore queues behind every thread that already waits.

use super::{
    lock,
    state::HubState,
    sync::{Mutex, MutexGuard},
};
use bytes::Bytes;
use std::{
    ops::{Deref, DerefMut},
    sync::TryLockError,
};

#[derive(Debug, Default)]
pub(super) struct Sequencer {
    state: Mutex<HubState>,
    /// Held by the thread that waits for `state`, so that later threads queue here.
    turn: Mutex<()>,
}

/// Holds the sequencer's lock.
///
/// Fields drop in declaration order, so `garbage` is freed after the lock is released.
pub(super) struct SequencerGuard<'a> {
    state: MutexGuard<'a, HubState>,
    garbage: Vec<Bytes>,
}

impl Sequencer {
    pub(super) fn lock(&self) -> SequencerGuard<'_> {
        match self.state.try_lock() {
            Ok(state) => state.into(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().into(),
            Err(TryLockError::WouldBlock) => self.in_turn(),
        }
    }

    /// Locks after every thread that already waits.
    pub(super) fn in_turn(&self) -> SequencerGuard<'_> {
        let _turn = lock(&self.turn);
        lock(&self.state).into()
    }
}

impl<'a> From<MutexGuard<'a, HubState>> for SequencerGuard<'a> {
    fn from(state: MutexGuard<'a, HubState>) -> Self {
        Self {
            state,
            garbage: Vec::new(),
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
        self.garbage = self.state.take_garbage();
    }
}

#[cfg(all(test, not(shuttle)))]
impl Sequencer {
    pub(super) fn is_free_for_test(&self) -> bool {
        self.state.try_lock().is_ok()
    }
}

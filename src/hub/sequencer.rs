//! The order lock. Long work in steps does not starve other threads of it.
//!
//! A thread that unlocks and locks again is faster than one that has to be woken. So work in steps takes
//! the lock in turn, behind every thread that waits for it already.

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
    /// Held while waiting for the lock.
    turn: Mutex<()>,
}

/// The order lock. Fields are dropped in their order: large entries are freed when it is unlocked.
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

    /// The lock, after all that wait for it already.
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

//! The order lock. Long work in steps does not starve other threads of it.
//!
//! A thread that unlocks and locks again is faster than one that has to be woken. So work in steps takes
//! the lock in turn, behind every thread that waits for it already.

use super::{
    lock,
    order::Order,
    sync::{Mutex, MutexGuard},
};
use bytes::Bytes;
use std::{
    ops::{Deref, DerefMut},
    sync::TryLockError,
};

#[derive(Debug, Default)]
pub(super) struct Sequencer {
    order: Mutex<Order>,
    /// Held while waiting for the lock.
    turn: Mutex<()>,
}

/// The order lock. Fields are dropped in their order: large entries are freed when it is unlocked.
pub(super) struct Locked<'a> {
    order: MutexGuard<'a, Order>,
    garbage: Vec<Bytes>,
}

impl Sequencer {
    pub(super) fn lock(&self) -> Locked<'_> {
        match self.order.try_lock() {
            Ok(order) => order.into(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().into(),
            Err(TryLockError::WouldBlock) => self.in_turn(),
        }
    }

    /// The lock, after all that wait for it already.
    pub(super) fn in_turn(&self) -> Locked<'_> {
        let _turn = lock(&self.turn);
        lock(&self.order).into()
    }
}

impl<'a> From<MutexGuard<'a, Order>> for Locked<'a> {
    fn from(order: MutexGuard<'a, Order>) -> Self {
        Self {
            order,
            garbage: Vec::new(),
        }
    }
}

impl Deref for Locked<'_> {
    type Target = Order;

    fn deref(&self) -> &Order {
        &self.order
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Order {
        &mut self.order
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        self.garbage = self.order.take_garbage();
    }
}

#[cfg(all(test, not(shuttle)))]
impl Sequencer {
    pub(super) fn is_free_for_test(&self) -> bool {
        self.order.try_lock().is_ok()
    }
}

//! Mutexes that are not poisoned.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex. No code of the application runs under it, and a change is complete before anything can panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

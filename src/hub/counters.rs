//! Counters of a hub that are updated without a lock.

use super::sync::AtomicU64;
use std::{
    cell::Cell,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) delivered: Striped,
    pub(super) lagged: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) refused: AtomicU64,
}

/// Enough for the threads of a typical machine to add to different stripes.
const STRIPES: usize = 16;

/// A counter for many threads. Threads add to different cache lines.
#[derive(Debug, Default)]
pub(super) struct Striped([Stripe; STRIPES]);

/// Two cache lines: processors prefetch them in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(std::sync::atomic::AtomicU64);

impl Striped {
    pub(super) fn add(&self, count: u64) {
        self.0[stripe()].0.fetch_add(count, Relaxed);
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|stripe| stripe.0.load(Relaxed)).sum()
    }
}

/// The stripe of this thread.
fn stripe() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static STRIPE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    STRIPE.get().unwrap_or_else(|| {
        let stripe = NEXT.fetch_add(1, Relaxed) % STRIPES;
        STRIPE.set(Some(stripe));
        stripe
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{sync::Arc, thread};

    #[test]
    fn a_striped_counter_sums_the_additions_of_all_threads() {
        const THREADS: u64 = 2 * STRIPES as u64;
        let counter = Arc::<Striped>::default();
        let add = |_| {
            let counter = counter.clone();
            thread::spawn(move || (0..1000).for_each(|_| counter.add(2)))
        };
        let threads: Vec<_> = (0..THREADS).map(add).collect();
        threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        assert_eq!(counter.sum(), 2000 * THREADS);
    }
}

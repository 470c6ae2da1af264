//! The sweep: a task that evicts expired entries even if nothing is published.
//!
//! 1. A publish spawns the task if there is a runtime and no sweep runs. The task ends when no entry is
//!    left, or with its runtime. The next publish then spawns another.
//! 2. The task holds its hub weakly. Dropping the hub aborts it.
//! 3. It takes the sequencer's lock for short steps with longer pauses in between. A publish therefore
//!    rarely waits for it, even if the sweeping thread is preempted.

use super::{
    Hub,
    evict::STEP,
    lock,
    sync::{AtomicBool, Mutex},
};
use std::{
    future::poll_fn,
    pin::pin,
    sync::{Weak, atomic::Ordering::SeqCst},
    task::Poll,
    time::Duration,
};
use tokio::{
    runtime::Handle,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

/// The pause between two steps. A step takes a few tenths of it.
const PAUSE: Duration = Duration::from_millis(1);

/// Caps the age that deadlines are computed with: `Instant + Duration` may overflow.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// The minimum time between two sweeps is the maximum age divided by this. It batches expiries.
const PART_OF_AGE: u32 = 64;

/// The sweep of a hub and whether it runs.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    runs: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

/// Result of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More entries have expired.
    More,
    /// No entry has expired. The next step is due at this time.
    NextAt(Instant),
    /// No entry is left.
    Nothing,
}

/// State of the task. If the runtime drops it, the next publish spawns another.
struct Sweeper {
    hub: Weak<Hub>,
    /// Whether its drop resets `Sweep::runs`, so that the next publish spawns another.
    resets_on_drop: bool,
}

impl Hub {
    /// Spawns the sweep unless it runs. The caller must hold no lock.
    pub(super) fn start_sweep(&self) {
        if self.sweep.runs.load(SeqCst) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let mut task = lock(&self.sweep.task);
        if !self.sweep.runs.swap(true, SeqCst) {
            let sweeper = Sweeper {
                hub: self.this.clone(),
                resets_on_drop: true,
            };
            *task = Some(runtime.spawn(sweeper.run()).abort_handle());
        }
    }

    /// Evicts at most [`STEP`] expired entries.
    pub(super) fn sweep_step(&self) -> Found {
        let now = Instant::now();
        let mut state = self.sequencer.in_turn();
        if !state.expire(now, &self.config, STEP) {
            return Found::More;
        }
        match state.oldest.first_key_value() {
            Some((_, (at, _))) => Found::NextAt(self.next_look(*at, now)),
            None => {
                // Stored under the sequencer's lock, so the next append spawns another sweep.
                self.sweep.runs.store(false, SeqCst);
                Found::Nothing
            }
        }
    }

    fn next_look(&self, oldest: Instant, now: Instant) -> Instant {
        let age = self.config.max_age.min(YEAR);
        let pause = (age / PART_OF_AGE).min(Duration::from_secs(1));
        (oldest + age).max(now + pause)
    }
}

impl Sweep {
    pub(super) fn abort(&self) {
        if let Some(task) = lock(&self.task).take() {
            task.abort();
        }
    }
}

#[cfg(all(test, not(shuttle)))]
impl Sweep {
    /// Pretends that a sweep runs, or that none does.
    pub(super) fn stop_for_test(&self, stop: bool) {
        self.runs.store(stop, SeqCst);
    }
}

impl Sweeper {
    async fn run(mut self) {
        while let Some(hub) = self.hub.upgrade() {
            let found = hub.sweep_step();
            drop(hub);
            match found {
                Found::More => self.sleep_until(Instant::now() + PAUSE).await,
                Found::NextAt(at) => self.sleep_until(at).await,
                Found::Nothing => {
                    // The step has reset it, and another sweep may run already.
                    self.resets_on_drop = false;
                    return;
                }
            }
        }
    }

    async fn sleep_until(&mut self, at: Instant) {
        // Polling the timer panics on a runtime without timers, where no other sweep could run either.
        self.resets_on_drop = false;
        let mut timer = pin!(sleep_until(at));
        let first = poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx))).await;
        self.resets_on_drop = true;
        if first.is_pending() {
            timer.await;
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if self.resets_on_drop
            && let Some(hub) = self.hub.upgrade()
        {
            hub.sweep.runs.store(false, SeqCst);
        }
    }
}

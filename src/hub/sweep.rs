//! The sweep: a task that evicts expired entries, also when nothing is published any more.
//!
//! 1. A publish starts it, if there is a runtime and no sweep runs. It ends when no entry is left, or with
//!    its runtime. The next publish then starts another.
//! 2. It holds its hub weakly. A hub that is dropped aborts it.
//! 3. It takes the order lock for short steps, with longer pauses in between: a publish rarely meets it, and
//!    rarely waits while a thread that holds the lock is not running.

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

/// The pause between two steps. A step takes some tenths of it.
const PAUSE: Duration = Duration::from_millis(1);

/// The longest time between two looks, so that deadlines do not overflow.
const YEAR: Duration = Duration::from_secs(366 * 86_400);

/// The shortest time between two looks, as a part of the maximum age: entries go together.
const PART_OF_AGE: u32 = 64;

/// Whether a hub's sweep runs, and the task.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    runs: AtomicBool,
    task: Mutex<Option<AbortHandle>>,
}

/// What a look at the hub found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// More to evict.
    More,
    /// The next entry expires then.
    NextAt(Instant),
    /// Nothing that can expire.
    Nothing,
}

/// The task's hold on its hub. If the runtime drops the task, the next publish starts another.
struct Sweeper {
    hub: Weak<Hub>,
    /// No other sweep is needed.
    has_ended: bool,
}

impl Hub {
    /// Starts the sweep if there is something to expire, unless it runs. No lock may be held.
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
                has_ended: false,
            };
            *task = Some(runtime.spawn(sweeper.run()).abort_handle());
        }
    }

    /// Evicts some of the expired entries.
    pub(super) fn sweep_step(&self) -> Found {
        let now = Instant::now();
        let mut state = self.in_turn();
        if !state.expire(now, &self.config, STEP) {
            return Found::More;
        }
        match state.oldest.first_key_value() {
            Some((_, (at, _))) => Found::NextAt(self.next_look(*at, now)),
            None => {
                // Under the lock: the next append starts another sweep.
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
    /// As if one ran, or none.
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
                    self.has_ended = true;
                    return;
                }
            }
        }
    }

    async fn sleep_until(&mut self, at: Instant) {
        // A runtime without timers panics here, and would with every other sweep.
        self.has_ended = true;
        let mut timer = pin!(sleep_until(at));
        let first = poll_fn(|cx| Poll::Ready(timer.as_mut().poll(cx))).await;
        self.has_ended = false;
        if first.is_pending() {
            timer.await;
        }
    }
}

impl Drop for Sweeper {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        if let Some(hub) = self.hub.upgrade() {
            hub.sweep.runs.store(false, SeqCst);
        }
    }
}

//! Waking a crowd: more tasks at once than a processor's caches have room for.
//!
//! 1. Tasks are woken in the order of their memory, which caches like. They came to wait in the order in
//!    which they ran last, and a scheduler shuffles that a little more with each entry. So it is the same
//!    clients who come last, by the time that all take.
//! 2. Where one thread runs all tasks, those that are woken run before the next few are: what waking a
//!    task has touched is still in the cache then, and other requests do not wait for the whole crowd.
//!    Several threads share the work best if all of it is there at once.
//!
//! The thread is that of the publisher, which nearly always serves the streams too. If not, and it blocks
//! after a publish, the crowd waits until it goes on.

use std::{task::Waker, vec};
use tokio::{
    runtime::{Handle, RuntimeFlavor::MultiThread},
    task::yield_now,
};

/// How many it takes: about as many as a thread of tokio has room for in its own queue.
pub(super) const MIN_BATCH: usize = 256;

/// How many are woken at a time. More than half of those that tokio runs before it looks for news of
/// sockets would fill its queue faster than it is emptied, and let other requests wait behind it.
const CHUNK: usize = 32;

/// Those who have not been woken yet: at the latest they are when it is dropped.
#[must_use]
pub(super) struct WakeBatch(vec::IntoIter<Waker>);

impl WakeBatch {
    pub(super) fn new(wakers: impl Iterator<Item = Waker>) -> Self {
        let mut wakers: Vec<_> = wakers.collect();
        wakers.sort_unstable_by_key(Waker::data);
        Self(wakers.into_iter())
    }

    pub(super) fn wake(self) {
        match Handle::try_current() {
            Ok(runtime) if has_one_worker(&runtime) => _ = runtime.spawn(self.wake_in_chunks()),
            _ => drop(self),
        }
    }

    async fn wake_in_chunks(mut self) {
        while self.0.len() > 0 {
            self.0.by_ref().take(CHUNK).for_each(Waker::wake);
            yield_now().await;
        }
    }
}

impl Drop for WakeBatch {
    fn drop(&mut self) {
        self.0.by_ref().for_each(Waker::wake);
    }
}

/// A runtime without workers runs only while somebody blocks on it, so nothing can be left to it.
fn has_one_worker(runtime: &Handle) -> bool {
    runtime.runtime_flavor() == MultiThread && runtime.metrics().num_workers() == 1
}

#[cfg(test)]
mod tests {
    use super::{
        super::wait_list::{WaitList, Wakers},
        *,
    };
    use std::{
        sync::{Arc, Mutex, mpsc},
        task::Wake,
        thread,
        time::{Duration, Instant},
    };
    use tokio::runtime::{Builder, Runtime};

    /// Where in memory those are that have been woken.
    type Woken = Arc<Mutex<Vec<usize>>>;

    struct RecordingWaker(Woken);

    impl Wake for RecordingWaker {
        fn wake(self: Arc<Self>) {
            let address = Arc::as_ptr(&self) as usize;
            self.0.lock().unwrap().push(address);
        }
    }

    fn batch() -> (Wakers, Woken) {
        batch_of(MIN_BATCH)
    }

    /// The last one waits first.
    fn batch_of(many: usize) -> (Wakers, Woken) {
        let woken = Woken::default();
        let waker = |_| Waker::from(Arc::new(RecordingWaker(woken.clone())));
        let wakers: Vec<_> = (0..many).map(waker).collect();
        let mut waiters = WaitList::new();
        for waker in wakers.iter().rev() {
            let mut waiter = waiters.new_key();
            waiters.wait(&mut waiter, waker);
        }
        (waiters.take(), woken)
    }

    fn count(woken: &Woken) -> usize {
        woken.lock().unwrap().len()
    }

    fn with_workers(count: usize) -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(count).build().unwrap()
    }

    #[test]
    fn without_a_runtime_all_are_woken_at_once_in_the_order_of_their_memory() {
        let (mut batch, woken) = batch();
        batch.wake();
        let woken = woken.lock().unwrap();
        assert!(woken.is_sorted());
        assert_eq!(woken.len(), MIN_BATCH);
    }

    #[tokio::test]
    async fn nothing_is_left_to_a_runtime_that_may_not_run_again() {
        let (mut batch, woken) = batch();
        batch.wake();
        assert_eq!(count(&woken), MIN_BATCH);
    }

    #[test]
    fn several_workers_share_all_at_once() {
        let (mut batch, woken) = batch();
        with_workers(2).block_on(async { batch.wake() });
        assert_eq!(count(&woken), MIN_BATCH);
    }

    #[test]
    fn fewer_than_a_crowd_are_woken_at_once() {
        let (mut fewer, woken) = batch_of(MIN_BATCH - 1);
        let runtime = with_workers(1);
        let waking = runtime.spawn(async move {
            fewer.wake();
            count(&woken)
        });
        assert_eq!(runtime.block_on(waking).unwrap(), MIN_BATCH - 1);
    }

    #[test]
    fn one_worker_lets_others_run_in_between() {
        let (mut batch, woken) = batch();
        let runtime = with_workers(1);
        let seen = runtime.spawn(async move {
            batch.wake();
            let mut seen = vec![count(&woken)];
            while count(&woken) < MIN_BATCH {
                yield_now().await;
                seen.push(count(&woken));
            }
            seen.dedup();
            seen
        });
        let seen = runtime.block_on(seen).unwrap();
        assert_eq!((seen[0], seen[1]), (0, CHUNK));
        assert!(seen.len() > 3, "{seen:?}");
    }

    #[test]
    fn who_is_left_when_the_runtime_goes_is_woken() {
        const LIMIT: Duration = Duration::from_secs(10);
        // A worker looks only now and then whether it is to go.
        const MANY: usize = 100 * MIN_BATCH;
        let (mut batch, woken) = batch_of(MANY);
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let runtime = with_workers(1);
        let few = woken.clone();
        runtime.spawn(async move {
            batch.wake();
            while count(&few) == 0 {
                yield_now().await;
            }
            begun.send(count(&few)).unwrap();
            // Keeps the worker from all else until the runtime is about to go.
            may_go_on.recv_timeout(LIMIT).unwrap();
        });
        assert_eq!(has_begun.recv_timeout(LIMIT), Ok(CHUNK));
        runtime.shutdown_background();
        go_on.send(()).unwrap();
        let started = Instant::now();
        while count(&woken) < MANY {
            assert!(started.elapsed() < LIMIT, "{} of {MANY}", count(&woken));
            thread::yield_now();
        }
    }
}

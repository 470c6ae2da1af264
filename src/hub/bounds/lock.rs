//! Nothing is woken, nothing large is freed, and no metrics recorder is called under a lock.

use super::*;

/// Records whether the sequencer's lock is free when it is woken or dropped.
#[derive(Clone)]
struct Probe(Arc<Hub>, mpsc::SyncSender<bool>);

impl Probe {
    fn new(hub: &Arc<Hub>) -> (Self, mpsc::Receiver<bool>) {
        let (sender, receiver) = mpsc::sync_channel(100);
        (Self(hub.clone(), sender), receiver)
    }

    fn note(&self) {
        self.1.send(self.0.sequencer.is_free_for_test()).unwrap();
    }
}

struct ProbeWaker(StdMutex<Probe>);

impl Wake for ProbeWaker {
    fn wake(self: Arc<Self>) {
        self.0.lock().unwrap().note();
    }
}

fn probing_waker(hub: &Arc<Hub>) -> (Waker, mpsc::Receiver<bool>) {
    let (probe, noted) = Probe::new(hub);
    let waker = Arc::new(ProbeWaker(StdMutex::new(probe)));
    (waker.into(), noted)
}

struct Owner(Probe, Vec<u8>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.0.note();
    }
}

#[test]
fn wakers_run_after_the_lock_is_released() {
    for change in NEWS {
        let hub = hub(|_| {});
        let (waker, noted) = probing_waker(&hub);
        let mut reader = reader(&hub, &["a"], Start::Live);
        assert!(reader.wait(&waker));
        change(&hub);
        assert_eq!(noted.try_iter().collect::<Vec<_>>(), [true]);
    }
}

#[test]
fn the_last_reader_wakes_a_drain_after_it_releases_the_lock() {
    let hub = hub(|_| {});
    let (waker, noted) = probing_waker(&hub);
    let reader = reader(&hub, &["a"], Start::Live);
    let runtime = paused();
    let _entered = runtime.enter();
    let mut empty = std::pin::pin!(hub.wait_until_empty(Instant::now() + AGE));
    let mut cx = std::task::Context::from_waker(&waker);
    assert!(empty.as_mut().poll(&mut cx).is_pending());
    drop(reader);
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), [true]);
}

#[test]
fn a_large_entry_is_freed_after_the_lock_is_released() {
    let hub = hub(|config| config.events = 1);
    let (probe, noted) = Probe::new(&hub);
    let bytes = Bytes::from_owner(Owner(probe, vec![0; 1 << 20]));
    hub.append(&channel("a"), [bytes], |bytes, _, _| bytes);
    publish(&hub, "a", "next");
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), [true]);
}

#[cfg(feature = "metrics")]
mod recorder {
    use super::*;
    use metrics::{
        Counter, CounterFn, Gauge, GaugeFn, Histogram, Key, KeyName, Metadata, Recorder,
        SharedString, Unit, with_local_recorder,
    };

    impl Probe {
        /// Records whether all locks are free.
        fn note_all(&self) {
            let sequencer_is_free = self.0.sequencer.is_free_for_test();
            let logs_are_free = || {
                let logs = self.0.state().logs();
                logs.iter().all(|log| log.is_free_for_test())
            };
            let is_free = sequencer_is_free && logs_are_free();
            self.1.send(is_free).unwrap();
        }
    }

    impl CounterFn for Probe {
        fn increment(&self, _value: u64) {
            self.note_all();
        }

        fn absolute(&self, _value: u64) {
            self.note_all();
        }
    }

    impl GaugeFn for Probe {
        fn increment(&self, _value: f64) {
            self.note_all();
        }

        fn decrement(&self, _value: f64) {
            self.note_all();
        }

        fn set(&self, _value: f64) {
            self.note_all();
        }
    }

    impl Recorder for Probe {
        fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

        fn register_counter(&self, _: &Key, _: &Metadata<'_>) -> Counter {
            self.note_all();
            Counter::from_arc(Arc::new(self.clone()))
        }

        fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
            self.note_all();
            Gauge::from_arc(Arc::new(self.clone()))
        }

        fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
            Histogram::noop()
        }
    }

    #[test]
    fn a_metrics_recorder_is_called_without_a_lock() {
        type Action = fn(&Arc<Hub>, &mut Vec<Reader>);
        let actions: [Action; 5] = [
            |hub, readers| readers.push(reader(hub, &["a"], Start::After(0))),
            |hub, _| fill(hub, 10, 100),
            |hub, _| (0..6).for_each(|_| drop(publish(hub, "a", "x"))),
            |_, readers| assert!(matches!(readers[0].read(LIMIT, None), Read::Gap(_))),
            |_, readers| readers.clear(),
        ];
        let hub = hub(|_| {});
        let (probe, noted) = Probe::new(&hub);
        with_local_recorder(&probe, || {
            let mut readers = Vec::new();
            for action in actions {
                action(&hub, &mut readers);
                let noted: Vec<_> = noted.try_iter().collect();
                assert!(!noted.is_empty() && noted.iter().all(|is_free| *is_free));
            }
        });
    }
}

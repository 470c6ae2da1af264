//! Nothing is woken and nothing large is freed under the sequencer's lock.

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
    (
        Waker::from(Arc::new(ProbeWaker(StdMutex::new(probe)))),
        noted,
    )
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
    type Change = fn(&Hub);
    let changes: [Change; 4] = [
        |hub| drop(publish(hub, "a", "1")),
        |hub| hub.close_channel(&channel("a"), drop),
        |hub| hub.drain(Instant::now()),
        Hub::close,
    ];
    for change in changes {
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
    hub.append(&channel("a"), |_, _| bytes);
    publish(&hub, "a", "next");
    assert_eq!(noted.try_iter().collect::<Vec<_>>(), [true]);
}

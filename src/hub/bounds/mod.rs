//! Tests of the hub's bounds on memory and on work under the sequencer's lock.

mod budget;
mod counts;
mod expiry;
mod frames;
mod keys;
mod lock;
mod readers;

use super::{
    evict::{FEW, STEP},
    keyed::Select,
    sweep::Found,
    tests::{LIMIT, NEWS, hub, is_consistent, publish, reader, waker},
    *,
};
use proptest::{collection::vec, prelude::*};
use std::{
    fmt::Display,
    sync::{Mutex as StdMutex, mpsc},
    task::{Wake, Waker},
};
use tokio::{
    runtime::{Builder, Handle, Runtime},
    task::yield_now,
    time::{advance, sleep},
};

const AGE: Duration = Duration::from_secs(60);

fn channel(name: impl Display + Copy) -> Channel {
    Channel::new(name.to_string()).unwrap()
}

fn publish_bytes(hub: &Hub, name: impl Display + Copy, length: usize) -> Appended {
    hub.append(&channel(name), [length], |length, _, _| {
        Bytes::from(vec![b'x'; length])
    })
}

/// Publishes an entry of `length` bytes on each of `count` channels.
fn fill(hub: &Hub, count: usize, length: usize) {
    (0..count).for_each(|name| drop(publish_bytes(hub, name, length)));
}

/// Disables the sweep, so that only calls evict expired entries.
fn without_sweep(hub: Arc<Hub>) -> Arc<Hub> {
    hub.sweep.stop_for_test(true);
    hub
}

fn kept(hub: &Hub) -> usize {
    hub.state().oldest.len()
}

/// Memory of a channel with one entry of `length` bytes.
fn size_of_one(length: usize) -> usize {
    let hub = hub(|_| {});
    publish_bytes(&hub, 0, length);
    hub.stats().history_bytes
}

fn paused() -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap()
}

fn alive_tasks() -> usize {
    Handle::current().metrics().num_alive_tasks()
}

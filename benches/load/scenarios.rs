//! The scenarios. Each function starts a fresh peer and returns the figures of one run.

use crate::load::{peers::Peer, process::Server};
use std::time::{Duration, Instant};

/// The core of the servers, if they are pinned.
pub(crate) type Core = Option<usize>;

const MEBI: f64 = 1024.0 * 1024.0;

/// Number of events before the measured ones. With each, the scheduler changes the order of tasks a little
/// more, up to a stable order.
const WARM_UP: u64 = 25;

/// CPU time of the server per event and connection, in microseconds.
pub(crate) fn fan_out(peer: Peer, core: Core, clients: usize, size: usize, events: u64) -> f64 {
    let mut server = Server::start(peer, core);
    let mut clients = server.clients(clients);
    server.lock_step(&mut clients, WARM_UP, size);
    let before = server.cpu_time();
    server.lock_step(&mut clients, events, size);
    let used = server.cpu_time() - before;
    assert_eq!((clients.lost, clients.reported), (0, 0), "{}", peer.name());
    used as f64 / 1000.0 / (events * clients.len() as u64) as f64
}

/// The figures of a burst.
pub(crate) struct Burst {
    /// Events per second, over all connections.
    pub(crate) rate: f64,
    /// Percentage of events that were not received.
    pub(crate) lost: f64,
    /// CPU time of the server per event and connection, in microseconds.
    pub(crate) cpu: f64,
}

pub(crate) fn burst(peer: Peer, core: Core, clients: usize, events: u64) -> Burst {
    let mut server = Server::start(peer, core);
    let mut clients = server.clients(clients);
    server.lock_step(&mut clients, 5, 200);
    let (before, received) = (server.cpu_time(), clients.received);
    let started = Instant::now();
    let last = server.publish(events, 200);
    clients.wait(last);
    let elapsed = started.elapsed().as_secs_f64();
    let used = (server.cpu_time() - before) as f64 / 1000.0;
    let received = (clients.received - received) as f64;
    Burst {
        rate: received / elapsed,
        lost: 100.0 * clients.lost.saturating_sub(clients.reported) as f64
            / (received + clients.lost as f64),
        cpu: used / received,
    }
}

/// Bytes of the server's memory per idle connection.
pub(crate) fn idle_memory(peer: Peer, core: Core, clients: usize) -> f64 {
    let server = Server::start(peer, core);
    // The first connections cause allocations that do not repeat.
    let some = server.clients(64);
    let before = server.resident();
    let all = server.clients(clients);
    let used = server.resident() as f64 - before as f64;
    drop(some);
    used / all.len() as f64
}

/// The cost of a connection that is opened, held briefly and closed.
pub(crate) struct Churn {
    /// CPU time of the server per connection, in microseconds.
    pub(crate) cpu: f64,
    /// Connections opened per second.
    pub(crate) rate: f64,
    /// The server's memory after each round, minus its memory before the first, in MiB.
    pub(crate) growth: Vec<f64>,
}

pub(crate) fn churn(peer: Peer, core: Core, clients: usize, rounds: usize) -> Churn {
    let mut server = Server::start(peer, core);
    drop(server.clients(100));
    let open_files = server.open_files();
    let (before, memory) = (server.cpu_time(), server.resident() as f64);
    let (mut growth, mut opening) = (Vec::new(), Duration::ZERO);
    for _ in 0..rounds {
        let started = Instant::now();
        let held = server.clients(clients);
        opening += started.elapsed();
        drop(held);
        server.wait_for_open_files(open_files);
        growth.push((server.resident() as f64 - memory) / MEBI);
    }
    let connections = (rounds * clients) as f64;
    Churn {
        cpu: (server.cpu_time() - before) as f64 / 1000.0 / connections,
        rate: connections / opening.as_secs_f64(),
        growth,
    }
}

/// Nanoseconds from publish to receipt, of all events on all connections.
pub(crate) fn latencies(peer: Peer, core: Core, clients: usize, events: u64) -> Vec<u64> {
    let mut server = Server::start(peer, core);
    let mut clients = server.clients(clients);
    server.lock_step(&mut clients, 5, 200);
    clients.latencies = Some(Vec::new());
    server.lock_step(&mut clients, events, 200);
    clients.latencies.unwrap_or_default()
}

/// Nanoseconds that other requests waited during a fan-out.
pub(crate) fn waits(peer: Peer, core: Core, clients: usize, events: u64) -> Vec<u64> {
    let mut server = Server::start(peer, core);
    let mut clients = server.clients(clients);
    clients.ping();
    server.lock_step(&mut clients, 5, 200);
    server.waits();
    server.lock_step(&mut clients, events, 200);
    server.waits()
}

/// CPU time of the server per publish to one subscriber, in microseconds. Meanwhile, this many other clients
/// each listen to a channel of their own.
pub(crate) fn among_others(peer: Peer, core: Core, others: usize, events: u64) -> f64 {
    let mut server = Server::start(peer, core);
    let mut idle = server.no_clients();
    idle.open(others, 0, |index| format!("other-{index}"));
    let mut one = server.clients(1);
    server.lock_step(&mut one, 100, 200);
    let before = server.cpu_time();
    server.lock_step(&mut one, events, 200);
    (server.cpu_time() - before) as f64 / 1000.0 / events as f64
}

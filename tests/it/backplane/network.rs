//! Two instances on a Redis behind a slow network that loses packets.

use super::{Instance, checker::link::Link};
use crate::support::{namespace, redis::RedisServer, within};
use axum_eventstream::{
    EventStream, History, LastEventId, ReceivedEvent, backplane::Redis, testing::TestStream,
};
use futures_util::future::join_all;
use std::{collections::HashSet, time::Duration};
use tokio::time::Instant;

/// The time of the server's answers.
const DELAY: Duration = Duration::from_millis(40);

/// Percentage of lost packets on each of two parts of the way, so about 4 % are lost.
const LOSS: u32 = 2;

/// Each publishes one event after another.
const PUBLISHERS: usize = 16;
const EVENTS: usize = 60;

/// Number of events after which a client resumes at the other instance.
const HOP: usize = 50;

async fn instance(url: &str) -> Instance {
    let history = History::memory().events(2 * PUBLISHERS * EVENTS);
    let builder = EventStream::builder().history(history);
    let es = builder.backplane(Redis::new(url)).build().unwrap();
    let instance = Instance::of(es);
    within("the log", async { while !instance.es.catch_up().await {} }).await;
    instance
}

/// Publishes events, and returns the time until each was published.
async fn publish(instance: &Instance, publisher: usize) -> Vec<Duration> {
    let mut times = Vec::new();
    for n in 0..EVENTS {
        let started = Instant::now();
        let published = instance.publish("room", &format!("{publisher} {n}")).await;
        published.unwrap();
        times.push(started.elapsed());
    }
    times
}

/// Receives all events. After each [`HOP`], the client resumes at the other instance, if it hops.
async fn receive(
    mut stream: TestStream,
    instances: [&Instance; 2],
    hops: bool,
) -> Vec<ReceivedEvent> {
    let mut events: Vec<ReceivedEvent> = Vec::new();
    for n in 0..PUBLISHERS * EVENTS {
        if hops && n > 0 && n % HOP == 0 {
            let instance = instances[n / HOP % 2];
            let client = instance.resuming(events[n - 1].id().unwrap());
            stream = client.get("/room").await;
        }
        events.push(stream.expect("message").await);
    }
    events
}

/// Checks that a client has each event once, and in the order of the ids.
fn check(events: &[ReceivedEvent]) {
    let ids = events
        .iter()
        .map(|event| event.id().unwrap().parse().unwrap());
    let sequences: Vec<_> = ids.map(LastEventId::sequence).collect();
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let texts: HashSet<_> = events
        .iter()
        .map(|event| event.data().into_owned())
        .collect();
    assert_eq!(texts.len(), PUBLISHERS * EVENTS);
}

fn report(mut times: Vec<Duration>) {
    times.sort();
    let [p50, p99] = [50, 99].map(|percent| times[times.len() * percent / 100]);
    let (lost, longest) = (namespace::lost(), times.last().unwrap());
    println!(
        "published after {p50:?} (p50), {p99:?} (p99), {longest:?} (longest); {lost} packets were lost"
    );
}

#[tokio::test]
#[ignore = "needs Redis, and a network namespace with nftables"]
async fn a_slow_network_that_loses_packets_loses_no_event() {
    if namespace::has_run("backplane::network::a_slow_network_that_loses_packets_loses_no_event") {
        return;
    }
    let redis = RedisServer::start().await;
    let link = Link::to(redis.port()).await;
    link.slow(DELAY, Duration::ZERO);
    for port in [redis.port(), link.address.port()] {
        namespace::lose(LOSS, port);
    }
    let instances = [&instance(&link.url()).await, &instance(&link.url()).await];
    let clients = [(0, false), (1, false), (0, true), (1, true)];
    let clients =
        join_all(clients.map(async |(at, hops)| (instances[at].client.get("/room").await, hops)))
            .await;

    let publishers = (0..PUBLISHERS).map(|n| publish(instances[n % 2], n));
    let received = clients
        .into_iter()
        .map(|(stream, hops)| receive(stream, instances, hops));
    let work = async { tokio::join!(join_all(publishers), join_all(received)) };
    let (times, received) = within("all events", work).await;

    received.iter().for_each(|events| check(events));
    for Instance { es, .. } in instances {
        let stats = es.stats();
        assert_eq!((stats.resets, stats.backplane_resets), (0, 0));
    }
    assert!(namespace::lost() > 0, "the network has lost nothing");
    report(times.concat());
}

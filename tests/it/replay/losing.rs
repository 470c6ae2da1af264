//! Clients that lose their connections at random while many publish.

use std::{collections::HashMap, time::Duration};

use axum_eventstream::{EventStream, History};
use tokio::{runtime::Handle, sync::watch, task::JoinSet, time::sleep};

use super::{
    Way, app,
    client::{Client, Ends},
    records::Records,
};
use crate::support::{subscribed, within};

pub(crate) const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

/// One to three of the channels, in any order.
fn some_channels(random: &mut fastrand::Rng) -> Vec<&'static str> {
    let count = random.usize(1..4);
    random.choose_multiple(CHANNELS, count)
}

/// Few bytes, so that a connection often ends before the first event or within one; or more.
fn some_bytes(random: &mut fastrand::Rng) -> usize {
    match random.u8(..8) {
        0 => 0,
        1..4 => random.usize(1..200),
        4..7 => random.usize(200..10_000),
        _ => random.usize(10_000..200_000),
    }
}

pub(crate) async fn publish_some(es: EventStream, records: Records, seed: u64, count: usize) {
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..count {
        let channel = CHANNELS[random.usize(..CHANNELS.len())];
        let length = match random.u8(..20) {
            0 => random.usize(5_000..20_000),
            _ => random.usize(..200),
        };
        records.publish(&es, channel, length).await;
        if random.u8(..20) == 0 {
            sleep(Duration::from_millis(random.u64(..5))).await;
        }
    }
}

/// Publishers in tasks and in threads.
async fn publish_from_everywhere(es: &EventStream, records: &Records, random: &mut fastrand::Rng) {
    let publishing = |seed| publish_some(es.clone(), records.clone(), seed, 250);
    let mut publishers = JoinSet::new();
    for _ in 0..4 {
        publishers.spawn(publishing(random.u64(..)));
    }
    for _ in 0..2 {
        let (publish, handle) = (publishing(random.u64(..)), Handle::current());
        publishers.spawn_blocking(move || handle.block_on(publish));
    }
    publishers.join_all().await;
}

/// Publishes one more event on each channel, and tells the clients.
pub(crate) async fn publish_the_end(
    es: &EventStream,
    records: &Records,
    ends: &watch::Sender<Option<Ends>>,
) {
    let mut last = HashMap::new();
    for channel in CHANNELS {
        last.insert(channel.to_owned(), records.publish(es, channel, 0).await);
    }
    ends.send_replace(Some(last));
}

/// Returns how often the clients were told of something missing, and how often they connected.
async fn lose_and_resume(way: Way, history: History, random: &mut fastrand::Rng) -> (usize, usize) {
    let builder = EventStream::builder().history(history);
    let (es, records) = (builder.build().unwrap(), Records::default());
    let site = way.serve(app(&es)).await;
    let (ends, ended) = watch::channel(None);
    let mut clients = JoinSet::new();
    for _ in 0..16 {
        let client = Client::new(&some_channels(random));
        let mut random = random.fork();
        let budget = move || some_bytes(&mut random);
        clients.spawn(client.run(site.clone(), ended.clone(), budget));
    }
    publish_from_everywhere(&es, &records, random).await;
    publish_the_end(&es, &records, &ends).await;
    let clients = within("the clients", clients.join_all()).await;
    let epoch = es.current_id().unwrap().epoch();
    clients
        .iter()
        .for_each(|client| client.check(&records, &[epoch]));
    subscribed(&es, 0).await;
    let told = clients.iter().map(Client::resets).sum();
    (told, clients.iter().map(|client| client.connections).sum())
}

/// `REPLAY_SEED` repeats a run as far as threads can be repeated.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn clients_that_lose_connections_have_all_or_know_what_is_missing() {
    let seed = std::env::var("REPLAY_SEED")
        .map_or_else(|_| fastrand::u64(..), |seed| seed.parse().unwrap());
    println!("REPLAY_SEED={seed}");
    let (mut random, mut resets) = (fastrand::Rng::with_seed(seed), 0);
    for way in [Way::Called, Way::Plain, Way::Detached] {
        let all = History::memory().events(100_000);
        let (told, connections) = lose_and_resume(way, all, &mut random).await;
        assert_eq!(told, 0, "nothing is gone");
        assert!(connections > 32, "they do come back");
        let few = History::memory().events(8);
        resets += lose_and_resume(way, few, &mut random).await.0;
    }
    assert!(resets > 0, "something is gone");
}

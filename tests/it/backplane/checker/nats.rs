//! NATS is killed, stopped, or loses data.

use super::{
    fleet::{Engine, INSTANCES},
    link::Link,
    round::{self, NO_LOSS, NO_RESET, NO_SILENT_LOSS, RESETS_ALL, Site, under_load},
};
use crate::support::{
    nats::{NatsCluster, NatsServer},
    server::free_port,
};
use axum_eventstream::backplane::Nats;
use serde_json::{Value, json};
use std::{array, fs, path::Path};

/// The stream of the default namespace.
const STREAM: &str = "eventstream";

impl Site for NatsServer {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|_| Engine::new(Nats::new(self.url())))
    }
}

impl Site for NatsCluster {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|_| Engine::new(Nats::new(self.url()).replicas(3)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_killed_nats_server_loses_nothing() {
    under_load(NatsServer::start, NO_LOSS, async |server, _| {
        server.restart().await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_nats_server_that_stops_for_3_seconds_loses_nothing() {
    under_load(NatsServer::start, NO_LOSS, async |server, round| {
        server.pause();
        round.run(3000).await;
        server.resume();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_deleted_stream_resets_all_clients() {
    under_load(NatsServer::start, RESETS_ALL, async |server, _| {
        server.ask("STREAM.DELETE.eventstream", Value::Null).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn an_earlier_copy_of_the_store_resets_all_clients() {
    under_load(NatsServer::start, RESETS_ALL, async |server, round| {
        server.kill();
        let copy = server.copy_store();
        server.restart().await;
        round.run(1500).await;
        server.kill();
        server.replace_store(&copy);
        server.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_killed_leader_and_then_all_killed_servers_lose_nothing() {
    under_load(NatsCluster::start, NO_RESET, async |cluster, round| {
        let leader = cluster.leader(STREAM).await;
        cluster.0[leader].kill();
        round.run(6000).await;
        cluster.0[leader].restart().await;
        round.run(2000).await;
        cluster.0.iter_mut().for_each(NatsServer::kill);
        cluster.0.iter_mut().for_each(NatsServer::spawn);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_leader_that_stops_loses_nothing() {
    // Long ones run if more rounds are asked for.
    if round::count() == 1 {
        return;
    }
    under_load(NatsCluster::start, NO_RESET, async |cluster, round| {
        let leader = cluster.leader(STREAM).await;
        cluster.0[leader].pause();
        round.run(8000).await;
        cluster.0[leader].resume();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn servers_that_restart_one_by_one_lose_nothing() {
    if round::count() == 1 {
        return;
    }
    under_load(NatsCluster::start, NO_RESET, async |cluster, round| {
        for index in 0..3 {
            cluster.0[index].restart().await;
            round.run(4000).await;
        }
    })
    .await;
}

/// A cluster whose servers reach each other by links, and of which each instance has a server.
struct Linked {
    cluster: NatsCluster,
    links: [[Link; 3]; 3],
}

impl Linked {
    async fn start() -> Self {
        let ports = [free_port(), free_port(), free_port()];
        let links = [
            Link::all_to(ports).await,
            Link::all_to(ports).await,
            Link::all_to(ports).await,
        ];
        let address = |from: usize, to: usize| links[from][to].address.to_string();
        let cluster = NatsCluster::with(ports, address).await;
        Self { cluster, links }
    }
}

impl Site for Linked {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|index| Engine::new(Nats::new(self.cluster.0[index].url()).replicas(3)))
    }
}

/// The leader of the stream loses its connections to the other servers, but not those to its instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_leader_that_is_cut_off_loses_nothing_silently() {
    under_load(
        Linked::start,
        NO_SILENT_LOSS,
        async |Linked { cluster, links }, round| {
            let leader = cluster.leader(STREAM).await;
            let others = (0..3).filter(|other| *other != leader);
            for other in others {
                links[leader][other].down();
                links[other][leader].down();
            }
            round.run(8000).await;
            links.iter().flatten().for_each(Link::up);
            round.run(4000).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_changed_byte_in_a_replica_loses_nothing_silently() {
    under_load(
        NatsCluster::start,
        NO_SILENT_LOSS,
        async |cluster, round| {
            let damaged = (cluster.leader(STREAM).await + 1) % 3;
            cluster.0[damaged].kill();
            change_byte(&cluster.0[damaged].store());
            cluster.0[damaged].restart().await;
            round.run(3000).await;
            let request = format!("STREAM.LEADER.STEPDOWN.{STREAM}");
            let body = json!({ "placement": { "preferred": format!("s{damaged}") } });
            let answer = cluster.0[damaged].ask(&request, body).await;
            assert_eq!(answer["success"], true, "{answer}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_changed_byte_loses_nothing_silently() {
    under_load(NatsServer::start, NO_SILENT_LOSS, async |server, _| {
        server.kill();
        change_byte(&server.store());
        server.restart().await;
    })
    .await;
}

/// Changes a byte in the middle of the newest messages.
fn change_byte(store: &Path) {
    let folder = store.join("jetstream/$G/streams").join(STREAM).join("msgs");
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    let file = files
        .filter(|file| file.extension().is_some_and(|kind| kind == "blk"))
        .max()
        .unwrap();
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(file, bytes).unwrap();
}

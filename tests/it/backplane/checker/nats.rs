//! NATS is killed, stopped, or loses data.

use super::{
    link::Link,
    report::{Outcomes, Report, Resets},
    round::{self, Round, rounds},
};
use crate::support::nats::{NatsCluster, NatsServer, free_port};
use axum_eventstream::backplane::Nats;
use serde_json::{Value, json};
use std::{array, fs, path::Path};

const EVERYWHERE: Resets = Resets::AtInstances(&[0, 1, 2]);

/// The stream of the default namespace.
const STREAM: &str = "eventstream";

async fn on(server: &NatsServer, seed: u64) -> Round {
    Round::at(array::from_fn(|_| Nats::new(server.url())), seed).await
}

async fn on_cluster(cluster: &NatsCluster, seed: u64) -> Round {
    let nats = Nats::new(cluster.url()).replicas(3);
    Round::at(array::from_fn(|_| nats.clone()), seed).await
}

/// Runs a fault of a server under load.
async fn single(fault: impl AsyncFn(&mut NatsServer, &Round), resets: Resets, outcomes: Outcomes) {
    rounds(round::count(), async |seed| -> Report {
        let mut server = NatsServer::start().await;
        let round = on(&server, seed).await;
        round.run(1000).await;
        fault(&mut server, &round).await;
        round.run(1500).await;
        round.finish(resets, outcomes).await
    })
    .await;
}

/// Runs a fault of a cluster under load.
async fn cluster(
    fault: impl AsyncFn(&mut NatsCluster, &Round),
    resets: Resets,
    outcomes: Outcomes,
) {
    rounds(round::count(), async |seed| -> Report {
        let mut cluster = NatsCluster::start().await;
        let round = on_cluster(&cluster, seed).await;
        round.run(1000).await;
        fault(&mut cluster, &round).await;
        round.run(1500).await;
        round.finish(resets, outcomes).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_killed_nats_server_loses_nothing() {
    let fault = async |server: &mut NatsServer, _: &Round| server.restart().await;
    single(fault, Resets::Never, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_nats_server_that_stops_for_3_seconds_loses_nothing() {
    let fault = async |server: &mut NatsServer, round: &Round| {
        server.pause();
        round.run(3000).await;
        server.resume();
    };
    single(fault, Resets::Never, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_deleted_stream_resets_all_clients() {
    let fault = async |server: &mut NatsServer, _: &Round| {
        server.ask("STREAM.DELETE.eventstream", Value::Null).await;
    };
    single(fault, EVERYWHERE, Outcomes::PublishedOrMaybe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn an_earlier_copy_of_the_store_resets_all_clients() {
    let fault = async |server: &mut NatsServer, round: &Round| {
        server.kill();
        let copy = server.copy_store();
        server.restart().await;
        round.run(1500).await;
        server.kill();
        server.replace_store(&copy);
        server.restart().await;
    };
    single(fault, EVERYWHERE, Outcomes::PublishedOrMaybe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_killed_leader_loses_nothing() {
    let fault = async |cluster: &mut NatsCluster, round: &Round| {
        let leader = cluster.leader(STREAM).await;
        cluster.0[leader].kill();
        round.run(6000).await;
        cluster.0[leader].restart().await;
    };
    cluster(fault, Resets::Never, Outcomes::Any).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_cluster_whose_servers_are_all_killed_loses_nothing() {
    let fault = async |cluster: &mut NatsCluster, _: &Round| {
        cluster.0.iter_mut().for_each(NatsServer::kill);
        cluster.0.iter_mut().for_each(NatsServer::spawn);
    };
    cluster(fault, Resets::Never, Outcomes::Any).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_leader_that_stops_loses_nothing() {
    // Long ones run if more rounds are asked for.
    if round::count() == 1 {
        return;
    }
    let fault = async |cluster: &mut NatsCluster, round: &Round| {
        let leader = cluster.leader(STREAM).await;
        cluster.0[leader].pause();
        round.run(8000).await;
        cluster.0[leader].resume();
    };
    cluster(fault, Resets::Never, Outcomes::Any).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn servers_that_restart_one_by_one_lose_nothing() {
    if round::count() == 1 {
        return;
    }
    let fault = async |cluster: &mut NatsCluster, round: &Round| {
        for index in 0..3 {
            cluster.0[index].restart().await;
            round.run(4000).await;
        }
    };
    cluster(fault, Resets::Never, Outcomes::Any).await;
}

/// The leader of the stream loses its connections to the other servers, but not those to its instance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_leader_that_is_cut_off_loses_nothing_silently() {
    rounds(round::count(), async |seed| -> Report {
        let ports = [free_port(), free_port(), free_port()];
        let mut links = Vec::new();
        for _from in 0..3 {
            links.push([
                Link::to(ports[0]).await,
                Link::to(ports[1]).await,
                Link::to(ports[2]).await,
            ]);
        }
        let cluster =
            NatsCluster::with(ports, |from, to| links[from][to].address.to_string()).await;
        let nats = |index: usize| Nats::new(cluster.0[index].url()).replicas(3);
        let round = Round::at(array::from_fn(nats), seed).await;
        round.run(1000).await;
        let leader = cluster.leader(STREAM).await;
        let beside = |from: usize, to: usize| (from == leader) != (to == leader);
        for (from, to) in (0..9)
            .map(|pair| (pair / 3, pair % 3))
            .filter(|(from, to)| beside(*from, *to))
        {
            links[from][to].down();
        }
        round.run(8000).await;
        links.iter().flatten().for_each(Link::up);
        round.run(5000).await;
        round.finish(Resets::Allowed, Outcomes::Any).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_changed_byte_in_a_replica_loses_nothing_silently() {
    let fault = async |cluster: &mut NatsCluster, round: &Round| {
        let damaged = (cluster.leader(STREAM).await + 1) % 3;
        cluster.0[damaged].kill();
        change_byte(&cluster.0[damaged].store());
        cluster.0[damaged].restart().await;
        round.run(3000).await;
        let request = format!("STREAM.LEADER.STEPDOWN.{STREAM}");
        let body = json!({ "placement": { "preferred": format!("s{damaged}") } });
        let answer = cluster.0[damaged].ask(&request, body).await;
        assert_eq!(answer["success"], true, "{answer}");
    };
    cluster(fault, Resets::Allowed, Outcomes::Any).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_changed_byte_loses_nothing_silently() {
    let fault = async |server: &mut NatsServer, _: &Round| {
        server.kill();
        change_byte(&server.store());
        server.restart().await;
    };
    single(fault, Resets::Allowed, Outcomes::Any).await;
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

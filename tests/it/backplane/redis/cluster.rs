//! A cluster of several nodes.

use super::*;
use crate::support::{redis::RedisServer, server::free_port, within};
use std::time::Duration;
use tokio::time::sleep;

const NODES: usize = 3;
const SLOTS: usize = 16384;

/// Starts nodes without replicas, which share the slots.
async fn cluster() -> Vec<RedisServer> {
    let mut nodes = Vec::new();
    let mut meetings = Vec::new();
    for number in 0..NODES {
        let bus = free_port();
        let configuration = format!("save ''\ncluster-enabled yes\ncluster-port {bus}");
        let node = RedisServer::with(&configuration).await;
        let (first, end) = (number * SLOTS / NODES, (number + 1) * SLOTS / NODES);
        node.command(&format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1));
        meetings.push(format!("CLUSTER MEET 127.0.0.1 {} {bus}", node.port()));
        nodes.push(node);
    }
    for meeting in &meetings[1..] {
        nodes[0].command(meeting);
    }
    within("the cluster", async {
        let is_ok = |node: &RedisServer| node.command("CLUSTER INFO").contains("cluster_state:ok");
        while !nodes.iter().all(is_ok) {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    nodes
}

fn entries(node: &RedisServer) -> usize {
    let answer = node.command("XLEN {eventstream}:log");
    answer.parse().unwrap_or(0)
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn every_node_leads_to_the_log() {
    let mut nodes = cluster().await;
    let mut epochs = Vec::new();
    for node in &nodes {
        let mut instance = Instance::of(&Redis::new(node.url())).await;
        instance.append(&["a"]).await.unwrap();
        assert_eq!(payloads(&instance.read().await.unwrap()), ["a"]);
        epochs.push(instance.epoch);
    }
    assert!(epochs.iter().all(|epoch| *epoch == epochs[0]));
    let counts: Vec<_> = nodes.iter().map(entries).collect();
    assert_eq!(counts.iter().sum::<usize>(), 1 + NODES, "{counts:?}");

    // A seed that does not answer is skipped.
    let owner = counts.iter().position(|count| *count > 0).unwrap();
    let dead = (owner + 1) % NODES;
    nodes[dead].kill();
    let url = format!(
        "redis://127.0.0.1:{},127.0.0.1:{}",
        nodes[dead].port(),
        nodes[owner].port()
    );
    let instance = Instance::of(&Redis::new(url)).await;
    assert_eq!(instance.epoch, epochs[0]);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_log_that_moves_is_unavailable_until_the_next_connect() {
    let nodes = cluster().await;
    let redis = Redis::new(nodes[0].url());
    let mut instance = Instance::of(&redis).await;
    let slot = nodes[0].command("CLUSTER KEYSLOT {eventstream}");
    let owner = nodes.iter().position(|node| entries(node) > 0).unwrap();
    let other = &nodes[(owner + 1) % NODES];
    let id = other.command("CLUSTER MYID");
    nodes[owner].command("FLUSHALL");
    other.command(&format!("CLUSTER SETSLOT {slot} NODE {id}"));
    nodes[owner].command(&format!("CLUSTER SETSLOT {slot} NODE {id}"));

    assert_eq!(
        kind(instance.append(&["a"]).await),
        FailureKind::Unavailable
    );
    assert_eq!(kind(instance.attach().await), FailureKind::Unavailable);
    assert_eq!(kind(instance.read().await), FailureKind::Unavailable);

    let again = Redis::new(nodes[owner].url());
    instance.reconnect(&again).await;
    assert_eq!(
        instance.attach().await.unwrap().cause.as_deref(),
        Some("absent")
    );
    assert_eq!(entries(other), 1);
}

//! The rules of an engine.

use crate::support::nats::{NatsCluster, NatsServer};
use axum_eventstream::{
    backplane::Nats,
    testing::backplane::{Subject, contract},
};
use serde_json::{Value, json};
use std::{fs, path::Path, sync::Arc, time::Duration};
use tokio::{sync::Mutex, time::sleep};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn nats_keeps_the_rules_of_an_engine() {
    let server = Arc::new(Mutex::new(NatsServer::start().await));
    let mut number = 0;
    contract(|| {
        number += 1;
        let (server, name) = (server.clone(), format!("log-{number}"));
        async move {
            let nats = Nats::new(server.lock().await.url()).namespace(&name);
            let (wiped, cut, trimmed) = (server.clone(), server.clone(), server);
            let (a, b, c) = (name.clone(), name.clone(), name);
            Subject::new(nats)
                .wipe(move || async move {
                    let request = format!("STREAM.DELETE.{a}");
                    wiped.lock().await.ask(&request, Value::Null).await;
                })
                .lose_tail(move |entries| async move { lose_tail(cut, &b, entries).await })
                .trim(move |newest| async move { trim(&*trimmed.lock().await, &c, newest).await })
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NATS"]
async fn a_cluster_keeps_the_rules_of_an_engine() {
    let cluster = Arc::new(NatsCluster::start().await);
    let mut number = 0;
    contract(|| {
        number += 1;
        let (cluster, name) = (cluster.clone(), format!("log-{number}"));
        async move {
            let nats = Nats::new(cluster.url()).namespace(&name).replicas(3);
            let (wiped, trimmed) = (cluster.clone(), cluster);
            let (a, b) = (name.clone(), name);
            Subject::new(nats)
                .wipe(move || async move { wiped.delete(&a).await })
                .trim(move |newest| async move { trim(&trimmed.0[0], &b, newest).await })
        }
    })
    .await;
}

/// Lets the oldest messages expire until the newest ones have so many drafts.
async fn trim(server: &NatsServer, stream: &str, newest: usize) {
    let kept = messages_of(server, stream, newest).await;
    server
        .update(stream, |config| match kept {
            0 => {
                (config["max_age"], config["duplicate_window"]) =
                    (json!(200_000_000), json!(200_000_000))
            }
            _ => config["max_msgs"] = json!(kept),
        })
        .await;
    while messages(server, stream).await > kept {
        sleep(Duration::from_millis(20)).await;
    }
    server
        .update(stream, |config| {
            config["max_msgs"] = json!(100_000);
            config["max_age"] = json!(0);
            config["duplicate_window"] = json!(300_000_000_000_u64);
        })
        .await;
}

async fn messages(server: &NatsServer, stream: &str) -> u64 {
    let info = server
        .ask(&format!("STREAM.INFO.{stream}"), Value::Null)
        .await;
    info["state"]["messages"].as_u64().unwrap()
}

/// Returns how many of the newest messages have so many drafts.
async fn messages_of(server: &NatsServer, stream: &str, drafts: usize) -> u64 {
    let info = server
        .ask(&format!("STREAM.INFO.{stream}"), Value::Null)
        .await;
    let last = info["state"]["last_seq"].as_u64().unwrap();
    let (mut left, mut count) = (drafts, 0);
    while left > 0 {
        let request = format!("STREAM.MSG.GET.{stream}");
        let answer = server.ask(&request, json!({ "seq": last - count })).await;
        let headers = base64(answer["message"]["hdrs"].as_str().unwrap());
        left -= drafts_in(&headers);
        count += 1;
    }
    count
}

fn base64(text: &str) -> Vec<u8> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    STANDARD.decode(text).unwrap()
}

/// The number of drafts in a message with these headers.
fn drafts_in(headers: &[u8]) -> usize {
    let text = String::from_utf8_lossy(headers);
    let (_, rest) = text.split_once("Eventstream-Drafts: ").unwrap();
    rest.split_once('\r').unwrap().0.parse().unwrap()
}

/// Deletes the newest messages, which have so many drafts, from the file of a server that does not run.
async fn lose_tail(server: Arc<Mutex<NatsServer>>, stream: &str, drafts: usize) {
    let mut server = server.lock().await;
    let count = messages_of(&server, stream, drafts).await;
    server.kill();
    let folder = server
        .store()
        .join("jetstream/$G/streams")
        .join(stream)
        .join("msgs");
    for file in fs::read_dir(&folder).unwrap() {
        let file = file.unwrap().path();
        match file.extension().is_some_and(|extension| extension == "blk") {
            true => cut(&file, count),
            false => fs::remove_file(file).unwrap(),
        }
    }
    server.restart().await;
}

/// Cuts the last records off a file. Each begins with its length, whose highest bit tells of headers.
fn cut(file: &Path, count: u64) {
    let bytes = fs::read(file).unwrap();
    let mut records = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        records.push(at);
        let length = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        at += (length & 0x7fff_ffff) as usize;
    }
    let end = records[records.len() - usize::try_from(count).unwrap()];
    fs::write(file, &bytes[..end]).unwrap();
}

//! Appends and reads.

use super::*;
use crate::support::{redis::RedisServer, within};
use std::time::Duration;
use tokio::time::{sleep, timeout};

#[tokio::test]
#[ignore = "needs Redis"]
async fn two_instances_read_all_appended_entries_in_one_order() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url()).namespace("chat");
    let (mut one, mut two) = (Instance::of(&redis).await, Instance::of(&redis).await);
    let start = one.last;
    assert_eq!((two.epoch, two.last), (one.epoch, start));

    let first = one.append(&["a", "b"]).await.unwrap();
    let second = two.append(&["c"]).await.unwrap();

    assert_eq!((first.last, first.added), (start + 2, 2));
    assert_eq!((second.last, second.added), (start + 3, 1));
    let read = one.read().await.unwrap();
    assert_eq!(payloads(&read), ["a", "b", "c"]);
    let sequences: Vec<_> = read.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, [start + 1, start + 2, start + 3]);
    assert_eq!(two.read().await.unwrap(), read);
    let head = one.writer.head().await.unwrap();
    assert_eq!((head.epoch, head.last), (one.epoch, start + 3));
    assert_eq!(server.command("KEYS *").lines().count(), 2);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_read_after_a_cancelled_one_returns_the_same_entries() {
    let server = RedisServer::start().await;
    let mut instance = Instance::of(&Redis::new(server.url())).await;

    for text in ["a", "b"] {
        let cancelled = timeout(Duration::from_millis(20), instance.read()).await;
        assert!(cancelled.is_err(), "{cancelled:?}");
        instance.append(&[text]).await.unwrap();
        assert_eq!(payloads(&instance.read().await.unwrap()), [text]);
    }

    within("the end of cancelled reads", async {
        while server.command("CLIENT LIST").contains("flags=b") {
            sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_read_returns_a_part_of_a_long_log() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let mut instance = Instance::of(&redis).await;
    let texts: Vec<_> = (0..6000).map(|number| number.to_string()).collect();
    let texts: Vec<_> = texts.iter().map(String::as_str).collect();
    let (single, batches) = texts.split_at(300);
    for text in single {
        instance.append(&[text]).await.unwrap();
    }
    for batch in batches.chunks(300) {
        instance.append(batch).await.unwrap();
    }

    let (mut read, mut largest) = (Vec::new(), 0);
    while read.len() < texts.len() {
        let entries = instance.read().await.unwrap();
        largest = largest.max(entries.len());
        read.extend(entries);
    }

    assert!((300..6000).contains(&largest), "{largest}");
    assert_eq!(payloads(&read), texts);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn the_log_is_trimmed_at_its_beginning() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url()).max_entries(100);
    let mut instance = Instance::of(&redis).await;
    let start = instance.last;

    for _ in 0..10 {
        instance.append(&["x"; 100]).await.unwrap();
    }

    let attached = instance.attach().await.unwrap();
    assert_eq!(attached.last, start + 1000);
    let kept = attached.last - attached.first.unwrap() + 1;
    // Redis trims whole nodes of its tree, which have 4 KiB.
    assert!((100..700).contains(&kept), "{kept}");
    assert_eq!(attached.cause, None);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn entries_of_others_are_foreign_and_stop_nothing() {
    let server = RedisServer::start().await;
    let mut instance = Instance::of(&Redis::new(server.url())).await;
    instance.append(&["a"]).await.unwrap();
    let foreign = [
        "unknown field",
        "o 0000000000000001:1:1:0:x d x",
        "o 0000000000000001:1:0:0:x d x",
        "o 0000000000000001:18446744073709551615:9:0:x d x",
        "o 00 c news d x t 1",
    ];
    for fields in foreign {
        server.command(&format!("XADD {{eventstream}}:log * {fields}"));
    }

    let read = instance.read().await.unwrap();
    assert_eq!(payloads(&read[..1]), ["a"]);
    assert_eq!(payloads(&read[1..]), ["<foreign>"; 5]);
    let attached = instance.attach().await.unwrap();
    assert_eq!((attached.cause, attached.last), (None, instance.last));
    instance.append(&["b"]).await.unwrap();

    assert_eq!(payloads(&instance.read().await.unwrap()), ["b"]);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn an_entry_of_others_takes_no_sequence() {
    let server = RedisServer::start().await;
    let redis = Redis::new(server.url());
    let mut instance = Instance::of(&redis).await;
    let start = instance.append(&["a"]).await.unwrap().last;
    server.command(&format!("XADD {{eventstream}}:log {}-0 a b", start + 1));
    assert_eq!(
        payloads(&instance.read().await.unwrap()),
        ["a", "<foreign>"]
    );

    assert_eq!(kind(instance.append(&["b"]).await), FailureKind::Refused);
    instance.append_at(2, &["b", "c"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["b", "c"]);

    let last = u64::MAX;
    server.command(&format!("XADD {{eventstream}}:log {last}-0 a b"));
    assert_eq!(payloads(&instance.read().await.unwrap()), ["<foreign>"]);
    let attached = instance.attach().await.unwrap();
    assert_eq!((attached.last, attached.cause), (start + 2, None));
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_socket_in_the_file_system_is_a_server() {
    let server = RedisServer::start().await;
    let redis = Redis::new(format!("unix://{}/s", server.folder().display()));
    let mut instance = Instance::of(&redis).await;
    instance.append(&["a"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["a"]);
}

#[tokio::test]
#[ignore = "needs Redis"]
async fn a_database_is_a_log_of_its_own() {
    let server = RedisServer::start().await;
    let default = Instance::of(&Redis::new(server.url())).await;
    let other = Instance::of(&Redis::new(format!("{}/5", server.url()))).await;
    assert_ne!(default.epoch, other.epoch);
}

//! A new epoch begins exactly when something is gone.

use super::*;

#[tokio::test]
#[ignore = "needs NATS"]
async fn the_first_attach_creates_a_stream_in_milliseconds() {
    let server = NatsServer::start().await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();

    assert_eq!(kind(writer.head().await), FailureKind::Stale);
    let known = Known::nothing(Origin::new(1), 42);
    let attached = writer.attach(&known).await.unwrap();

    assert_eq!(
        (attached.epoch, attached.cause.as_deref()),
        (42, Some("absent"))
    );
    assert_eq!(attached.first, None);
    let info = server.ask("STREAM.INFO.eventstream", Value::Null).await;
    assert_eq!(
        info["config"]["subjects"],
        json!(["eventstream.eventstream.00000000002a.*"])
    );
    assert_eq!(info["config"]["max_msgs"], 100_000);
    assert_eq!(info["config"]["duplicate_window"], 300_000_000_000_u64);
    let last = info["state"]["last_seq"].as_u64().unwrap();
    assert_eq!(attached.last, last * 1024 + 1023);
    // So that ids have the size of those in Redis, which are microseconds.
    let milliseconds = std::time::UNIX_EPOCH.elapsed().unwrap().as_millis();
    assert_eq!(u128::from(last) / 1_000_000, milliseconds / 1_000_000);
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn instances_that_attach_at_once_share_an_epoch() {
    let server = NatsServer::start().await;
    let nats = Nats::new(server.url());
    let attach = async || Instance::of(&nats).await.epoch;
    for _ in 0..5 {
        let epochs = tokio::join!(attach(), attach(), attach(), attach());
        assert!(
            [epochs.1, epochs.2, epochs.3] == [epochs.0; 3],
            "{epochs:?}"
        );
        delete(&server).await;
    }
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_deleted_stream_ends_a_read_within_seconds() {
    let server = NatsServer::start().await;
    let mut instance = Instance::of(&Nats::new(server.url())).await;
    instance.append(&["a"]).await.unwrap();
    instance.read().await.unwrap();

    let start = Instant::now();
    let (read, ()) = tokio::join!(instance.read(), delete(&server));

    assert_eq!(kind(read), FailureKind::Lost);
    assert!(start.elapsed() < Duration::from_secs(7));
}

/// Two instances can create a stream one after the other, in the same millisecond.
#[tokio::test]
#[ignore = "needs NATS"]
async fn a_stream_with_the_sequences_of_another_epoch_is_not_read() {
    let server = NatsServer::start().await;
    let nats = Nats::new(server.url());
    let mut a = Instance::of(&nats).await;
    let begin = a.last;
    let info = server.ask("STREAM.INFO.eventstream", Value::Null).await;
    let mut config = info["config"].clone();
    config["subjects"] = json!(["eventstream.eventstream.00000000002a.*"]);
    delete(&server).await;
    let created = server.ask("STREAM.CREATE.eventstream", config).await;
    assert_eq!(created["error"], Value::Null, "{created}");
    let mut b = Instance::of(&nats).await;
    assert_eq!((b.epoch, b.last), (42, begin));
    b.append(&["one"]).await.unwrap();

    assert_eq!(kind(a.read().await), FailureKind::Unavailable);
    assert_eq!(a.attach().await.unwrap().epoch, 42);
    assert_eq!(payloads(&a.reader.read(begin).await.unwrap()), ["one"]);
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_restart_keeps_the_log() {
    let mut server = NatsServer::start().await;
    let nats = Nats::new(server.url());
    let mut instance = Instance::of(&nats).await;
    let begin = instance.last;
    instance.append(&["a"]).await.unwrap();
    instance.read().await.unwrap();
    let epoch = instance.epoch;

    server.restart().await;
    // 2.10.27 and 2.11.1 delete all messages here.
    let mut newcomer = Instance::of(&nats).await;
    assert_eq!(payloads(&newcomer.reader.read(begin).await.unwrap()), ["a"]);
    instance.reconnect(&nats).await;

    let attached = instance.attach().await.unwrap();
    assert_eq!((attached.epoch, attached.cause), (epoch, None));
    // The server still skips a repetition.
    assert_eq!(instance.append_at(1, &["a"]).await.unwrap().added, 0);
    instance.append(&["b"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["b"]);
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn an_earlier_copy_of_the_store_begins_an_epoch() {
    // Whether or not others have appended meanwhile, and whichever instance notices it.
    for (appends, cause_for_follower) in [(0, "regress"), (3, "mark")] {
        let mut server = NatsServer::start().await;
        let nats = Nats::new(server.url());
        let mut publisher = Instance::of(&nats).await;
        let mut follower = Instance::of(&nats).await;
        publisher.append(&["a"]).await.unwrap();
        server.kill();
        let copy = server.copy_store();
        server.restart().await;
        publisher.reconnect(&nats).await;
        follower.reconnect(&nats).await;
        publisher.append(&["b"]).await.unwrap();
        follower.read().await.unwrap();

        for (cause, knows) in [
            (cause_for_follower, &mut follower),
            ("publisher", &mut publisher),
        ] {
            server.kill();
            server.replace_store(&copy);
            server.restart().await;
            let mut newcomer = Instance::of(&nats).await;
            for _ in 0..appends {
                newcomer.append(&["x"]).await.unwrap();
            }
            let last = knows.last;
            knows.reconnect(&nats).await;
            let attached = knows.attach().await.unwrap();
            assert_eq!(attached.cause.as_deref(), Some(cause));
            assert!(attached.last > last);
        }
    }
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn an_attach_that_notices_a_loss_leaves_a_newer_epoch_alone() {
    let server = NatsServer::start().await;
    let nats = Nats::new(server.url());
    let (mut one, mut two) = (Instance::of(&nats).await, Instance::of(&nats).await);
    one.append(&["a"]).await.unwrap();
    for instance in [&mut one, &mut two] {
        instance.read().await.unwrap();
    }
    // Both have seen an entry that the stream does not have.
    for instance in [&mut one, &mut two] {
        let seen = instance.known.seen.as_mut().unwrap();
        seen.last += 1024;
    }
    let epoch = one.attach().await.unwrap().epoch;
    one.append(&["b"]).await.unwrap();
    let attached = two.attach().await.unwrap();
    assert_eq!((attached.epoch, attached.cause), (epoch, None));
}

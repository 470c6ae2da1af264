//! Failures, and which of them leave the outcome open.

use super::*;

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut server = NatsServer::start().await;
    let nats = Nats::new(server.url());
    server.kill();
    let failure = nats.connect().await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    let address = format!("127.0.0.1:{}", server.port());
    assert!(failure.to_string().contains(&address), "{failure}");
    // The next server of the list is tried.
    let other = NatsServer::start().await;
    let url = format!("nats://{address},127.0.0.1:{}", other.port());
    Instance::of(&Nats::new(url))
        .await
        .append(&["a"])
        .await
        .unwrap();
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_session_ends_with_its_connection() {
    let mut server = NatsServer::start().await;
    let mut instance = Instance::of(&Nats::new(server.url())).await;
    let start = Instant::now();
    let restart = async {
        sleep(Duration::from_millis(200)).await;
        server.restart().await;
    };
    let (read, ()) = tokio::join!(instance.read(), restart);
    assert_eq!(kind(read), FailureKind::Lost);
    // The client does not connect again, so the earlier history is not continued on another one.
    assert_eq!(kind(instance.append(&["a"]).await), FailureKind::Lost);
    assert_eq!(kind(instance.attach().await), FailureKind::Lost);
    assert_eq!(kind(instance.read().await), FailureKind::Lost);
    assert!(start.elapsed() < Duration::from_secs(7));
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_server_that_hangs_loses_answers_within_seconds() {
    let server = NatsServer::start().await;
    let nats = Nats::new(server.url());
    let mut instance = Instance::of(&nats).await;
    instance.append(&["a"]).await.unwrap();
    instance.read().await.unwrap();
    server.pause();
    let start = Instant::now();
    let last = instance.last;
    let number = instance.known.acknowledged + 1;
    let (epoch, origin) = (instance.epoch, instance.known.origin);
    let drafts = [Draft::new("news", "b")];
    let append = instance
        .writer
        .append(Batch::new(epoch, origin, number, &drafts));
    let (append, head, read) =
        tokio::join!(append, instance.writer.head(), instance.reader.read(last));
    assert_eq!(
        (kind(append), kind(head), kind(read)),
        (FailureKind::Lost, FailureKind::Lost, FailureKind::Lost)
    );
    assert!(start.elapsed() < Duration::from_secs(7));
    server.resume();

    // The append was executed all the same, so a repetition adds nothing.
    instance.reconnect(&nats).await;
    instance.attach().await.unwrap();
    let repeated = instance.append_at(number, &["b"]).await.unwrap();
    assert_eq!(repeated.added, 0);
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_server_without_jetstream_is_unavailable() {
    let server = NatsServer::without_jetstream("").await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
    let known = Known::nothing(Origin::new(1), 1);
    let failure = writer.attach(&known).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    assert!(failure.to_string().contains("JetStream"), "{failure}");
}

/// Appends until it fails.
async fn fill(nats: &Nats) -> Failure {
    let instance = Instance::of(nats).await;
    let drafts = [Draft::new("news", vec![0; 30_000])];
    for number in 1..100 {
        let batch = Batch::new(instance.epoch, instance.known.origin, number, &drafts);
        if let Err(failure) = instance.writer.append(batch).await {
            return failure;
        }
    }
    panic!("it is not full");
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_full_account_refuses_appends() {
    let account = "accounts { A { jetstream: { max_file: 300KB }, users: [{ user: a, password: a }] } }\n\
        no_auth_user: a";
    let server = NatsServer::with(account).await;
    let failure = fill(&Nats::new(server.url())).await;
    assert_eq!(failure.kind(), FailureKind::Refused, "{failure}");
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_full_server_leaves_the_outcome_open() {
    let store = tempfile::tempdir().unwrap();
    let jetstream = format!(
        "jetstream {{ store_dir: {:?}, max_file_store: 300KB }}",
        store.path()
    );
    let server = NatsServer::with(&jetstream).await;
    let failure = fill(&Nats::new(server.url())).await;
    // In a cluster, other servers may have room.
    assert_eq!(failure.kind(), FailureKind::Lost, "{failure}");
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn replicas_without_a_cluster_are_refused() {
    let server = NatsServer::start().await;
    let (writer, _reader) = Nats::new(server.url()).replicas(3).connect().await.unwrap();
    let known = Known::nothing(Origin::new(1), 1);
    let failure = writer.attach(&known).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains("replicas"), "{failure}");
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_full_stream_drops_its_oldest_entries() {
    let server = NatsServer::start().await;
    let nats = Nats::new(server.url()).max_messages(2);
    let mut instance = Instance::of(&nats).await;
    let begin = instance.last;
    for payload in ["a", "b", "c"] {
        instance.append(&[payload]).await.unwrap();
    }
    let entries = instance.reader.read(begin).await.unwrap();
    assert_eq!(payloads(&entries), ["b", "c"]);
    // The gap is seen by who has read the first one.
    assert!(entries[0].previous > begin);
    let attached = instance.attach().await.unwrap();
    assert_eq!(
        (attached.cause, attached.first),
        (None, Some(entries[0].previous + 1))
    );
}

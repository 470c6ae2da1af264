//! What a stream may contain, and which streams hold no log.

use super::*;

/// Publishes a message beside the engine.
async fn forge(
    server: &NatsServer,
    instance: &Instance,
    headers: &[(&str, String)],
    payload: &'static [u8],
) {
    let mut map = async_nats::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.as_str());
    }
    let client = server.client().await;
    let subject = format!("eventstream.{STREAM}.{:012x}.x", instance.epoch);
    let sent = client
        .request_with_headers(subject, map, payload.into())
        .await;
    let answer: Value = serde_json::from_slice(&sent.unwrap().payload).unwrap();
    assert!(answer["seq"].is_u64(), "{answer}");
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn messages_of_others_are_foreign() {
    let server = NatsServer::start().await;
    let mut instance = Instance::of(&Nats::new(server.url())).await;
    let id = |id: &str| ("Nats-Msg-Id", id.to_owned());
    let count = |count: &str| ("Eventstream-Drafts", count.to_owned());
    let origin = "00000000000000aa";
    let mut forged = 0;
    for (headers, payload) in [
        (vec![], &b"\x01a\0\0\0\x011"[..]),
        (vec![id(&format!("{origin}:1"))], b"\x01a\0\0\0\x011"),
        (
            vec![id(&format!("{origin}:2")), count("2")],
            b"\x01a\0\0\0\x011",
        ),
        (vec![id(&format!("{origin}:3")), count("0")], b""),
        (
            vec![id(&format!("{origin}:4")), count("1025")],
            b"\x01a\0\0\0\x011",
        ),
        (
            vec![id(&format!("{origin}:{}", u64::MAX)), count("1")],
            b"\x01a\0\0\0\x011",
        ),
        (
            vec![id(&format!("{origin}:5")), count("1")],
            b"\x01\xff\0\0\0\x011",
        ),
        (vec![id("nobody:6"), count("1")], b"\x01a\0\0\0\x011"),
    ] {
        forge(&server, &instance, &headers, payload).await;
        forged += 1;
    }
    let last = instance.append(&["a"]).await.unwrap().last;
    let entries = instance.read().await.unwrap();
    let expected = [vec!["<foreign>"; forged], vec!["a"]].concat();
    assert_eq!(payloads(&entries), expected);
    assert!(
        entries
            .windows(2)
            .all(|pair| pair[1].previous == pair[0].sequence)
    );
    assert_eq!(entries.last().unwrap().sequence, last);
    assert_eq!(instance.attach().await.unwrap().cause, None);

    // A foreign message at the end compares nothing.
    forge(&server, &instance, &[], b"").await;
    instance.last = last;
    assert_eq!(payloads(&instance.read().await.unwrap()), ["<foreign>"]);
    assert_eq!(instance.attach().await.unwrap().cause, None);
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_batch_above_the_servers_limit_goes_in_several_messages() {
    let server = NatsServer::with("max_payload: 65536").await;
    let nats = Nats::new(server.url());
    let mut instance = Instance::of(&nats).await;
    let draft = |byte: u8| Draft::new("news", vec![byte; 30_000]);
    let drafts: Vec<_> = (0..5).map(draft).collect();
    let batch = Batch::new(instance.epoch, instance.known.origin, 1, &drafts);
    let committed = instance.writer.append(batch).await.unwrap();
    assert_eq!(committed.added, 5);
    let info = server.ask("STREAM.INFO.eventstream", Value::Null).await;
    assert_eq!(info["state"]["messages"], 3);

    // On a new connection, also if it goes in other messages.
    instance.reconnect(&nats).await;
    for count in [5, 1, 2] {
        let batch = Batch::new(instance.epoch, instance.known.origin, 1, &drafts[..count]);
        assert_eq!(
            instance.writer.append(batch).await.unwrap().added,
            0,
            "{count}"
        );
        instance.reconnect(&nats).await;
    }
    let mut read = Vec::new();
    while read.len() < 5 {
        read.extend(instance.read().await.unwrap());
    }
    for (index, entry) in read.iter().enumerate() {
        let Content::Published(publication) = &entry.content else {
            panic!("{entry:?}");
        };
        assert_eq!(publication.number, index as u64 + 1);
        assert_eq!(publication.payload, drafts[index].payload);
    }
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn an_event_above_the_servers_limit_is_refused() {
    let server = NatsServer::with("max_payload: 65536").await;
    let instance = Instance::of(&Nats::new(server.url())).await;
    let drafts = [Draft::new("news", vec![0; 65_536])];
    let batch = Batch::new(instance.epoch, instance.known.origin, 1, &drafts);
    let failure = instance.writer.append(batch).await.unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains("max_payload"), "{failure}");
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_foreign_stream_is_refused_and_kept() {
    let server = NatsServer::start().await;
    let subjects = json!(["eventstream.eventstream.00000000002a.*"]);
    for (change, fault) in [
        (json!({ "subjects": ["news.>"] }), "subjects"),
        (
            json!({ "subjects": ["eventstream.eventstream.>"] }),
            "subjects",
        ),
        (
            json!({ "max_msgs_per_subject": 10 }),
            "limit for each subject",
        ),
        (json!({ "discard": "new", "max_msgs": 10 }), "discards new"),
        (json!({ "retention": "workqueue" }), "retention"),
        (
            json!({ "duplicate_window": 119_000_000_000_u64 }),
            "duplicate window",
        ),
        (json!({ "max_msg_size": 65_536 }), "size of a message"),
        (json!({ "allow_rollup_hdrs": true }), "rollups"),
    ] {
        let mut config = json!({ "name": STREAM, "subjects": subjects });
        let changes = change.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(changes);
        let created = server.ask("STREAM.CREATE.eventstream", config).await;
        assert!(created["error"].is_null(), "{created}");

        let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
        let attached = writer.attach(&Known::nothing(Origin::new(1), 1)).await;
        let failure = attached.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Refused, "{change}");
        assert!(failure.to_string().contains(fault), "{change}: {failure}");
        delete(&server).await;
    }

    // Another stream has the subjects already.
    let other = json!({ "name": "other", "subjects": ["eventstream.>"] });
    server.ask("STREAM.CREATE.other", other).await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
    let failure = writer
        .attach(&Known::nothing(Origin::new(1), 1))
        .await
        .unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains("overlap"), "{failure}");
}

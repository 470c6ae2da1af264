//! Answers that a healthy server does not give. A client of the tests gives them, at a server without JetStream.

use super::*;
use axum_eventstream::backplane::Seen;
use tokio_stream::StreamExt as _;

/// Answers the first requests on a subject after a pause. Nobody receives later ones.
async fn answer(server: &NatsServer, subject: &'static str, pause: Duration, answers: Vec<Value>) {
    let client = server.client().await;
    let mut requests = client.subscribe(subject).await.unwrap();
    let count = answers.len().try_into().unwrap();
    requests.unsubscribe_after(count).await.unwrap();
    // The server has the subscription when it answers this.
    client.request("nobody", "".into()).await.unwrap_err();
    tokio::spawn(async move {
        for answer in answers {
            let request = requests.next().await.unwrap();
            sleep(pause).await;
            let answer = answer.to_string().into();
            client
                .publish(request.reply.unwrap(), answer)
                .await
                .unwrap();
        }
        client.flush().await.unwrap();
    });
}

const AT_ONCE: Duration = Duration::ZERO;
const BATCHES: &str = "eventstream.eventstream.>";
const INFO: &str = "$JS.API.STREAM.INFO.eventstream";

fn error(code: u16, err_code: u16) -> Value {
    json!({ "error": { "code": code, "err_code": err_code, "description": "no" }, "seq": 0 })
}

/// The log of the epoch 42 with this many messages.
fn log(messages: u64) -> Value {
    let config = json!({
        "subjects": ["eventstream.eventstream.00000000002a.*"], "retention": "limits", "discard": "old",
        "duplicate_window": 300_000_000_000_u64,
    });
    let state = json!({ "messages": messages, "first_seq": 1, "last_seq": messages });
    json!({ "config": config, "state": state, "ts": "2026-11-27T05:47:22Z" })
}

/// An instance that has read two messages of that log.
fn reader_of_two_messages() -> Known {
    Known::nothing(Origin::new(1), 1).seen(Seen::new(42, 2 * 1024 + 1023, ""))
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_leader_that_lacks_messages_for_a_moment_keeps_its_stream() {
    let server = NatsServer::without_jetstream("").await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
    // Nobody receives a delete.
    answer(&server, INFO, AT_ONCE, vec![log(1), log(2)]).await;
    let attached = writer.attach(&reader_of_two_messages()).await.unwrap();
    assert_eq!((attached.epoch, attached.cause), (42, None));
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn an_attach_ends_within_seconds_although_each_request_is_answered() {
    let server = NatsServer::without_jetstream("").await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
    let slow = Duration::from_millis(1500);
    answer(&server, INFO, slow, vec![log(1); 9]).await;
    let deleted = vec![json!({ "success": true }); 9];
    answer(&server, "$JS.API.STREAM.DELETE.eventstream", slow, deleted).await;
    let in_use = vec![error(400, 10058); 9];
    answer(&server, "$JS.API.STREAM.CREATE.eventstream", slow, in_use).await;
    let start = Instant::now();
    let attached = writer.attach(&reader_of_two_messages()).await;
    assert_eq!(kind(attached), FailureKind::Lost);
    assert!(start.elapsed() < Duration::from_secs(7));
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn an_error_of_the_leader_leaves_the_outcome_of_an_append_open() {
    let server = NatsServer::without_jetstream("").await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
    let cases = [
        (error(503, 10077), FailureKind::Lost),
        (error(503, 10023), FailureKind::Lost),
        (error(500, 10028), FailureKind::Lost),
        (error(503, 10008), FailureKind::Lost),
        (error(400, 10002), FailureKind::Refused),
        (error(400, 10054), FailureKind::Refused),
        (error(429, 10167), FailureKind::Busy),
        (error(409, 10158), FailureKind::Busy),
        (json!({ "seq": 0, "duplicate": true }), FailureKind::Busy),
    ];
    let answers = cases.iter().map(|(answer, _)| answer.clone()).collect();
    answer(&server, BATCHES, AT_ONCE, answers).await;
    for (answer, expected) in cases {
        let drafts = [Draft::new("news", "a")];
        let batch = Batch::new(42, Origin::new(1), 1, &drafts);
        assert_eq!(kind(writer.append(batch).await), expected, "{answer}");
    }
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_failure_after_the_first_message_leaves_the_outcome_open() {
    let server = NatsServer::without_jetstream("max_payload: 65536").await;
    let (writer, _reader) = Nats::new(server.url()).connect().await.unwrap();
    // Two of them fit into a message.
    let drafts = [(); 3].map(|()| Draft::new("news", vec![0; 30_000]));
    for (first_number, acknowledged, info) in [
        // Nobody receives the second message, because there is no leader, or no stream.
        (1, vec![json!({ "seq": 5 })], Some(error(503, 10008))),
        (4, vec![json!({ "seq": 5 })], Some(error(404, 10059))),
        (7, vec![json!({ "seq": 5 }), error(400, 10002)], None),
        // The first message was there already, and nobody answers how many drafts it has.
        (10, vec![json!({ "seq": 5, "duplicate": true })], None),
    ] {
        answer(&server, BATCHES, AT_ONCE, acknowledged).await;
        if let Some(info) = info {
            answer(&server, INFO, AT_ONCE, vec![info]).await;
        }
        let batch = Batch::new(42, Origin::new(1), first_number, &drafts);
        assert_eq!(kind(writer.append(batch).await), FailureKind::Lost);
    }
}

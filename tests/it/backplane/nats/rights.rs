//! Users, passwords and rights.

use super::*;

/// The rights that the documentation names, for the default namespace.
const PUBLISH: [&str; 7] = [
    "eventstream.eventstream.>",
    "$JS.API.STREAM.INFO.eventstream",
    "$JS.API.STREAM.CREATE.eventstream",
    "$JS.API.STREAM.DELETE.eventstream",
    "$JS.API.STREAM.MSG.GET.eventstream",
    "$JS.API.CONSUMER.CREATE.eventstream.>",
    "$JS.API.CONSUMER.MSG.NEXT.eventstream.>",
];
const SUBSCRIBE: &str = "_INBOX.eventstream.eventstream.>";

/// Starts a server with a user who lacks one of the rights, or none.
async fn server(without: Option<usize>) -> NatsServer {
    let has = |index: &usize| Some(*index) != without;
    let publish: Vec<_> = (0..PUBLISH.len())
        .filter(has)
        .map(|index| format!("{:?}", PUBLISH[index]))
        .collect();
    NatsServer::with(&format!(
        "accounts {{ A {{ jetstream: enabled, users: [\n\
         {{ user: admin, password: admin }}\n\
         {{ user: app, password: \"p@ss\", permissions {{ publish: [{}], subscribe: {SUBSCRIBE:?} }} }}\n\
         ] }} }}\nno_auth_user: admin",
        publish.join(", ")
    ))
    .await
}

fn engine(server: &NatsServer) -> Nats {
    Nats::new(format!("nats://app:p%40ss@127.0.0.1:{}", server.port()))
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_user_with_the_documented_rights_can_do_everything() {
    let server = server(None).await;
    let nats = engine(&server);
    let mut instance = Instance::of(&nats).await;
    instance.append(&["a"]).await.unwrap();
    assert_eq!(payloads(&instance.read().await.unwrap()), ["a"]);
    instance.writer.head().await.unwrap();
    assert_eq!(instance.attach().await.unwrap().cause, None);
    instance.known.seen.as_mut().unwrap().last += 1024;
    assert!(instance.attach().await.unwrap().cause.is_some());
    instance.append(&["b"]).await.unwrap();
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_missing_right_is_refused_at_once() {
    for (without, right) in PUBLISH.iter().enumerate() {
        let server = server(Some(without)).await;
        let start = Instant::now();
        let failure = everything(&engine(&server)).await.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Refused, "{without}: {failure}");
        let text = failure.to_string();
        let right = right.trim_end_matches(".>");
        assert!(text.contains(right) && text.contains("rights"), "{text}");
        assert!(!text.contains("p@ss"), "{text}");
        assert!(start.elapsed() < Duration::from_secs(2), "{without}");
    }
}

/// Uses every right.
async fn everything(nats: &Nats) -> Result<(), Failure> {
    let (writer, mut reader) = nats.connect().await?;
    let known = Known::nothing(Origin::new(1), 1);
    let attached = writer.attach(&known).await?;
    let drafts = [Draft::new("news", "a")];
    let last = writer
        .append(Batch::new(attached.epoch, Origin::new(1), 1, &drafts))
        .await?
        .last;
    reader.read(attached.last).await?;
    let seen = axum_eventstream::backplane::Seen::new(attached.epoch, last, "another");
    writer.attach(&known.seen(seen)).await.map(drop)
}

#[tokio::test]
#[ignore = "needs NATS"]
async fn a_wrong_password_is_refused_and_not_shown() {
    let server = NatsServer::with("authorization { token: secret }").await;
    for login in ["", "wrong-one@", "app:wrong-one@"] {
        let nats = Nats::new(format!("nats://{login}127.0.0.1:{}", server.port()));
        let failure = nats.connect().await.unwrap_err();
        assert_eq!(failure.kind(), FailureKind::Refused);
        let text = format!("{failure} {failure:?} {nats:?} {}", nats.name());
        assert!(
            text.contains("refuses the user") && !text.contains("wrong-one"),
            "{text}"
        );
    }
    let nats = Nats::new(format!("nats://secret@127.0.0.1:{}", server.port()));
    Instance::of(&nats).await;
}

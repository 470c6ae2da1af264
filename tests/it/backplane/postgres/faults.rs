//! Failures, and which of them leave the outcome open.

use super::*;
use axum_eventstream::backplane::{
    Attached, Backplane, Batch, Committed, Draft, Failure, FailureKind, Known, Origin, Reader,
    Writer,
};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::NoTls;

const ORIGIN: u64 = 7;

/// A connection that has attached.
struct Session {
    writer: <Postgres as Backplane>::Writer,
    reader: <Postgres as Backplane>::Reader,
    attached: Attached,
}

impl Session {
    async fn on(server: &PostgresServer) -> Self {
        Self::of(&log(server, "chat")).await
    }

    async fn of(postgres: &Postgres) -> Self {
        let (writer, reader) = postgres.connect().await.unwrap();
        let attached = writer.attach(&known()).await.unwrap();
        Self {
            writer,
            reader,
            attached,
        }
    }

    async fn append(&self, number: u64, drafts: &[Draft]) -> Result<Committed, Failure> {
        let batch = Batch::new(self.attached.epoch, Origin::new(ORIGIN), number, drafts);
        self.writer.append(batch).await
    }
}

fn known() -> Known {
    Known::nothing(Origin::new(ORIGIN), 1)
}

fn draft() -> [Draft; 1] {
    [Draft::new("room", "payload")]
}

fn kind<T: std::fmt::Debug>(result: Result<T, Failure>) -> FailureKind {
    result.unwrap_err().kind()
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_server_that_is_not_there_is_unavailable() {
    let mut server = PostgresServer::start().await;
    server.kill();
    let failure = log(&server, "chat").connect().await.err().unwrap();
    assert_eq!(failure.kind(), FailureKind::Unavailable);
    assert!(failure.to_string().contains("refused"), "{failure}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn a_killed_server_loses_answers_and_ends_a_read() {
    let mut server = PostgresServer::start().await;
    let mut session = Session::on(&server).await;
    let after = session.attached.last;
    let read = tokio::spawn(async move { session.reader.read(after).await });
    server.kill();
    assert_eq!(kind(read.await.unwrap()), FailureKind::Lost);
    assert_eq!(kind(session.writer.head().await), FailureKind::Lost);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn an_append_to_a_server_that_hangs_is_lost_within_seconds_and_done_once() {
    let server = PostgresServer::start().await;
    let session = Session::on(&server).await;
    server.pause();
    let start = Instant::now();
    assert_eq!(kind(session.append(1, &draft()).await), FailureKind::Lost);
    assert!(start.elapsed() < Duration::from_secs(6));
    server.resume();
    let again = Session::on(&server).await;
    again.append(1, &draft()).await.unwrap();
    // Later in the same session of the server, so the first append is done.
    let head = session.writer.head().await.unwrap();
    assert_eq!(head.last, session.attached.last + 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_log_that_another_transaction_locks_is_busy() {
    let server = PostgresServer::start().await;
    let session = Session::on(&server).await;
    let (client, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let lock = "BEGIN; SELECT * FROM eventstream_head FOR UPDATE";
    client.batch_execute(lock).await.unwrap();
    assert_eq!(kind(session.append(1, &draft()).await), FailureKind::Busy);
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(session.append(1, &draft()).await.unwrap().added, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn a_standby_is_unavailable() {
    let server = PostgresServer::start().await;
    Session::on(&server).await;
    server.sql("ALTER DATABASE postgres SET default_transaction_read_only = on");
    let (writer, _reader) = log(&server, "chat").connect().await.unwrap();
    assert_eq!(
        kind(writer.attach(&known()).await),
        FailureKind::Unavailable
    );
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn an_entry_that_the_server_cannot_store_is_refused_and_names_the_reason() {
    let server = PostgresServer::start().await;
    let session = Session::on(&server).await;
    let failure = session
        .append(1, &[Draft::new("a\0b", "")])
        .await
        .unwrap_err();
    assert_eq!(failure.kind(), FailureKind::Refused);
    assert!(failure.to_string().contains("0x00"), "{failure}");
    assert_eq!(session.append(1, &draft()).await.unwrap().added, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn the_log_drops_its_oldest_entries() {
    let server = PostgresServer::start().await;
    let postgres = Postgres {
        max_entries: 100,
        ..log(&server, "chat")
    };
    let session = Session::of(&postgres).await;
    let drafts = vec![Draft::new("room", "payload"); 500];
    for number in [1, 501, 1001] {
        session.append(number, &drafts).await.unwrap();
    }
    let attached = session.writer.attach(&known()).await.unwrap();
    let entries = attached.last - attached.first.unwrap() + 1;
    assert!((100..1100).contains(&entries), "{entries}");
    // The number is known, though its entry may be gone.
    assert_eq!(session.append(1001, &drafts).await.unwrap().added, 0);
}

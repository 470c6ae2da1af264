//! The rules of an engine.

use super::*;
use axum_eventstream::testing::backplane::{Subject, contract};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL"]
async fn postgres_keeps_the_rules_of_an_engine() {
    let server = Arc::new(PostgresServer::start().await);
    let mut logs = 0;
    contract(move || {
        logs += 1;
        let (name, server) = (format!("log-{logs}"), server.clone());
        async move { subject(&server, &name) }
    })
    .await;
}

fn subject(server: &Arc<PostgresServer>, name: &str) -> Subject<Postgres> {
    let run = |sql: &str| {
        let (server, sql) = (server.clone(), sql.replace("$log", &format!("'{name}'")));
        move |count: usize| async move { _ = server.sql(&sql.replace("$count", &count.to_string())) }
    };
    let wipe = run(WIPE);
    Subject::new(log(server, name))
        .wipe(move || wipe(0))
        .lose_tail(run(LOSE_TAIL))
        .trim(run(TRIM))
}

const WIPE: &str = "
    DELETE FROM eventstream_head WHERE namespace = $log;
    DELETE FROM eventstream_origin WHERE namespace = $log;
    DELETE FROM eventstream_entry WHERE namespace = $log";

/// The state of a server with an earlier copy of the data.
const LOSE_TAIL: &str = "
    UPDATE eventstream_head SET last = last - $count WHERE namespace = $log;
    DELETE FROM eventstream_entry WHERE namespace = $log
        AND sequence > (SELECT last FROM eventstream_head WHERE namespace = $log);
    UPDATE eventstream_head SET mark = (SELECT mark FROM eventstream_entry
        WHERE namespace = $log AND sequence = last) WHERE namespace = $log;
    UPDATE eventstream_origin AS o SET (number, sequence) = (
        SELECT coalesce(max(number), 0), coalesce(max(sequence), 0) FROM eventstream_entry
        WHERE namespace = $log AND origin = o.origin) WHERE namespace = $log";

const TRIM: &str = "
    DELETE FROM eventstream_entry WHERE namespace = $log
        AND sequence <= (SELECT last FROM eventstream_head WHERE namespace = $log) - $count";

//! The rules of an engine.

use super::*;
use crate::support::redis::RedisServer;
use axum_eventstream::testing::backplane::{Subject, contract};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn redis_keeps_the_rules_of_an_engine() {
    contract(|| async {
        let server = Arc::new(RedisServer::start().await);
        let redis = Redis::new(server.url());
        let (wiped, cut, trimmed) = (server.clone(), server.clone(), server);
        Subject::new(redis)
            .wipe(move || async move { assert_eq!(wiped.command("FLUSHALL"), "OK") })
            .lose_tail(move |entries| async move { lose_tail(&cut, entries) })
            .trim(move |newest| async move {
                let last = trimmed.command("HGET {eventstream}:meta s");
                let first = last.parse::<usize>().unwrap() + 1 - newest;
                trimmed.command(&format!("XTRIM {{eventstream}}:log MINID = {first}"));
            })
    })
    .await;
}

/// Deletes the newest entries, and everything else that a server with an earlier copy of the data would not know.
fn lose_tail(server: &RedisServer, entries: usize) {
    let last = server.command("HGET {eventstream}:meta s");
    let sequence = last.parse::<usize>().unwrap() - entries;
    let lost = server.command(&format!("XRANGE {{eventstream}}:log ({sequence} +"));
    for id in lost.lines().filter(|line| line.ends_with("-0")) {
        server.command(&format!("XDEL {{eventstream}}:log {id}"));
    }
    server.command(&format!("XSETID {{eventstream}}:log {sequence}-0"));
    server.command(&format!("HSET {{eventstream}}:meta s {sequence}"));
    let meta = server.command("HGETALL {eventstream}:meta");
    let fields: Vec<_> = meta.lines().collect();
    for field in fields.chunks_exact(2) {
        let parts: Vec<_> = field[1].split(':').collect();
        if let [number, at, seconds] = parts[..]
            && at.parse::<usize>().unwrap() > sequence
        {
            let number = number.parse::<usize>().unwrap() - entries;
            let field = field[0];
            server.command(&format!(
                "HSET {{eventstream}}:meta {field} {number}:{sequence}:{seconds}"
            ));
        }
    }
}

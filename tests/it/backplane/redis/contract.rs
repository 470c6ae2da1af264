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
                trimmed.command(&format!("XTRIM {{eventstream}}:log MAXLEN {newest}"));
            })
    })
    .await;
}

/// Deletes the newest entries, and everything else that a server with an earlier copy of the data would not know.
fn lose_tail(server: &RedisServer, entries: usize) {
    let ids = server.command(&format!(
        "XREVRANGE {{eventstream}}:log + - COUNT {}",
        entries + 1
    ));
    let mut ids: Vec<_> = ids.lines().filter(|line| line.ends_with("-0")).collect();
    let last = ids.pop().unwrap();
    server.command(&format!("XDEL {{eventstream}}:log {}", ids.join(" ")));
    server.command(&format!("XSETID {{eventstream}}:log {last}"));
    let sequence = last.trim_end_matches("-0");
    server.command(&format!("HSET {{eventstream}}:meta s {sequence}"));
    let meta = server.command("HGETALL {eventstream}:meta");
    let fields: Vec<_> = meta.lines().collect();
    for field in fields.chunks_exact(2) {
        let parts: Vec<_> = field[1].split(':').collect();
        if let [number, at, seconds] = parts[..]
            && at.parse::<u64>().unwrap() > sequence.parse().unwrap()
        {
            let number = number.parse::<usize>().unwrap() - entries;
            let field = field[0];
            server.command(&format!(
                "HSET {{eventstream}}:meta {field} {number}:{sequence}:{seconds}"
            ));
        }
    }
}

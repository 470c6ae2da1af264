//! The server's memory is full.

use super::{
    report::{Outcomes, Resets},
    round::{NO_SILENT_LOSS, under_load},
};
use crate::support::redis::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_full_server_refuses_events_and_loses_nothing() {
    let start = async || RedisServer::with("save ''\nmaxmemory-policy noeviction").await;
    under_load(
        start,
        (Resets::Never, Outcomes::SomeRefused),
        async |redis, round| {
            redis.command("CONFIG SET maxmemory 1");
            round.run(1000).await;
            redis.command("CONFIG SET maxmemory 0");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_evicts_loses_nothing_silently() {
    let start = async || RedisServer::with("save ''\nmaxmemory-policy allkeys-lru").await;
    under_load(start, NO_SILENT_LOSS, async |redis, round| {
        for _ in 0..4 {
            let memory = redis.command("INFO memory");
            let mut lines = memory.lines();
            let used = lines.find_map(|line| line.strip_prefix("used_memory:"));
            redis.command(&format!("CONFIG SET maxmemory {}", used.unwrap().trim()));
            round.run(500).await;
            redis.command("CONFIG SET maxmemory 0");
            round.run(500).await;
        }
    })
    .await;
}

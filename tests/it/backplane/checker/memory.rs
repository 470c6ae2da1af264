//! The server's memory is full.

use super::{
    report::{Outcomes, Resets},
    round::{self, Round, rounds},
};
use crate::support::redis::RedisServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_full_server_refuses_events_and_loses_nothing() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::with("save ''\nmaxmemory-policy noeviction").await;
        let round = Round::on(&redis, seed).await;
        round.run(1000).await;
        redis.command("CONFIG SET maxmemory 1");
        round.run(1000).await;
        redis.command("CONFIG SET maxmemory 0");
        round.run(1000).await;
        round.finish(Resets::Never, Outcomes::SomeRefused).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_evicts_loses_nothing_silently() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::with("save ''\nmaxmemory-policy allkeys-lru").await;
        let round = Round::on(&redis, seed).await;
        for _ in 0..4 {
            round.run(500).await;
            let memory = redis.command("INFO memory");
            let mut lines = memory.lines();
            let used = lines
                .find_map(|line| line.strip_prefix("used_memory:"))
                .unwrap();
            redis.command(&format!("CONFIG SET maxmemory {}", used.trim()));
            round.run(500).await;
            redis.command("CONFIG SET maxmemory 0");
        }
        round.finish(Resets::Allowed, Outcomes::Any).await
    })
    .await;
}

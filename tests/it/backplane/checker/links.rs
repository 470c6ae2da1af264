//! The network between the instances and Redis fails.

use super::{
    link::Link,
    report::{Outcomes, Resets},
    round::{self, Round, rounds},
};
use crate::support::redis::RedisServer;
use std::time::Duration;

/// A server, with a link for each instance.
async fn start(seed: u64) -> (RedisServer, [Link; 3], Round) {
    let redis = RedisServer::start().await;
    let port = redis.port();
    let links = [
        Link::to(port).await,
        Link::to(port).await,
        Link::to(port).await,
    ];
    let round = Round::at([links[0].url(), links[1].url(), links[2].url()], seed).await;
    (redis, links, round)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn answers_that_are_lost_after_execution_lose_nothing() {
    rounds(round::count(), async |seed| {
        let (_redis, links, round) = start(seed).await;
        for fault in 0..12 {
            round.run(200).await;
            links[fault % 3].drop_answers();
        }
        round.run(1000).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn half_open_connections_lose_nothing() {
    rounds(round::count(), async |seed| {
        let (_redis, links, round) = start(seed).await;
        round.run(1000).await;
        links[1].half_open();
        round.run(4000).await;
        links.iter().for_each(Link::half_open);
        round.run(4000).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn an_instance_that_is_cut_off_loses_nothing() {
    rounds(round::count(), async |seed| {
        let (_redis, links, round) = start(seed).await;
        for link in &links {
            round.run(500).await;
            link.down();
            round.run(700).await;
            link.up();
        }
        round.run(1500).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn slow_links_lose_nothing() {
    rounds(round::count(), async |seed| {
        let (_redis, links, round) = start(seed).await;
        round.run(500).await;
        links[1].slow(Duration::from_millis(150), Duration::ZERO);
        // About 250 kB a second.
        links[2].slow(Duration::ZERO, Duration::from_micros(4));
        round.run(3000).await;
        links
            .iter()
            .for_each(|link| link.slow(Duration::ZERO, Duration::ZERO));
        round.run(500).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

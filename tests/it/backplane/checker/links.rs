//! The network between the instances and Redis fails.

use super::{
    fleet::{Engine, INSTANCES},
    link::Link,
    round::{NO_LOSS, Round, Site, under_load},
};
use crate::support::redis::RedisServer;
use axum_eventstream::backplane::Redis;
use std::time::Duration;

/// A server, with a link for each instance.
struct Linked {
    _redis: RedisServer,
    links: [Link; INSTANCES],
}

impl Linked {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let links = Link::all_to([redis.port(); INSTANCES]).await;
        Self {
            _redis: redis,
            links,
        }
    }
}

impl Site for Linked {
    fn engines(&self) -> [Engine; INSTANCES] {
        let engine = |link: &Link| Engine::new(Redis::new(link.url()));
        self.links.each_ref().map(engine)
    }
}

/// Lets links fail, which loses nothing.
async fn fail(fault: impl AsyncFn(&[Link; INSTANCES], &Round)) {
    let fault = async |linked: &mut Linked, round: &mut Round| fault(&linked.links, round).await;
    under_load(Linked::start, NO_LOSS, fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn answers_that_are_lost_after_execution_lose_nothing() {
    fail(async |links, round| {
        for fault in 0..12 {
            links[fault % 3].drop_answers();
            round.run(200).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn half_open_connections_lose_nothing() {
    fail(async |links, round| {
        links[1].half_open();
        round.run(4000).await;
        links.iter().for_each(Link::half_open);
        round.run(3000).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn an_instance_that_is_cut_off_loses_nothing() {
    fail(async |links, round| {
        for link in links {
            link.down();
            round.run(700).await;
            link.up();
            round.run(500).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn slow_links_lose_nothing() {
    fail(async |links, round| {
        links[1].slow(Duration::from_millis(150), Duration::ZERO);
        // About 250 kB a second.
        links[2].slow(Duration::ZERO, Duration::from_micros(4));
        round.run(3000).await;
        for link in links {
            link.slow(Duration::ZERO, Duration::ZERO);
        }
    })
    .await;
}

//! Keys and scripts are deleted.

use super::{
    fleet::{Engine, INSTANCES},
    link::Link,
    report::{Outcomes, Resets},
    round::{Expected, NO_LOSS, RESETS_ALL, Round, Site, under_load},
};
use crate::support::redis::RedisServer;
use axum_eventstream::backplane::Redis;

/// Runs a command under load.
async fn command(command: &str, expected: Expected) {
    let fault = async |redis: &mut RedisServer, _: &mut Round| _ = redis.command(command);
    under_load(RedisServer::start, expected, fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_wiped_server_or_a_deleted_hash_resets_all_clients() {
    for wipe in ["FLUSHALL", "DEL {eventstream}:meta"] {
        command(wipe, RESETS_ALL).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_deleted_log_loses_nothing_silently() {
    // An instance may not have read everything.
    command(
        "DEL {eventstream}:log",
        (Resets::Allowed, Outcomes::Published),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_log_that_is_deleted_after_it_was_read_loses_nothing() {
    under_load(RedisServer::start, NO_LOSS, async |redis, round| {
        round.fleet.pause(&[0, 1, 2]).await;
        round.run(100).await;
        redis.command("DEL {eventstream}:log");
        round.run(300).await;
        round.fleet.resume(&[0, 1, 2]);
    })
    .await;
}

/// A server with a link for one of the instances.
struct CutOff {
    redis: RedisServer,
    link: Link,
}

impl CutOff {
    async fn start() -> Self {
        let redis = RedisServer::start().await;
        let link = Link::to(redis.port()).await;
        Self { redis, link }
    }
}

impl Site for CutOff {
    fn engines(&self) -> [Engine; INSTANCES] {
        let urls = [self.redis.url(), self.redis.url(), self.link.url()];
        urls.map(|url| Engine::new(Redis::new(url)))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_trimmed_log_resets_the_clients_of_an_instance_that_was_cut_off() {
    let expected = (Resets::AtInstances(&[2]), Outcomes::Published);
    under_load(
        CutOff::start,
        expected,
        async |CutOff { redis, link }, round| {
            link.down();
            round.run(700).await;
            round.fleet.pause(&[0, 1]).await;
            round.run(100).await;
            redis.command("XTRIM {eventstream}:log MAXLEN 0");
            link.up();
            round.run(500).await;
            round.fleet.resume(&[0, 1]);
        },
    )
    .await;
}

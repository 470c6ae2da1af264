//! Keys and scripts are deleted.

use super::{
    link::Link,
    report::{Outcomes, Resets},
    round::{self, Round, rounds},
};
use crate::support::redis::RedisServer;

const EVERYWHERE: Resets = Resets::AtInstances(&[0, 1, 2]);

/// Runs a command under load.
async fn under_load(command: &str, resets: Resets, outcomes: Outcomes) {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let round = Round::on(&redis, seed).await;
        round.run(1000).await;
        redis.command(command);
        round.run(1000).await;
        round.finish(resets, outcomes).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_wiped_server_resets_all_clients() {
    under_load("FLUSHALL", EVERYWHERE, Outcomes::PublishedOrMaybe).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_deleted_hash_resets_all_clients() {
    under_load(
        "DEL {eventstream}:meta",
        EVERYWHERE,
        Outcomes::PublishedOrMaybe,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_deleted_log_loses_nothing_silently() {
    // An instance may not have read everything.
    under_load(
        "DEL {eventstream}:log",
        Resets::Allowed,
        Outcomes::Published,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_log_that_is_deleted_after_it_was_read_loses_nothing() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let mut round = Round::on(&redis, seed).await;
        round.run(1000).await;
        round.fleet.pause(&[0, 1, 2]).await;
        round.run(100).await;
        redis.command("DEL {eventstream}:log");
        round.run(300).await;
        round.fleet.resume(&[0, 1, 2]);
        round.run(1000).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_trimmed_log_resets_the_clients_of_an_instance_that_was_cut_off() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let link = Link::to(redis.port()).await;
        let mut round = Round::at([redis.url(), redis.url(), link.url()], seed).await;
        round.run(1000).await;
        link.down();
        round.run(700).await;
        round.fleet.pause(&[0, 1]).await;
        round.run(100).await;
        redis.command("XTRIM {eventstream}:log MAXLEN 0");
        link.up();
        round.run(500).await;
        round.fleet.resume(&[0, 1]);
        round.run(1000).await;
        round
            .finish(Resets::AtInstances(&[2]), Outcomes::Published)
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn forgotten_scripts_lose_nothing() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let round = Round::on(&redis, seed).await;
        for _ in 0..10 {
            round.run(200).await;
            redis.command("SCRIPT FLUSH");
        }
        round.run(500).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

//! Redis is killed or stopped.

use super::{
    report::{Outcomes, Resets},
    round::{self, Round, rounds},
};
use crate::support::redis::RedisServer;
use std::{
    fs,
    path::{Path, PathBuf},
};

const KEPT: &str = "appendonly yes\nappendfsync always\nsave ''";
const KEPT_EVERY_SECOND: &str = "appendonly yes\nappendfsync everysec\nsave ''";

/// Kills the server under load, and starts it again after this time.
async fn kill(configuration: &str, absence: u64, seed: u64) -> (RedisServer, Round) {
    let mut redis = RedisServer::with(configuration).await;
    let round = Round::on(&redis, seed).await;
    round.run(1000).await;
    redis.kill();
    round.run(absence).await;
    redis.restart().await;
    round.run(1500).await;
    (redis, round)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_server_that_saves_always_loses_nothing() {
    rounds(round::count(), async |seed| {
        let (_redis, round) = kill(KEPT, 0, seed).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_is_absent_for_seconds_loses_nothing() {
    rounds(round::count(), async |seed| {
        let (_redis, round) = kill(KEPT, 4000, seed).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_server_that_saves_every_second_loses_nothing_silently() {
    rounds(round::count(), async |seed| {
        let (_redis, round) = kill(KEPT_EVERY_SECOND, 0, seed).await;
        // It may postpone a write for two seconds.
        round
            .finish(Resets::Allowed, Outcomes::PublishedOrMaybe)
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_server_that_saves_nothing_resets_all_clients() {
    rounds(round::count(), async |seed| {
        let (_redis, round) = kill("save ''", 0, seed).await;
        round
            .finish(Resets::AtInstances(&[0, 1, 2]), Outcomes::PublishedOrMaybe)
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_with_an_old_dump_resets_all_clients() {
    rounds(round::count(), async |seed| {
        let mut redis = RedisServer::start().await;
        let round = Round::on(&redis, seed).await;
        round.run(800).await;
        redis.command("SAVE");
        round.run(800).await;
        redis.restart().await;
        round.run(1500).await;
        round
            .finish(Resets::AtInstances(&[0, 1, 2]), Outcomes::PublishedOrMaybe)
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_loses_the_end_of_its_file_resets_all_clients() {
    rounds(round::count(), async |seed| {
        let mut redis = RedisServer::with(KEPT).await;
        let round = Round::on(&redis, seed).await;
        round.run(1000).await;
        redis.kill();
        cut_log(redis.folder());
        redis.restart().await;
        round.run(1500).await;
        round
            .finish(Resets::AtInstances(&[0, 1, 2]), Outcomes::PublishedOrMaybe)
            .await
    })
    .await;
}

/// Cuts some events off the file.
fn cut_log(folder: &Path) {
    let files = fs::read_dir(folder.join("appendonlydir")).unwrap();
    let mut paths = files.map(|file| file.unwrap().path());
    let is_log = |path: &PathBuf| path.to_string_lossy().ends_with(".incr.aof");
    let path = paths.find(is_log).unwrap();
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10_000)
        .unwrap();
}

/// Stops the server under load for this time.
async fn stop(milliseconds: u64, outcomes: Outcomes) {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let round = Round::on(&redis, seed).await;
        round.run(1000).await;
        redis.pause();
        round.run(milliseconds).await;
        redis.resume();
        round.run(1500).await;
        round.finish(Resets::Never, outcomes).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_stops_for_3_seconds_loses_nothing() {
    stop(3000, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_stops_for_8_seconds_loses_nothing() {
    // Long ones run if more rounds are asked for.
    if round::count() > 1 {
        stop(8000, Outcomes::Published).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_stops_for_20_seconds_loses_nothing() {
    if round::count() > 1 {
        stop(20_000, Outcomes::Any).await;
    }
}

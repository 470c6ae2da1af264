//! Redis is killed or stopped.

use super::{
    fleet::{Engine, INSTANCES},
    report::{Outcomes, Resets},
    round::{self, Expected, NO_LOSS, NO_RESET, RESETS_ALL, Site, under_load},
};
use crate::support::redis::RedisServer;
use axum_eventstream::backplane::Redis;
use std::{
    array, fs,
    path::{Path, PathBuf},
};

const KEPT: &str = "appendonly yes\nappendfsync always\nsave ''";
const KEPT_EVERY_SECOND: &str = "appendonly yes\nappendfsync everysec\nsave ''";

impl Site for RedisServer {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|_| Engine::new(Redis::new(self.url())))
    }
}

/// Kills the server under load, and starts it again after these milliseconds.
async fn kill(configuration: &str, absence: u64, expected: Expected) {
    let start = async || RedisServer::with(configuration).await;
    under_load(start, expected, async |redis, round| {
        redis.kill();
        round.run(absence).await;
        redis.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_server_that_saves_always_loses_nothing() {
    kill(KEPT, 0, NO_LOSS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_is_absent_for_seconds_loses_nothing() {
    kill(KEPT, 4000, NO_LOSS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_server_that_saves_every_second_loses_nothing_silently() {
    // It may postpone a write for two seconds.
    kill(
        KEPT_EVERY_SECOND,
        0,
        (Resets::Allowed, Outcomes::PublishedOrMaybe),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_server_that_saves_nothing_resets_all_clients() {
    kill("save ''", 0, RESETS_ALL).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_with_an_old_dump_resets_all_clients() {
    under_load(RedisServer::start, RESETS_ALL, async |redis, round| {
        redis.command("SAVE");
        round.run(800).await;
        redis.restart().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_loses_the_end_of_its_file_resets_all_clients() {
    let start = async || RedisServer::with(KEPT).await;
    under_load(start, RESETS_ALL, async |redis, _| {
        redis.kill();
        cut_log(redis.folder());
        redis.restart().await;
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
async fn stop(milliseconds: u64, expected: Expected) {
    under_load(RedisServer::start, expected, async |redis, round| {
        redis.pause();
        round.run(milliseconds).await;
        redis.resume();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_stops_for_3_seconds_loses_nothing() {
    stop(3000, NO_LOSS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_server_that_stops_for_longer_loses_nothing() {
    // Long ones run if more rounds are asked for.
    if round::count() > 1 {
        stop(8000, NO_LOSS).await;
        stop(20_000, NO_RESET).await;
    }
}

//! Instances that end and start, and no fault at all.

use super::{
    fleet::INSTANCES,
    report::{Outcomes, Resets},
    round::{self, Round, rounds},
};
use crate::support::redis::RedisServer;

/// The time of hopping without faults, for each round that was asked for.
const HOPPING: u64 = 6000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn hopping_without_faults_loses_nothing() {
    rounds(1, async |seed| {
        let redis = RedisServer::start().await;
        let round = Round::on(&redis, seed).await;
        round.run(HOPPING * round::count() as u64).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_instance_starts_with_the_log() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let mut round = Round::on(&redis, seed).await;
        round.run(1000).await;
        round.fleet.kill(1);
        round.run(500).await;
        round.fleet.start_one(1).await;
        round.run(1000).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_rolling_restart_loses_nothing() {
    rounds(round::count(), async |seed| {
        let redis = RedisServer::start().await;
        let mut round = Round::on(&redis, seed).await;
        for index in 0..INSTANCES {
            round.run(500).await;
            round.fleet.shut_down(index).await;
            round.run(200).await;
            round.fleet.start_one(index).await;
        }
        round.run(500).await;
        round.finish(Resets::Never, Outcomes::Published).await
    })
    .await;
}

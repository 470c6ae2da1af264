//! Instances that end and start, and no fault at all.

use super::{
    fleet::INSTANCES,
    round::{NO_LOSS, Round, under_load},
};
use crate::support::redis::RedisServer;

/// Lets instances end and start, which loses nothing.
async fn without_faults(change: impl AsyncFn(&mut Round)) {
    let change = async |_: &mut RedisServer, round: &mut Round| change(round).await;
    under_load(RedisServer::start, NO_LOSS, change).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn hopping_without_faults_loses_nothing() {
    without_faults(async |round| round.run(4500).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_killed_instance_starts_with_the_log() {
    without_faults(async |round| {
        round.fleet.kill(1);
        round.run(500).await;
        round.fleet.start_one(1).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_rolling_restart_loses_nothing() {
    without_faults(async |round| {
        for index in 0..INSTANCES {
            round.fleet.shut_down(index).await;
            round.run(200).await;
            round.fleet.start_one(index).await;
            round.run(500).await;
        }
    })
    .await;
}

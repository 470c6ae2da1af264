//! Sentinel makes the replica the master.

use super::{
    report::{Outcomes, Resets},
    round::{self, Round, rounds},
};
use crate::backplane::redis::sentinel::Failover;
use std::array;

async fn start(seed: u64) -> (Failover, Round) {
    let failover = Failover::start().await;
    let round = Round::at(array::from_fn(|_| failover.url()), seed).await;
    round.run(1000).await;
    (failover, round)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_replica_that_lacks_events_resets_all_clients() {
    rounds(round::count(), async |seed| {
        let (mut failover, round) = start(seed).await;
        failover.replica.pause();
        failover.master.command("CLIENT KILL TYPE replica");
        round.run(500).await;
        failover.master.kill();
        failover.replica.resume();
        failover.is_over().await;
        round.run(3000).await;
        round
            .finish(Resets::AtInstances(&[0, 1, 2]), Outcomes::Any)
            .await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_failover_loses_nothing_silently() {
    rounds(round::count(), async |seed| {
        let (mut failover, round) = start(seed).await;
        failover.master.kill();
        failover.is_over().await;
        round.run(3000).await;
        round.finish(Resets::Allowed, Outcomes::Any).await
    })
    .await;
}

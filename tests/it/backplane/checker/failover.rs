//! Sentinel makes the replica the master.

use super::{
    fleet::{Engine, INSTANCES},
    report::{Outcomes, Resets},
    round::{NO_SILENT_LOSS, Site, under_load},
};
use crate::backplane::redis::sentinel::Failover;
use axum_eventstream::backplane::Redis;
use std::array;

impl Site for Failover {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|_| Engine::new(Redis::new(self.url())))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_replica_that_lacks_events_resets_all_clients() {
    under_load(
        Failover::start,
        (Resets::EVERYWHERE, Outcomes::Any),
        async |failover, round| {
            failover.replica.pause();
            failover.master.command("CLIENT KILL TYPE replica");
            round.run(500).await;
            failover.master.kill();
            failover.replica.resume();
            failover.is_over().await;
            round.run(2000).await;
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Redis"]
async fn a_failover_loses_nothing_silently() {
    under_load(Failover::start, NO_SILENT_LOSS, async |failover, round| {
        failover.master.kill();
        failover.is_over().await;
        round.run(2000).await;
    })
    .await;
}

//! The engine in memory, with the faults that it can have.

use super::{
    report::{Outcomes, Report, Resets},
    round::{self, Round, rounds},
};
use axum_eventstream::testing::backplane::Memory;
use std::array;

const EVERYWHERE: Resets = Resets::AtInstances(&[0, 1, 2]);

/// Runs a fault under load, on logs that count one by one and in blocks.
async fn under_load(fault: impl AsyncFn(&Memory, &Round), resets: Resets, outcomes: Outcomes) {
    for engine in [Memory::new, || Memory::new().in_blocks()] {
        rounds(round::count(), async |seed| -> Report {
            let memory = engine();
            let round = Round::at(array::from_fn(|_| memory.clone()), seed).await;
            round.run(500).await;
            fault(&memory, &round).await;
            round.run(700).await;
            round.finish(resets, outcomes).await
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_log_in_memory_loses_nothing() {
    let fault = async |memory: &Memory, round: &Round| {
        memory.down();
        round.run(500).await;
        memory.up();
    };
    under_load(fault, Resets::Never, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_a_log_in_memory_lose_nothing() {
    let fault = async |memory: &Memory, _: &Round| memory.lose_replies(5);
    under_load(fault, Resets::Never, Outcomes::Published).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_log_in_memory_resets_all_clients() {
    let fault = async |memory: &Memory, _: &Round| memory.wipe();
    under_load(fault, EVERYWHERE, Outcomes::PublishedOrMaybe).await;
}

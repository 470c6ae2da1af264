//! The engine in memory, with the faults that it can have.

use super::{
    fleet::{Engine, INSTANCES},
    round::{Expected, NO_LOSS, RESETS_ALL, Round, Site, under_load},
};
use axum_eventstream::testing::backplane::Memory;
use std::array;

impl Site for Memory {
    fn engines(&self) -> [Engine; INSTANCES] {
        array::from_fn(|_| Engine::new(self.clone()))
    }
}

/// Lets a fault happen on logs that count one by one and in blocks.
async fn in_memory(expected: Expected, fault: impl AsyncFn(&mut Memory, &mut Round)) {
    under_load(async || Memory::new(), expected, &fault).await;
    under_load(async || Memory::new().in_blocks(), expected, &fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_log_in_memory_loses_nothing() {
    in_memory(NO_LOSS, async |memory, round| {
        memory.down();
        round.run(500).await;
        memory.up();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_answers_of_a_log_in_memory_lose_nothing() {
    let fault = async |memory: &mut Memory, _: &mut Round| memory.lose_replies(5);
    in_memory(NO_LOSS, fault).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wiped_log_in_memory_resets_all_clients() {
    let fault = async |memory: &mut Memory, _: &mut Round| memory.wipe();
    in_memory(RESETS_ALL, fault).await;
}

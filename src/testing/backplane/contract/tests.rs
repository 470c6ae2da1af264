use super::*;
use crate::testing::backplane::Memory;

fn subject(memory: Memory) -> Subject<Memory> {
    let faulty = || memory.clone();
    let (wiped, shortened, trimmed) = (faulty(), faulty(), faulty());
    Subject::new(memory)
        .wipe(|| async move { wiped.wipe() })
        .lose_tail(|entries| async move { shortened.lose_tail(entries) })
        .trim(|newest| async move { trimmed.trim(newest) })
}

#[tokio::test(start_paused = true)]
async fn an_engine_in_memory_keeps_the_rules() {
    contract(|| async { subject(Memory::new()) }).await;
}

#[tokio::test(start_paused = true)]
async fn sequences_with_gaps_keep_the_rules() {
    contract(|| async { subject(Memory::new().in_blocks()) }).await;
}

/// A busy engine has done nothing, and keeps the rules.
#[tokio::test(start_paused = true)]
async fn appends_to_a_busy_engine_are_repeated() {
    let mut suite = Suite(|| async {
        let memory = Memory::new();
        memory.busy(2);
        Subject::new(memory)
    });
    reads::check(&mut suite).await;
    contents::check(&mut suite).await;
}

/// Operations are cancelled before and after they are done.
#[tokio::test(start_paused = true)]
async fn a_slow_engine_in_memory_keeps_the_rules() {
    contract(|| async {
        let memory = Memory::new();
        memory.slow(Duration::from_millis(4));
        subject(memory)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_in_memory_keep_the_rules_on_several_threads() {
    let mut suite = Suite(|| async { Subject::new(Memory::new()) });
    appends::check(&mut suite).await;
    cancellation::check(&mut suite).await;
}

//! Order, and appends that are repeated or refused.

use super::{
    Checked, Subject, Suite, ensure,
    instance::{Instance, drafts, publications},
};
use crate::backplane::{Backplane, Batch, Failure, Publication, Writer};
use std::{collections::HashMap, sync::Arc};

pub(super) async fn check<B: Backplane>(suite: &mut Suite<impl AsyncFnMut() -> Subject<B>>) {
    suite
        .rule("entries have the order of their appends", order)
        .await;
    suite.rule("the head is the last sequence", head).await;
    suite.rule("a repeated append adds nothing", repeat).await;
    suite
        .rule("an append adds only new numbers", partial_repeat)
        .await;
    suite
        .rule(
            "an append can be repeated on a new connection",
            repeat_after_reconnect,
        )
        .await;
    suite.rule("a batch of another epoch is stale", stale).await;
    suite
        .rule("batches of several writers are not mixed", interleaved)
        .await;
    suite
        .rule("methods of a writer run concurrently", concurrent)
        .await;
}

async fn order<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    for count in [1, 512, 2, 1] {
        let number = instance.next;
        let drafts = drafts(count);
        let committed = instance.append(&drafts).await?;
        ensure(committed.added == count, || {
            format!("{committed:?} after {count} drafts")
        })?;
        instance.expect_head(committed.last).await?;
        instance.expect(committed.last, number, &drafts).await?;
    }
    Ok(())
}

async fn head<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.expect_head(instance.last).await?;
    for count in [1, 3, 100] {
        let committed = instance.append(&drafts(count)).await?;
        instance.expect_head(committed.last).await?;
    }
    Ok(())
}

async fn repeat<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let drafts = drafts(3);
    let committed = instance.append(&drafts).await?;
    for _ in 0..2 {
        instance.expect_repeated(committed, &drafts).await?;
    }
    instance.expect_head(committed.last).await?;
    instance.expect(committed.last, 1, &drafts).await
}

async fn partial_repeat<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let drafts = drafts(6);
    instance.append(&drafts[..4]).await?;
    let committed = instance.append_at(3, &drafts[2..]).await?;
    ensure(committed.added == 2, || {
        format!("{committed:?} after 2 new drafts")
    })?;
    instance.expect_head(committed.last).await?;
    instance.expect(committed.last, 1, &drafts).await
}

async fn repeat_after_reconnect<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let drafts = drafts(5);
    let committed = instance.append(&drafts).await?;
    // As if the answer were lost: the instance does not know that its numbers are appended.
    (instance.next, instance.acknowledged) = (1, None);
    instance.rejoin(&subject.engine).await?;
    instance.expect_repeated(committed, &drafts).await?;
    instance.expect(committed.last, 1, &drafts).await
}

async fn stale<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let start = instance.last;
    let drafts = drafts(2);
    let batch = Batch::new(instance.epoch ^ 1, instance.origin, 1, &drafts);
    instance.expect_stale(batch).await?;
    instance.expect_head(start).await?;
    instance.round_trip(&drafts).await
}

/// Batches that an instance appends while others append, and drafts in each.
const BATCHES: usize = 40;
const BATCH: usize = 5;

async fn interleaved<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut reader = Instance::join(&subject.engine).await?;
    let mut tasks = Vec::new();
    for _ in 0..3 {
        let mut instance = Instance::join(&subject.engine).await?;
        tasks.push(tokio::spawn(async move {
            for _ in 0..BATCHES {
                instance.append(&drafts(BATCH)).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Failure>(())
        }));
    }
    for task in tasks {
        task.await.expect("the task does not panic")?;
    }
    let last = reader.writer.head().await?.last;
    let entries = reader.read_to(last).await?;
    let (count, expected) = (entries.len(), 3 * BATCHES * BATCH);
    ensure(count == expected, || {
        format!("the log has {count} entries, not {expected}")
    })?;
    expect_batches(&publications(&entries)?)
}

/// Checks that no batch is mixed with another, and that numbers are consecutive.
fn expect_batches(publications: &[&Publication]) -> Checked {
    let mut numbers = HashMap::new();
    for batch in publications.chunks(BATCH) {
        for publication in batch {
            let number = numbers.entry(publication.origin).or_insert(0);
            *number += 1;
            ensure(publication.number == *number, || {
                format!("{publication:?} does not have the number {number}")
            })?;
        }
        let is_mixed = batch.iter().any(|other| other.origin != batch[0].origin);
        ensure(!is_mixed, || {
            format!("a batch is mixed with another: {batch:?}")
        })?;
    }
    Ok(())
}

async fn concurrent<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let known = instance.known();
    let (writer, _reader) = subject.engine.connect().await?;
    writer.attach(&known).await?;
    let writer = Arc::new(writer);
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let (writer, known) = (writer.clone(), known.clone());
        tasks.push(tokio::spawn(async move {
            writer.attach(&known).await?;
            writer.head().await
        }));
    }
    let drafts = drafts(10);
    let batch = instance.batch(1, &drafts);
    let committed = writer.append(batch).await?;
    for task in tasks {
        let head = task.await.expect("the task does not panic")?;
        ensure(head.epoch == instance.epoch, || {
            format!("{head:?} has another epoch")
        })?;
    }
    instance.expect(committed.last, 1, &drafts).await
}

//! Faults that only some engines can show in a test.

use super::{
    Checked, Subject, Suite, ensure,
    instance::{Instance, drafts, expect_kept},
    reads::expect_first,
};
use crate::backplane::{Backplane, FailureKind, Known, Reader, Writer};

pub(super) async fn check<B: Backplane>(suite: &mut Suite<impl AsyncFnMut() -> Subject<B>>) {
    suite.rule("a wiped log has a new epoch", wipe).await;
    suite
        .rule("an append to a wiped log is stale", stale_after_wipe)
        .await;
    suite
        .rule("the head of a wiped log is stale", head_after_wipe)
        .await;
    suite
        .rule(
            "a log that has lost its tail has a new epoch for a reader",
            lost_tail,
        )
        .await;
    suite
        .rule(
            "a log that has lost its tail has a new epoch for a publisher",
            lost_numbers,
        )
        .await;
    suite
        .rule(
            "entries in the place of lost ones begin an epoch",
            replaced_tail,
        )
        .await;
    suite.rule("a trimmed log keeps its epoch", trim).await;
    suite
        .rule("a log that is trimmed to nothing keeps its epoch", trim_all)
        .await;
}

async fn wipe<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let last = instance.append_and_read(3).await?;
    subject.run_wipe().await?;
    let attached = instance.expect_begun(last).await?;
    instance.follow(&attached);
    // An epoch that begins may end the earlier session.
    instance.rejoin(&subject.engine).await?;
    if attached.first.is_some() {
        expect_first(&instance.reader.read(last).await?, &attached)?;
    }
    instance.round_trip(&drafts(2)).await
}

async fn stale_after_wipe<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.append(&drafts(1)).await?;
    subject.run_wipe().await?;
    let drafts = drafts(2);
    instance.expect_stale(instance.batch(2, &drafts)).await
}

async fn head_after_wipe<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.append(&drafts(1)).await?;
    subject.run_wipe().await?;
    let head = instance.writer.head().await;
    let is_stale = matches!(&head, Err(failure) if failure.kind() == FailureKind::Stale);
    ensure(is_stale, || {
        format!("the head of no log is {head:?}, not a stale failure")
    })
}

async fn lost_tail<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut writer = Instance::join(&subject.engine).await?;
    let mut reader = Instance::join(&subject.engine).await?;
    writer.append(&drafts(3)).await?;
    let last = writer.append(&drafts(2)).await?.last;
    reader.read_to(last).await?;
    subject.run_lose_tail(2).await?;
    reader.reconnect(&subject.engine).await?;
    reader.expect_begun(last).await.map(drop)
}

async fn lost_numbers<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.append(&drafts(3)).await?;
    let last = instance.append(&drafts(2)).await?.last;
    subject.run_lose_tail(2).await?;
    instance.reconnect(&subject.engine).await?;
    // It has read nothing, and knows its acknowledged numbers.
    instance.expect_begun(last).await.map(drop)
}

async fn replaced_tail<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut writer = Instance::join(&subject.engine).await?;
    let mut reader = Instance::join(&subject.engine).await?;
    writer.append(&drafts(3)).await?;
    let last = writer.append(&drafts(2)).await?.last;
    reader.read_to(last).await?;
    subject.run_lose_tail(2).await?;
    let mut newcomer = Instance::join(&subject.engine).await?;
    expect_kept(&newcomer.attach().await?, reader.epoch)?;
    let last = newcomer.append(&drafts(4)).await?.last;
    reader.reconnect(&subject.engine).await?;
    reader.expect_begun(last).await.map(drop)
}

async fn trim<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let start = instance.last;
    instance.append(&drafts(5)).await?;
    let last = instance.append(&drafts(3)).await?.last;
    subject.run_trim(3).await?;
    let attached = instance.expect_kept().await?;
    ensure(attached.last == last, || {
        format!("the log ends at {}", attached.last)
    })?;
    let entries = instance.reader.read(start).await?;
    expect_first(&entries, &attached)?;
    let is_trimmed = entries.first().is_some_and(|entry| entry.previous > start);
    ensure(is_trimmed, || "nothing was trimmed".to_owned())
}

async fn trim_all<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let last = instance.append_and_read(3).await?;
    subject.run_trim(0).await?;
    let attached = instance.expect_kept().await?;
    let state = (attached.last, attached.first);
    ensure(state == (last, None), || format!("the log is {state:?}"))?;
    let newcomer = Instance::join(&subject.engine).await?;
    let known = Known::nothing(newcomer.origin, 1).seen(newcomer.seen());
    expect_kept(&newcomer.writer.attach(&known).await?, instance.epoch)?;
    instance.round_trip(&drafts(2)).await
}

//! Where reads begin, and how long they wait.

use super::{
    Checked, Subject, Suite, ensure,
    instance::{Instance, drafts},
};
use crate::backplane::{Attached, Backplane, Entry, Reader};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Maximum number of entries of one read.
const MAX_PAGE: usize = 10_000;

/// Maximum time of a read that an append wakes.
const AT_ONCE: Duration = Duration::from_secs(2);

pub(super) async fn check<B: Backplane>(suite: &mut Suite<impl AsyncFnMut() -> Subject<B>>) {
    suite
        .rule("a read returns the entries after a sequence", resume)
        .await;
    suite
        .rule(
            "a read from before the log begins with the first entry",
            before_first,
        )
        .await;
    suite.rule("the first attach begins a log", empty).await;
    suite
        .rule("an idle read returns no entry after 5 seconds", idle)
        .await;
    suite.rule("an append wakes a read", woken).await;
    suite
        .rule("all readers see the same entries", same_entries)
        .await;
    suite
        .rule("a read returns some thousand entries at most", pages)
        .await;
}

async fn resume<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let start = instance.last;
    let last = instance.append(&drafts(5)).await?.last;
    let entries = instance.read_to(last).await?;
    let mut sequences: Vec<_> = entries.iter().map(|entry| entry.sequence).collect();
    sequences.insert(0, start);
    for index in [0, 4, 1, 3] {
        let (after, next) = (sequences[index], sequences[index + 1]);
        let entries = instance.reader.read(after).await?;
        let first = entries.first().map(|entry| entry.sequence);
        ensure(first == Some(next), || {
            format!("a read after {after} begins with {first:?}, not {next}")
        })?;
    }
    Ok(())
}

async fn before_first<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.append(&drafts(3)).await?;
    let attached = instance.attach().await?;
    let first = attached.first;
    ensure(first.is_some_and(|first| first <= attached.last), || {
        format!("the log has entries, and its first is {first:?}")
    })?;
    for after in [0, 1] {
        let entries = instance.reader.read(after).await?;
        expect_first(&entries, &attached)?;
    }
    Ok(())
}

/// Fails unless entries begin where the log does.
pub(super) fn expect_first(entries: &[Entry], attached: &Attached) -> Checked {
    let (found, expected) = (entries.first(), attached.first);
    let is_first = |entry: &Entry, first| (entry.previous + 1..=entry.sequence).contains(&first);
    let is_expected = match (found, expected) {
        (Some(entry), Some(first)) => is_first(entry, first),
        (found, expected) => found.is_none() && expected.is_none(),
    };
    ensure(is_expected, || {
        format!("a read begins with {found:?}, and the log with {expected:?}")
    })
}

async fn empty<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.expect_head(instance.last).await?;
    let attached = instance.attach().await?;
    ensure(
        attached.first.is_none_or(|first| first <= attached.last),
        || format!("the first entry is above the last: {attached:?}"),
    )?;
    let entries = instance.reader.read(instance.last).await?;
    ensure(entries.is_empty(), || format!("a new log has {entries:?}"))
}

async fn idle<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let last = instance.append(&drafts(1)).await?.last;
    let begin = Instant::now();
    let entries = instance.reader.read(last).await?;
    let waited = begin.elapsed();
    ensure(entries.is_empty(), || {
        format!("a read at the end returned {entries:?}")
    })?;
    let expected = Duration::from_secs(1)..Duration::from_secs(8);
    ensure(expected.contains(&waited), || {
        format!("it waited {waited:?}")
    })
}

async fn woken<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut writer = Instance::join(&subject.engine).await?;
    let mut instance = Instance::join(&subject.engine).await?;
    let after = instance.last;
    let read = tokio::spawn(async move { (instance.reader.read(after).await, Instant::now()) });
    sleep(Duration::from_millis(50)).await;
    let begin = Instant::now();
    writer.append(&drafts(1)).await?;
    let (entries, end) = read.await.expect("the task does not panic");
    let entries = entries?;
    ensure(entries.len() == 1, || {
        format!("the read returned {entries:?}")
    })?;
    let waited = end.saturating_duration_since(begin);
    ensure(waited < AT_ONCE, || {
        format!("the read returned {waited:?} after the append")
    })
}

async fn same_entries<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut writer = Instance::join(&subject.engine).await?;
    let mut early = Instance::join(&subject.engine).await?;
    let mut late = Instance::join(&subject.engine).await?;
    for count in [1, 3, 5] {
        let last = writer.append(&drafts(count)).await?.last;
        let entries = writer.read_to(last).await?;
        ensure(entries == early.read_to(last).await?, || {
            format!("two readers see different entries up to {last}")
        })?;
    }
    let start = late.last;
    let entries = late.read_to(writer.last).await?;
    early.last = start;
    let again = early.read_to(writer.last).await?;
    ensure(entries == again, || {
        "a later reader sees different entries".to_owned()
    })
}

async fn pages<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let drafts = drafts(20_000);
    let mut last = instance.last;
    for batch in drafts.chunks(500) {
        last = instance.append(batch).await?.last;
    }
    let entries = instance.reader.read(instance.last).await?.len();
    ensure((1..=MAX_PAGE).contains(&entries), || {
        format!("a read returned {entries} entries")
    })?;
    instance.expect(last, 1, &drafts).await
}

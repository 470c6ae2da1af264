//! When an epoch begins, and when it does not.

use super::{
    Checked, Subject, Suite, ensure,
    instance::{Instance, drafts, expect_begun, expect_kept, fresh_epoch},
    subject::{Broken, is_broken},
};
use crate::backplane::{Attached, Backplane, Content, Known, Origin, Reader, Seen, Writer};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::{sleep, timeout};

pub(super) async fn check<B: Backplane>(suite: &mut Suite<impl AsyncFnMut() -> Subject<B>>) {
    suite
        .rule("the first attach begins the given epoch", first)
        .await;
    suite
        .rule("an attach keeps an epoch that lacks nothing", kept)
        .await;
    suite
        .rule(
            "a log that ends before a known entry has a new epoch",
            regression,
        )
        .await;
    suite
        .rule(
            "a log that lacks an acknowledged number has a new epoch",
            publisher,
        )
        .await;
    suite
        .rule("another mark at a known sequence begins an epoch", fork)
        .await;
    suite
        .rule(
            "an instance of an earlier epoch joins the current one",
            joined,
        )
        .await;
    suite
        .rule("a batch of the earlier epoch is stale", stale)
        .await;
    suite.rule("an epoch that begins wakes a read", woken).await;
}

/// Begins an epoch, as if entries were gone. Returns the state that was expected.
async fn begin<B: Backplane>(instance: &mut Instance<B>) -> Result<Attached, Broken> {
    let seen = Seen {
        last: instance.writer.head().await?.last + 1000,
        ..instance.seen()
    };
    let known = Known::nothing(instance.origin, fresh_epoch()).seen(seen.clone());
    let attached = instance.writer.attach(&known).await?;
    expect_begun(&attached, &known, seen.last)?;
    instance.follow(&attached);
    Ok(attached)
}

async fn first<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let (writer, _reader) = subject.engine.connect().await?;
    let origin = Origin::new(fastrand::u64(..));
    let known = Known::nothing(origin, (1 << 48) - 1);
    let attached = writer.attach(&known).await?;
    expect_begun(&attached, &known, 0)
}

async fn kept<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    // The mark of the end, then marks of entries.
    instance.expect_kept().await?;
    for count in [2, 3] {
        let last = instance.append(&drafts(count)).await?.last;
        instance.expect_kept().await?;
        instance.read_to(last - 1).await?;
        instance.expect_kept().await?;
        instance.reconnect(&subject.engine).await?;
        instance.expect_kept().await?;
    }
    let mut newcomer = Instance::join(&subject.engine).await?;
    ensure(newcomer.epoch == instance.epoch, || {
        "a second instance began an epoch".to_owned()
    })?;
    newcomer.expect_kept().await.map(drop)
}

async fn regression<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let last = instance.append(&drafts(3)).await?.last;
    for (epoch, lost) in [(instance.epoch, 1), (fresh_epoch(), 1_000_000)] {
        let last = instance.writer.head().await?.last.max(last) + lost;
        let mark = instance.mark.clone();
        let seen = Seen { epoch, last, mark };
        let known = Known::nothing(instance.origin, fresh_epoch()).seen(seen);
        let attached = instance.writer.attach(&known).await?;
        expect_begun(&attached, &known, last)?;
    }
    Ok(())
}

async fn publisher<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let last = instance.append_and_read(3).await?;
    instance.expect_kept().await?;
    let known = instance.known().acknowledged(4).acknowledged_at(last + 1);
    let attached = instance.writer.attach(&known).await?;
    expect_begun(&attached, &known, last)?;
    // In the new epoch, the same knowledge lacks nothing.
    instance.follow(&attached);
    instance.next = 5;
    instance.expect_kept().await.map(drop)
}

async fn fork<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let last = instance.append(&drafts(4)).await?.last;
    let entries = instance.read_to(last).await?;
    let earlier = entries[entries.len() - 2].mark.clone();
    for mark in [earlier, Bytes::from_static(b"another history")] {
        let mut instance = Instance::join(&subject.engine).await?;
        let last = instance.append_and_read(1).await?;
        instance.mark = mark;
        instance.expect_begun(last).await?;
    }
    Ok(())
}

async fn joined<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut witness = Instance::join(&subject.engine).await?;
    let mut other = Instance::join(&subject.engine).await?;
    let last = other.append_and_read(3).await?;
    witness.read_to(last).await?;
    let epoch = begin(&mut witness).await?.epoch;
    let attached = other.attach().await?;
    expect_kept(&attached, epoch)?;
    // An epoch that begins may end the earlier session.
    other.reconnect(&subject.engine).await?;
    other.expect_kept().await?;
    // Its numbers go on.
    let (number, drafts) = (other.next, drafts(2));
    other.round_trip(&drafts).await?;
    let repeated = other.append_at(number, &drafts).await?;
    ensure(repeated.added == 0, || {
        format!("a repetition added entries: {repeated:?}")
    })
}

async fn stale<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut witness = Instance::join(&subject.engine).await?;
    let mut other = Instance::join(&subject.engine).await?;
    other.append(&drafts(1)).await?;
    let attached = begin(&mut witness).await?;
    let drafts = drafts(2);
    other.expect_stale(other.batch(2, &drafts)).await?;
    witness.expect_head(attached.last).await?;
    other.attach().await?;
    let committed = other.append(&drafts).await?;
    other.reconnect(&subject.engine).await?;
    other.attach().await?;
    other.expect(committed.last, 2, &drafts).await
}

async fn woken<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut witness = Instance::join(&subject.engine).await?;
    let mut instance = Instance::join(&subject.engine).await?;
    let after = instance.last;
    let read = tokio::spawn(async move { instance.reader.read(after).await });
    sleep(Duration::from_millis(50)).await;
    let attached = begin(&mut witness).await?;
    let Ok(read) = timeout(Duration::from_secs(7), read).await else {
        return Err(Broken::Rule("the read did not return".to_owned()));
    };
    let entries = match read.expect("the task does not panic") {
        Err(failure) if is_broken(&failure) => return Ok(()),
        read => read?,
    };
    let first = entries
        .first()
        .map(|entry| (entry.sequence, &entry.content));
    ensure(first == Some((attached.last, &Content::NewEpoch)), || {
        format!(
            "the read returned {entries:?}, and the epoch begins at {}",
            attached.last
        )
    })
}

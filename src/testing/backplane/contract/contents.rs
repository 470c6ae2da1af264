//! What entries contain.

use super::{
    Checked, Subject, Suite, ensure,
    instance::{Instance, drafts, publications},
};
use crate::backplane::{Backplane, Draft};
use std::time::{Duration, SystemTime};

/// Maximum difference between two clocks of a test.
const TOLERANCE: Duration = Duration::from_secs(600);

pub(super) async fn check<B: Backplane>(suite: &mut Suite<impl AsyncFnMut() -> Subject<B>>) {
    suite.rule("a payload is any bytes", binary).await;
    suite
        .rule("a channel is 1 to 255 bytes of UTF-8", channels)
        .await;
    suite.rule("a payload may have 64 KiB", large).await;
    suite.rule("entries have the engine's time", times).await;
}

async fn round_trip<B: Backplane>(subject: &Subject<B>, drafts: &[Draft]) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    instance.round_trip(drafts).await
}

async fn binary<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let all: Vec<u8> = (0..=u8::MAX).collect();
    let single = all.iter().map(|byte| vec![*byte]);
    let others = [
        all.repeat(3),
        Vec::new(),
        b"\r\n\0\r\n".to_vec(),
        b"-1".to_vec(),
    ];
    let payloads = single.chain(others);
    let drafts: Vec<_> = payloads
        .map(|payload| Draft::new("channel", payload))
        .collect();
    round_trip(subject, &drafts).await
}

async fn channels<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let names = [
        "a".to_owned(),
        "x".repeat(255),
        "é".repeat(127),
        "\u{10ffff}".repeat(63),
        "a b.c:d/e*f>g\"h'i\\j{k}%20$?#[l]".to_owned(),
        "0".to_owned(),
        "A".to_owned(),
    ];
    let drafts: Vec<_> = names.map(|name| Draft::new(name, "payload")).into();
    round_trip(subject, &drafts).await
}

async fn large<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let payload = |byte: u8| vec![byte; 65_536];
    let drafts: Vec<_> = (0..16)
        .map(|byte| Draft::new("channel", payload(byte)))
        .collect();
    round_trip(subject, &drafts).await
}

async fn times<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    let before = instance.attach().await?.time;
    let last = instance.append(&drafts(3)).await?.last;
    let entries = instance.read_to(last).await?;
    let after = instance.attach().await?.time;
    ensure(distance(before, SystemTime::now()) < TOLERANCE, || {
        format!("the engine's time is {before:?}")
    })?;
    for publication in publications(&entries)? {
        // The engine may round the entry's time down.
        let earliest = before - Duration::from_secs(1);
        ensure((earliest..=after).contains(&publication.at), || {
            format!("{:?} is not in {before:?}..={after:?}", publication.at)
        })?;
    }
    Ok(())
}

fn distance(a: SystemTime, b: SystemTime) -> Duration {
    a.duration_since(b).unwrap_or_else(|error| error.duration())
}

//! Operations that are dropped before they complete.

use super::{
    Checked, Subject, Suite,
    instance::{Instance, drafts, expect_kept},
    subject::{Broken, is_broken},
};
use crate::backplane::{Backplane, Failure, Reader, Writer};
use std::time::Duration;
use tokio::time::timeout;

/// Times after which an operation is dropped. With zero it is polled once.
const TIMES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_micros(50),
    Duration::from_micros(200),
    Duration::from_millis(1),
    Duration::from_millis(2),
    Duration::from_millis(5),
];

pub(super) async fn check<B: Backplane>(suite: &mut Suite<impl AsyncFnMut() -> Subject<B>>) {
    suite.rule("a cancelled read loses no entry", read).await;
    suite
        .rule("a cancelled append can be repeated", append)
        .await;
    suite
        .rule("a cancelled attach can be repeated", attach)
        .await;
}

async fn read<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut writer = Instance::join(&subject.engine).await?;
    let mut instance = Instance::join(&subject.engine).await?;
    for time in TIMES {
        // One read is cancelled without an entry, and one with entries.
        let idle = timeout(time, instance.reader.read(instance.last)).await;
        rejoin_if_broken(subject, &mut instance, idle.ok()).await?;
        let (number, drafts) = (writer.next, drafts(3));
        let last = writer.append(&drafts).await?.last;
        let busy = timeout(time, instance.reader.read(instance.last)).await;
        rejoin_if_broken(subject, &mut instance, busy.ok()).await?;
        match instance.read_to(last).await {
            Err(Broken::Failed(failure)) if is_broken(&failure) => {
                instance.rejoin(&subject.engine).await?;
                instance.read_to(last).await?;
            }
            read => drop(read?),
        }
        writer.expect(last, number, &drafts).await?;
    }
    Ok(())
}

async fn append<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    for time in TIMES {
        let (number, drafts) = (instance.next, drafts(10));
        let cancelled = timeout(time, instance.append(&drafts)).await;
        rejoin_if_broken(subject, &mut instance, cancelled.ok()).await?;
        let repeated = instance.append_at(number, &drafts).await;
        let committed = match repeated {
            Err(failure) if is_broken(&failure) => {
                instance.rejoin(&subject.engine).await?;
                instance.append_at(number, &drafts).await?
            }
            repeated => repeated?,
        };
        instance.expect_head(committed.last).await?;
        instance.next = number + drafts.len() as u64;
        instance.expect(committed.last, number, &drafts).await?;
    }
    Ok(())
}

async fn attach<B: Backplane>(subject: &mut Subject<B>) -> Checked {
    let mut instance = Instance::join(&subject.engine).await?;
    for time in TIMES {
        let known = instance.known();
        let cancelled = timeout(time, instance.writer.attach(&known)).await;
        rejoin_if_broken(subject, &mut instance, cancelled.ok()).await?;
        let attached = instance.writer.attach(&known).await?;
        expect_kept(&attached, instance.epoch)?;
        instance.append_and_read(1).await?;
    }
    Ok(())
}

/// Connects again if an operation has ended with a failure that asks for it.
async fn rejoin_if_broken<B: Backplane, T>(
    subject: &Subject<B>,
    instance: &mut Instance<B>,
    ended: Option<Result<T, Failure>>,
) -> Result<(), Failure> {
    match ended {
        Some(Err(failure)) if is_broken(&failure) => instance.rejoin(&subject.engine).await,
        Some(Err(failure)) => Err(failure),
        _ => Ok(()),
    }
}

//! The rules of an engine as one suite.

mod appends;
mod cancellation;
mod contents;
mod epochs;
mod faults;
mod instance;
mod reads;
mod subject;
#[cfg(test)]
mod tests;

pub use subject::Subject;

use crate::backplane::Backplane;
use std::{any::type_name, future::Future, time::Duration};
use subject::Broken;
use tokio::time::timeout;

/// Time limit of a rule's check, so that an engine that hangs is named too.
const LIMIT: Duration = Duration::from_secs(60);

/// The outcome of a check.
type Checked = Result<(), Broken>;

/// Checks an engine against the [rules](crate::backplane#rules-of-an-engine).
///
/// Each call of `make_engine` returns an engine with a new, empty log, so a test gives each its own namespace.
/// Checks with faults that the [`Subject`] does not offer are skipped, and standard output names them. The suite
/// waits twice for an idle read, 5 seconds each. With paused time it does not wait.
///
/// # Panics
///
/// The engine breaks a rule, which the message names.
///
/// # Examples
///
/// ```
/// use axum_eventstream::testing::backplane::{Memory, Subject, contract};
///
/// # /*
/// #[tokio::test(start_paused = true)]
/// # */
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # tokio::time::pause();
/// # memory_keeps_the_rules().await
/// # }
/// async fn memory_keeps_the_rules() {
///     contract(|| async {
///         let memory = Memory::new();
///         let wiped = memory.clone();
///         Subject::new(memory).wipe(|| async move { wiped.wipe() })
///     })
///     .await;
/// }
/// ```
pub async fn contract<B, F, Fut>(mut make_engine: F)
where
    B: Backplane,
    F: FnMut() -> Fut,
    Fut: Future<Output = Subject<B>>,
{
    let mut suite = Suite(async || make_engine().await);
    appends::check(&mut suite).await;
    reads::check(&mut suite).await;
    contents::check(&mut suite).await;
    epochs::check(&mut suite).await;
    cancellation::check(&mut suite).await;
    faults::check(&mut suite).await;
}

struct Suite<F>(F);

impl<F> Suite<F> {
    /// Checks a rule on a new engine.
    async fn rule<B: Backplane>(
        &mut self,
        rule: &str,
        check: impl AsyncFnOnce(&mut Subject<B>) -> Checked,
    ) where
        F: AsyncFnMut() -> Subject<B>,
    {
        let mut subject = (self.0)().await;
        let name = subject.engine.name();
        match timeout(LIMIT, check(&mut subject)).await {
            Ok(Ok(())) => {}
            Ok(Err(Broken::Rule(fault))) => panic!("{name} breaks the rule \"{rule}\": {fault}"),
            Ok(Err(Broken::Failed(failure))) => panic!(
                "{name} breaks the rule \"{rule}\": an operation failed: {failure} ({:?})",
                failure.kind()
            ),
            Ok(Err(Broken::Skipped(fault))) => {
                println!("{}: skipped \"{rule}\": needs {fault}", type_name::<B>());
            }
            Err(_) => {
                panic!("{name} breaks the rule \"{rule}\": the check takes more than {LIMIT:?}")
            }
        }
    }
}

/// Fails unless the condition holds.
fn ensure(condition: bool, fault: impl FnOnce() -> String) -> Checked {
    let broken = || Broken::Rule(fault());
    condition.then_some(()).ok_or_else(broken)
}

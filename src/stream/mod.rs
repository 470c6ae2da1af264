//! The stream of one client: its feed, its clock, and what the application has set for it.

mod feed;
mod guard;
mod hooks;
mod open_stream;
mod pace;
mod reconnect;
mod snapshot;
mod snapshots;

pub(crate) use feed::{Feed, Next};
pub(crate) use guard::Guard;
pub(crate) use hooks::Hooks;
pub(crate) use open_stream::{DetachGuard, FRAME, OpenStream, Streams};
pub(crate) use reconnect::reconnect_after;
pub use snapshot::Snapshot;
pub(crate) use snapshot::{SnapshotSource, TakeSnapshot};
pub(crate) use snapshots::{Failure, SnapshotLimits, Snapshots, Taken, Task};

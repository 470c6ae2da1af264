//! What the application sets for a stream.

use crate::stream::SnapshotSource;
use std::time::{Duration, SystemTime};

#[derive(Clone, Debug, Default)]
pub(super) struct Options {
    pub(super) state: Option<SnapshotSource>,
    pub(super) min_interval: Option<Duration>,
    pub(super) expires_at: Option<SystemTime>,
    pub(super) is_attached: bool,
}

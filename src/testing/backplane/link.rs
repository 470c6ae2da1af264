//! The way to the log of a `Memory`, and its faults.

use super::log::Log;
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// The way to a log.
pub(super) struct Link {
    pub(super) log: Arc<Mutex<Log>>,
    /// Number of the current connections. Those with another one are broken.
    pub(super) connection: u64,
    pub(super) is_down: bool,
    pub(super) is_hanging: bool,
    pub(super) delay: Duration,
    pub(super) lost_replies: usize,
    pub(super) busy: usize,
}

impl Link {
    pub(super) fn new(log: Arc<Mutex<Log>>) -> Self {
        Self {
            log,
            connection: 0,
            is_down: false,
            is_hanging: false,
            delay: Duration::ZERO,
            lost_replies: 0,
            busy: 0,
        }
    }

    /// Whether the answer to this append is lost.
    pub(super) fn loses_reply(&mut self) -> bool {
        take_one(&mut self.lost_replies)
    }

    /// Whether this append finds the server busy.
    pub(super) fn is_busy(&mut self) -> bool {
        take_one(&mut self.busy)
    }
}

fn take_one(count: &mut usize) -> bool {
    let is_left = *count > 0;
    *count -= usize::from(is_left);
    is_left
}

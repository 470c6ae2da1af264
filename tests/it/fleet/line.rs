//! The lines that an instance writes to its standard output, which the supervisor reads.
//!
//! Each line is written at once. What an instance has written before it is killed stays in the pipe.

use axum_eventstream::LastEventId;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use std::io::{Write, stdout};

pub(crate) const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];

pub(crate) const INSTANCES: usize = 3;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Line {
    /// It has read the log, and listens.
    Ready,
    /// These events are published now, at this time of the [clock](now).
    Begin(Vec<String>, u64),
    /// How the publish of these events has ended.
    End(Vec<String>, Ending),
    Stats(Stats),
    /// It begins to drain so many streams.
    Draining(usize),
    /// A stream has ended during the drain, so many milliseconds after its begin.
    Closed(u64),
    /// All publishes have their outcome.
    Stopped,
}

#[derive(Debug, Deserialize, Serialize)]
pub(crate) enum Ending {
    Published(Vec<Option<LastEventId>>),
    NotPublished,
    MaybePublished,
}

/// Numbers of an instance since its start.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub(crate) struct Stats {
    pub(crate) subscriptions: usize,
    pub(crate) delivered: u64,
    pub(crate) appended: u64,
    pub(crate) attached: bool,
    pub(crate) behind: u64,
    /// Times that the log has lost entries for its clients.
    pub(crate) log_resets: u64,
}

impl Line {
    pub(crate) fn write(&self) {
        // Fails only for maps without text keys.
        if let Ok(line) = serde_json::to_string(self) {
            // Fails without a supervisor: then the standard input ends, too.
            let _ = writeln!(stdout(), "{line}");
        }
    }
}

/// Microseconds of a clock that all processes of this machine share, and that is never set.
pub(crate) fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.unsigned_abs() * 1_000_000 + now.tv_nsec.unsigned_abs() / 1000
}

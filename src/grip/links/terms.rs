//! The terms of a stream that a proxy holds.

use serde::{Deserialize, Serialize};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the responses to a stream's links depend on beside its channels. Each response repeats it in its own link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    /// The number of the last close of any of the channels when the link was made, if there was one. A close with
    /// a higher number revokes the link.
    #[serde(rename = "c", default, skip_serializing_if = "is_zero")]
    pub(crate) closed: u64,
    /// When the stream ends, as a Unix time. 0 stands for never.
    #[serde(rename = "x", default, skip_serializing_if = "is_zero")]
    pub(crate) expires: u64,
    /// Whether the client expects a snapshot in place of a reset.
    #[serde(rename = "s", default, skip_serializing_if = "is_false")]
    pub(crate) has_snapshot: bool,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Terms {
    /// The expiry of a link: `usual`, or the end of the stream.
    pub(super) fn expiry(&self, usual: u64) -> u64 {
        match self.expires {
            0 => usual,
            expires => usual.min(expires),
        }
    }

    /// The longest silence after which the proxy requests a link, so that it finds the stream's end.
    pub(super) fn poll(&self, now: SystemTime) -> Duration {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        match self.expires {
            0 => Duration::MAX,
            expires => Duration::from_secs(expires.saturating_sub(now) + 1),
        }
    }
}

/// The Unix time of an expiry, as in [`Terms::expires`]. It is rounded down if it is more than a minute away, so that
/// streams with nearly the same expiry share their links.
pub(crate) fn expires(time: Option<SystemTime>, now: SystemTime) -> u64 {
    const GRID: u64 = 10;
    let unix = |time: SystemTime| {
        time.duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs()
    };
    match time.map(unix) {
        None => 0,
        Some(time) if time > unix(now) + 60 => time - time % GRID,
        Some(time) => time.max(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distant_expiry_is_rounded_down() {
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let cases = [
            (None, 0),
            (Some(at(0)), 1),
            (Some(at(1000)), 1000),
            (Some(at(1060)), 1060),
            (Some(at(1061)), 1060),
            (Some(at(1079)), 1070),
        ];
        for (time, rounded) in cases {
            assert_eq!(expires(time, at(1000)), rounded);
        }
    }

    #[test]
    fn a_proxy_asks_a_second_after_the_end_of_the_stream() {
        let now = UNIX_EPOCH + Duration::from_secs(1000);
        for (expires, seconds) in [(0, u64::MAX), (1005, 6), (1000, 1), (7, 1)] {
            let terms = Terms {
                expires,
                ..Terms::default()
            };
            assert_eq!(terms.poll(now).as_secs(), seconds);
        }
    }
}

//! Detects clients that do not take their stream.
//!
//! A client makes progress when its kernel acknowledges bytes. `TCP_USER_TIMEOUT` does not measure that. While
//! the receive window is small, Linux counts from the first probe of a closed window, even if the client has
//! read since. Without acknowledgements from the kernel, progress is that it accepts bytes.

use std::{num::NonZeroU32, sync::LazyLock, time::Duration};
use tokio::{net::TcpStream, time::Instant};

/// Number of checks within a client timeout.
pub(super) const CHECKS: u32 = 4;

/// The progress of one client. A process may hold a million of them, so its size matters.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Acknowledged bytes at the last check, modulo 2^32.
    acked: u32,
    /// Time since which bytes are outstanding and none were acknowledged.
    waits_since: Option<Millis>,
}

/// Milliseconds since the process started, modulo 2^32 (49 days). Only differences are meaningful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Millis(NonZeroU32);

impl Millis {
    fn of(at: Instant) -> Self {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        let millis = at.saturating_duration_since(*START).as_millis();
        Self(NonZeroU32::new(millis as u32).unwrap_or(NonZeroU32::MIN))
    }

    fn until(self, later: Self) -> Duration {
        let millis = later.0.get().wrapping_sub(self.0.get());
        Duration::from_millis(millis.into())
    }
}

/// The kernel's view of a connection.
#[derive(Clone, Copy, Debug)]
struct Report {
    /// Number of acknowledged bytes, modulo 2^32.
    acked: u32,
    /// Whether any bytes are unsent or unacknowledged.
    is_outstanding: bool,
}

impl Progress {
    /// Called when the kernel has accepted bytes.
    pub(super) fn accepted(&mut self, now: Instant) {
        if self.acked == 0 {
            // Without a report, accepted bytes are the only progress.
            self.waits_since = None;
        }
        self.refused(now);
    }

    /// Called when the kernel has refused bytes.
    pub(super) fn refused(&mut self, now: Instant) {
        self.waits_since.get_or_insert_with(|| Millis::of(now));
    }

    /// Compares the kernel's counters with those at the last check, if bytes are outstanding.
    pub(super) fn check(&mut self, tcp: &TcpStream, is_blocked: bool, now: Instant) {
        if self.waits_since.is_some() {
            self.update(kernel::report(tcp), is_blocked, now);
        }
    }

    fn update(&mut self, report: Option<Report>, is_blocked: bool, now: Instant) {
        let acked = report.map_or(0, |report| report.acked);
        let is_outstanding = is_blocked || report.is_some_and(|report| report.is_outstanding);
        if !is_outstanding {
            self.waits_since = None;
        } else if acked != self.acked {
            self.waits_since = Some(Millis::of(now));
        }
        self.acked = acked;
    }

    /// Returns how long bytes have been outstanding without progress.
    pub(super) fn stalled_for(&self, now: Instant) -> Duration {
        let waits = |since: Millis| since.until(Millis::of(now));
        self.waits_since.map_or(Duration::ZERO, waits)
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod kernel {
    use super::Report;
    use nix::{
        libc,
        sys::socket::{getsockopt, sockopt::GetStruct},
    };
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::OnceLock,
    };
    use tokio::net::TcpStream;

    /// The beginning of the kernel's `struct tcp_info`, up to and including `tcpi_notsent_bytes`.
    type Info = [u8; 148];

    const UNACKED: usize = 24;
    const BYTES_ACKED: usize = 120;
    const NOTSENT_BYTES: usize = 144;

    #[derive(Clone, Copy, Debug)]
    struct TcpInfo;

    nix::getsockopt_impl!(
        TcpInfo,
        libc::IPPROTO_TCP,
        libc::TCP_INFO,
        Info,
        GetStruct<Info>
    );

    pub(super) fn report(tcp: &TcpStream) -> Option<Report> {
        if !is_known(tcp) {
            return None;
        }
        let info = getsockopt(tcp, TcpInfo).ok()?;
        let number = |at: usize| u32::from_ne_bytes([0, 1, 2, 3].map(|n| info[at + n]));
        let low = match cfg!(target_endian = "big") {
            true => BYTES_ACKED + 4,
            false => BYTES_ACKED,
        };
        Some(Report {
            acked: number(low),
            is_outstanding: number(UNACKED) > 0 || number(NOTSENT_BYTES) > 0,
        })
    }

    /// Before version 4.6, Linux returns a shorter struct, for which `nix` panics.
    fn is_known(tcp: &TcpStream) -> bool {
        static KNOWN: OnceLock<bool> = OnceLock::new();
        let read = AssertUnwindSafe(|| getsockopt(tcp, TcpInfo));
        *KNOWN.get_or_init(|| catch_unwind(read).is_ok())
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod kernel {
    use super::Report;
    use tokio::net::TcpStream;

    pub(super) fn report(_: &TcpStream) -> Option<Report> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn report(acked: u32, is_outstanding: bool) -> Option<Report> {
        Some(Report {
            acked,
            is_outstanding,
        })
    }

    /// Compensates for timestamps that are rounded down to milliseconds.
    fn seconds(time: Duration) -> u64 {
        (time + Duration::from_millis(1)).as_secs()
    }

    /// Sends bytes every second and checks right after. Returns the seconds stalled at each check.
    fn stalled(reports: &[Option<Report>], is_blocked: bool) -> Vec<u64> {
        let (mut progress, mut now) = (Progress::default(), Instant::now());
        let check = |report: &Option<Report>| {
            progress.accepted(now);
            progress.update(*report, is_blocked, now);
            let stalled = progress.stalled_for(now);
            now += SECOND;
            seconds(stalled)
        };
        reports.iter().map(check).collect()
    }

    #[test]
    fn acknowledged_bytes_are_progress() {
        let steady = [report(7, true), report(8, true), report(9, true)];
        assert_eq!(stalled(&steady, true), [0, 0, 0]);
        let stalls = [report(7, true), report(7, true), report(7, true)];
        assert_eq!(stalled(&stalls, true), [0, 1, 2]);
        assert_eq!(stalled(&stalls, false), [0, 1, 2], "it has vanished");
        let settles = [report(7, true), report(7, true), report(7, false)];
        assert_eq!(stalled(&settles, false), [0, 1, 0]);
        assert_eq!(
            stalled(&settles, true),
            [0, 1, 2],
            "it has not read the rest"
        );
    }

    #[test]
    fn accepted_bytes_are_progress_without_a_report() {
        for nothing in [None, report(0, false)] {
            assert_eq!(stalled(&[nothing; 3], true), [0, 0, 0]);
        }
        let (mut progress, start) = (Progress::default(), Instant::now());
        progress.refused(start);
        progress.update(None, true, start + SECOND);
        progress.refused(start + SECOND);
        assert_eq!(seconds(progress.stalled_for(start + 2 * SECOND)), 2);
    }

    #[test]
    fn elapsed_milliseconds_survive_a_wrap_around() {
        let millis = |millis| Millis(NonZeroU32::new(millis).unwrap());
        let elapsed = millis(u32::MAX - 1).until(millis(3));
        assert_eq!(elapsed, Duration::from_millis(5));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_kernel_reports_acknowledged_bytes() {
        use tokio::{io::AsyncWriteExt, net::TcpListener};

        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (client, server) = tokio::join!(client, listener.accept());
        let (_client, mut server) = (client.unwrap(), server.unwrap().0);
        let before = kernel::report(&server).unwrap().acked;
        server.write_all(b"seven..").await.unwrap();
        // The client may delay its acknowledgement.
        while kernel::report(&server).unwrap().is_outstanding {
            tokio::task::yield_now().await;
        }
        assert_eq!(kernel::report(&server).unwrap().acked - before, 7);
        while server.try_write(&[b'x'; 1 << 16]).is_ok() {}
        assert!(kernel::report(&server).unwrap().is_outstanding);
    }
}

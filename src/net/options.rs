//! Socket options of a detached stream.

use socket2::{SockRef, TcpKeepalive};
use std::time::Duration;
use tokio::net::TcpStream;

/// Number of keep-alive probes within a client timeout. The last one has as long for its answer as the others.
const PROBES: u32 = 3;

/// Socket options and timeout that a listener sets for the sockets it detaches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Options {
    /// Zero disables it.
    pub(super) client_timeout: Duration,
    /// Zero leaves the system's default.
    pub(super) notsent_lowat: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            client_timeout: Duration::from_secs(30),
            notsent_lowat: 32 << 10,
        }
    }
}

impl Options {
    /// Returns how long a client may take nothing.
    pub(super) fn patience(&self) -> Duration {
        match self.client_timeout.is_zero() {
            true => Duration::MAX,
            false => self.client_timeout,
        }
    }

    /// Errors are ignored: a platform may lack an option, and none is worth a lost stream.
    pub(super) fn set(&self, tcp: &TcpStream) {
        let socket = SockRef::from(tcp);
        if !self.client_timeout.is_zero() {
            let _ = socket.set_tcp_keepalive(&self.keepalive());
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.notsent_lowat > 0 {
            let _ = socket.set_tcp_notsent_lowat(self.notsent_lowat);
        }
    }

    /// Probes detect a vanished client of an idle connection. The kernel sends none while data is
    /// unacknowledged.
    fn keepalive(&self) -> TcpKeepalive {
        let probe = self.client_timeout / (PROBES + 1);
        let probe = probe.max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(probe);
        #[cfg(any(
            target_os = "android",
            target_os = "dragonfly",
            target_os = "freebsd",
            target_os = "illumos",
            target_os = "ios",
            target_os = "linux",
            target_os = "macos",
            target_os = "netbsd",
            target_os = "tvos",
            target_os = "visionos",
            target_os = "watchos",
            target_os = "windows",
        ))]
        let keepalive = keepalive.with_interval(probe).with_retries(PROBES);
        keepalive
    }
}

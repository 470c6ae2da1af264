//! The listener, and the address of its connections.

use super::{Io, driver::Pool, handoff, options::Options};
use axum::{
    extract::connect_info::Connected,
    serve::{self, IncomingStream},
};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// A listener for `axum::serve` that detaches event streams from the HTTP server: see the [module](crate::net).
///
/// It wraps any listener for TCP, such as a `TcpListener`, or one that `ListenerExt::tap_io` returns.
///
/// # Slow clients
///
/// These settings decide what a client receives that reads slowly, and when it is disconnected:
///
/// | setting | default | for a client that reads slowly |
/// | --- | --- | --- |
/// | [`notsent_lowat`](Self::notsent_lowat) | 32 KiB | bytes that wait in the kernel; the others wait in the channel's log |
/// | [`min_interval`](crate::StreamHandler::min_interval) | none | one burst of frames for each interval, for many small events |
/// | [`History::events`](crate::History::events) | 256 | how far it may be behind on a channel, even without history |
/// | [`LagPolicy`](crate::LagPolicy) | `Continue` | further behind it receives `stream-reset` or a [snapshot](crate::StreamHandler::snapshot), or is disconnected |
/// | [`client_timeout`](Self::client_timeout) | 30 s | the time without any progress after which it is disconnected |
/// | [`KeepAlive::interval`](crate::KeepAlive::interval) | 20 s | the silence after which it is sent something, which also detects a client that has vanished |
///
/// # Examples
///
/// ```no_run
/// # #[tokio::main]
/// # async fn main() -> std::io::Result<()> {
/// use axum_eventstream::net::Listener;
/// use std::time::Duration;
///
/// let tcp = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// let listener = Listener::new(tcp).client_timeout(Duration::from_secs(60));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Listener<L> {
    listener: L,
    options: Options,
    pool: Arc<Pool>,
}

impl<L> Listener<L>
where
    L: serve::Listener<Io = TcpStream>,
{
    /// Wraps a listener.
    pub fn new(listener: L) -> Self {
        let options = Options::default();
        handoff::enable();
        Self {
            listener,
            options,
            pool: Pool::new(options),
        }
    }

    /// Sets how long a client may leave its stream unread before its connection is closed: 30 seconds by default.
    /// Zero disables the timeout.
    ///
    /// It applies to detached streams, and to no other response.
    ///
    /// - A client that reads, however slowly, stays connected. On Linux and Android the measure is the bytes
    ///   that its kernel acknowledges, on other platforms the bytes that the local kernel accepts. A kernel
    ///   with a full receive buffer acknowledges nothing until there is room for a segment, or for half of a
    ///   small buffer.
    /// - A client that reads nothing is disconnected once its receive buffer has been full for this time.
    /// - A client that has vanished is disconnected once it has acknowledged nothing for this time. The kernel
    ///   probes an idle connection three times within it, but at most once a second.
    ///
    /// A slow client falls behind: see [`notsent_lowat`](Self::notsent_lowat), [`History`](crate::History) and
    /// [`LagPolicy`](crate::LagPolicy).
    #[must_use]
    pub fn client_timeout(mut self, timeout: Duration) -> Self {
        self.options.client_timeout = timeout;
        self.pool = Pool::new(self.options);
        self
    }

    /// Sets how many unsent bytes the kernel holds for a client: `TCP_NOTSENT_LOWAT`, 32 KiB by default. Zero
    /// leaves the system's default, which allows megabytes.
    ///
    /// It applies to detached streams, on Linux and Android. With a small value a slow client is less far
    /// behind, since its backlog waits in the channel's log. A large value saves system calls where events are
    /// large. Bytes in the client's own receive buffer are not counted.
    #[must_use]
    pub fn notsent_lowat(mut self, bytes: u32) -> Self {
        self.options.notsent_lowat = bytes;
        self.pool = Pool::new(self.options);
        self
    }
}

impl<L> serve::Listener for Listener<L>
where
    L: serve::Listener<Io = TcpStream>,
{
    type Io = Io;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Io, L::Addr) {
        let (tcp, address) = self.listener.accept().await;
        // With Nagle's algorithm, an event would wait for the acknowledgement of the previous one. If the
        // option is refused, only that delay remains.
        let _ = tcp.set_nodelay(true);
        (Io::new(tcp, self.pool.clone()), address)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// The address of a client, as connect info of a [`Listener`].
///
/// Middleware that extracts `ConnectInfo<SocketAddr>`, such as a rate limit by address, needs
/// [`ListenerExt::tap_io`](serve::ListenerExt::tap_io) around the listener: axum implements connect info for
/// it, and for its own listeners.
///
/// # Examples
///
/// ```
/// use axum::{Router, extract::ConnectInfo, routing::get};
/// use axum_eventstream::net::Connection;
///
/// async fn who(ConnectInfo(connection): ConnectInfo<Connection>) -> String {
///     connection.remote_addr().to_string()
/// }
///
/// let app = Router::new().route("/who", get(who));
/// let service = app.into_make_service_with_connect_info::<Connection>();
/// ```
///
/// As a `SocketAddr`:
///
/// ```no_run
/// # use axum::{Router, serve::ListenerExt};
/// # use axum_eventstream::net::Listener;
/// # use std::net::SocketAddr;
/// # async fn serve(app: Router) -> std::io::Result<()> {
/// let tcp = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
/// let listener = Listener::new(tcp).tap_io(|_| ());
/// let service = app.into_make_service_with_connect_info::<SocketAddr>();
/// axum::serve(listener, service).await
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    remote_addr: SocketAddr,
}

impl Connection {
    /// The address of the client, or of the proxy in front.
    #[must_use]
    pub fn remote_addr(&self) -> SocketAddr {
        self.remote_addr
    }
}

impl<L> Connected<IncomingStream<'_, Listener<L>>> for Connection
where
    L: serve::Listener<Io = TcpStream, Addr = SocketAddr>,
{
    fn connect_info(stream: IncomingStream<'_, Listener<L>>) -> Self {
        Self {
            remote_addr: *stream.remote_addr(),
        }
    }
}

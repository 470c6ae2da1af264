//! The listener, and who is connected.

use super::{Io, driver::Pool, handoff};
use axum::{
    extract::connect_info::Connected,
    serve::{self, IncomingStream},
};
use socket2::{SockRef, TcpKeepalive};
use std::{io, net::SocketAddr, sync::Arc, time::Duration};
use tokio::net::TcpStream;

/// A listener for `axum::serve` whose event streams leave the HTTP server: see the [module](crate::net).
///
/// It wraps any listener for TCP, such as a `TcpListener` or what `ListenerExt::tap_io` makes of it.
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
    client_timeout: Duration,
    pool: Arc<Pool>,
}

impl<L> Listener<L>
where
    L: serve::Listener<Io = TcpStream>,
{
    /// Wraps a listener. The client timeout is 30 seconds.
    pub fn new(listener: L) -> Self {
        let client_timeout = Duration::from_secs(30);
        handoff::enable();
        Self {
            listener,
            client_timeout,
            pool: Pool::new(client_timeout),
        }
    }

    /// Sets after what time a client is dropped that has vanished, or reads nothing of what waits for it.
    ///
    /// The kernel counts milliseconds, and probes an idle connection each third of the time but once a
    /// second at the most. Zero turns it off.
    #[must_use]
    pub fn client_timeout(mut self, timeout: Duration) -> Self {
        self.client_timeout = timeout;
        self.pool = Pool::new(timeout);
        self
    }

    /// None of this is worth a refused connection: a platform may know only a part of it.
    fn set_up(&self, tcp: &TcpStream) {
        let _ = tcp.set_nodelay(true);
        let timeout = self.client_timeout;
        if timeout.is_zero() {
            return;
        }
        let probe = (timeout / 3).max(Duration::from_secs(1));
        let keepalive = TcpKeepalive::new().with_time(probe).with_interval(probe);
        let socket = SockRef::from(tcp);
        let _ = socket.set_tcp_keepalive(&keepalive);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let _ = socket.set_tcp_user_timeout(Some(timeout));
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
        self.set_up(&tcp);
        (Io::new(tcp, self.pool.clone()), address)
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.listener.local_addr()
    }
}

/// The address of a client: connect info for who needs it, since axum's own knows only its own listeners.
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    remote_addr: SocketAddr,
}

impl Connection {
    /// The client's address, or that of the proxy in front.
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

//! Applications on ports of their own.

use std::{
    array, iter,
    net::{Ipv4Addr, SocketAddr},
};

use axum::{Router, serve::Listener};
use axum_eventstream::net;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A free port, on which nothing is answered yet.
pub(crate) async fn bind() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// The same, for streams that detach.
pub(crate) async fn bind_detaching() -> (net::Listener<TcpListener>, SocketAddr) {
    let (tcp, address) = bind().await;
    (net::Listener::new(tcp), address)
}

/// Ports below the range of outgoing connections: they stay free when they are dropped.
pub(crate) fn reserve<const N: usize>(host: Ipv4Addr) -> [std::net::TcpListener; N] {
    let candidates = iter::repeat_with(|| fastrand::u16(10_000..32_000));
    let mut bound = candidates.filter_map(|port| std::net::TcpListener::bind((host, port)).ok());
    array::from_fn(|_| bound.next().expect("a free port"))
}

/// Such a port of this machine.
pub(crate) fn free_port() -> u16 {
    let [port] = reserve(Ipv4Addr::LOCALHOST);
    port.local_addr().unwrap().port()
}

/// Serves an application until the test ends.
pub(crate) fn serve(listener: TcpListener, app: Router) -> JoinHandle<()> {
    serve_until(listener, app, false, std::future::pending())
}

/// Serves an application on a port of its own until the test ends; `detach`: behind `net::Listener`.
pub(crate) async fn start(app: Router, detach: bool) -> SocketAddr {
    let (listener, address) = bind().await;
    serve_until(listener, app, detach, std::future::pending());
    address
}

/// Serves an application until the signal has resolved and every connection is closed.
pub(crate) fn serve_until<L>(
    tcp: L,
    app: Router,
    detach: bool,
    signal: impl Future<Output = ()> + Send + 'static,
) -> JoinHandle<()>
where
    L: Listener<Io = TcpStream, Addr = SocketAddr>,
{
    let served = match detach {
        true => axum::serve(net::Listener::new(tcp), app)
            .with_graceful_shutdown(signal)
            .into_future(),
        false => axum::serve(tcp, app)
            .with_graceful_shutdown(signal)
            .into_future(),
    };
    tokio::spawn(async { served.await.unwrap() })
}

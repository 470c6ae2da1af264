//! Nothing is lost silently: clients that come back have all, or know where something is missing.

mod client;
mod connection;
mod losing;
mod many;
mod memory;
mod records;
mod restart;
mod slow;

use std::{alloc::System, future::Future, time::Duration};

use axum::{Router, http::request::Parts, routing::get};
use axum_eventstream::{EventStream, net};
use cap::Cap;
use connection::Site;
use tokio::{
    net::TcpListener,
    sync::{Mutex, MutexGuard},
    time::{sleep, timeout},
};

/// Counts what is allocated.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// One test at a time: each has the machine, and the memory that it measures, for itself.
async fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::const_new(());
    ALONE.lock().await
}

/// No test takes that long, however busy the machine is.
async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let result = timeout(Duration::from_secs(120), future).await;
    result.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until it is so.
async fn until(what: &str, is_so: impl Fn() -> bool) {
    within(what, async {
        while !is_so() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

async fn subscribed(es: &EventStream, count: usize) {
    until("the subscriptions", || es.stats().subscriptions == count).await;
}

/// Streams on the channels that the path names: `/a+b`.
fn app(es: &EventStream) -> Router {
    let channels = |parts: &Parts| -> Vec<String> {
        let names = parts.uri.path().trim_start_matches('/').split('+');
        names.map(str::to_owned).collect()
    };
    Router::new().route("/{channels}", get(es.handler(channels)))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// A service is called, and its response's body read.
    Called,
    /// axum's listener: hyper writes the streams.
    Plain,
    /// `net::Listener`: the streams leave hyper.
    Leaving,
}

impl Way {
    const SOCKETS: [Self; 2] = [Self::Plain, Self::Leaving];

    async fn serve(self, app: Router) -> Site {
        if self == Self::Called {
            return Site::Router(app);
        }
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        tokio::spawn(self.serve_on(tcp, app));
        Site::Socket(address)
    }

    async fn serve_on(self, tcp: TcpListener, app: Router) {
        let result = match self {
            Self::Leaving => axum::serve(net::Listener::new(tcp), app).await,
            _ => axum::serve(tcp, app).await,
        };
        result.unwrap();
    }
}

//! Nothing is lost silently: clients that resume have all events, or a reset where some are missing.

mod client;
mod connection;
mod losing;
mod many;
mod memory;
mod records;
mod restart;
mod slow;

use crate::support::server;
use axum::{Router, http::request::Parts, routing::get};
use axum_eventstream::EventStream;
#[cfg(feature = "full")]
pub(crate) use connection::Connection;
pub(crate) use connection::Site;

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
    /// `net::Listener`: the streams are detached.
    Detached,
}

impl Way {
    const SOCKETS: [Self; 2] = [Self::Plain, Self::Detached];

    async fn serve(self, app: Router) -> Site {
        match self {
            Self::Called => Site::Router(app),
            _ => Site::Socket(server::start(app, self == Self::Detached).await),
        }
    }
}

//! Where clients connect to, and a response's body in pieces.

use crate::support::{call, client};
use axum::{Router, body::BodyDataStream};
use bytes::Bytes;
use futures_util::StreamExt;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Where clients connect to.
#[derive(Clone)]
pub(crate) enum Site {
    Socket(SocketAddr),
    Router(Router),
}

/// A response's body in pieces.
pub(crate) enum Connection {
    Socket(client::Response),
    Body(BodyDataStream),
}

impl Site {
    pub(crate) fn address(&self) -> SocketAddr {
        match self {
            Self::Socket(address) => *address,
            Self::Router(_) => unreachable!("it has no socket"),
        }
    }

    /// Requests a stream. None if nobody answers.
    pub(crate) async fn open(
        &self,
        target: &str,
        last_event_id: Option<&str>,
    ) -> Option<Connection> {
        match self {
            Self::Socket(address) => {
                let tcp = TcpStream::connect(address).await.ok()?;
                // A port that nobody listens to may connect to itself.
                if tcp.local_addr().ok()? == *address {
                    return None;
                }
                let response = request(tcp, target, last_event_id).await?;
                Some(Connection::Socket(response))
            }
            Self::Router(app) => {
                let id = last_event_id.map(|id| ("last-event-id", id));
                let response = call(app, target, id.as_slice()).await;
                assert_eq!(response.status(), 200);
                Some(Connection::Body(response.into_body().into_data_stream()))
            }
        }
    }
}

impl Connection {
    /// Some more of the body. None at its end, whether it is complete or not.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        match self {
            Self::Socket(socket) => socket.piece().await,
            Self::Body(body) => body.next().await.map(Result::unwrap),
        }
    }
}

pub(crate) async fn request(
    tcp: TcpStream,
    target: &str,
    last_event_id: Option<&str>,
) -> Option<client::Response> {
    let id = last_event_id.map(|id| ("last-event-id", id));
    let request = client::request(&format!("GET {target} HTTP/1.1"), id.as_slice());
    let response = client::exchange(tcp, &request).await?;
    assert_eq!(response.status(), "HTTP/1.1 200 OK");
    Some(response)
}

//! Where clients connect to, and a response's body as it comes.

use std::{io, net::SocketAddr};

use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::Request,
};
use bytes::{Buf, Bytes, BytesMut};
use futures_util::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use tower::ServiceExt;

/// Where clients connect to.
#[derive(Clone)]
pub(crate) enum Site {
    Socket(SocketAddr),
    Router(Router),
}

/// A response's body as it comes.
pub(crate) enum Connection {
    Socket(Socket),
    Body(BodyDataStream),
}

pub(crate) struct Socket {
    tcp: TcpStream,
    received: BytesMut,
    part: Part,
}

/// What the next bytes belong to.
enum Part {
    Head,
    Size,
    Chunk(usize),
    End,
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
                let socket = Socket::request(tcp, target, last_event_id).await;
                socket.ok().map(Connection::Socket)
            }
            Self::Router(app) => {
                let mut request = Request::get(target);
                if let Some(id) = last_event_id {
                    request = request.header("last-event-id", id);
                }
                let request = request.body(Body::empty()).unwrap();
                let Ok(response) = app.clone().oneshot(request).await;
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

impl Socket {
    pub(crate) async fn request(
        mut tcp: TcpStream,
        target: &str,
        last_event_id: Option<&str>,
    ) -> io::Result<Self> {
        let id = last_event_id.map(|id| format!("last-event-id: {id}\r\n"));
        let id = id.unwrap_or_default();
        let request = format!("GET {target} HTTP/1.1\r\nhost: x\r\n{id}\r\n");
        tcp.write_all(request.as_bytes()).await?;
        Ok(Self {
            tcp,
            received: BytesMut::new(),
            part: Part::Head,
        })
    }

    async fn piece(&mut self) -> Option<Bytes> {
        loop {
            match self.decode() {
                Some(piece) if piece.is_empty() => return None,
                Some(piece) => return Some(piece),
                None if self.receive(usize::MAX).await => {}
                None => return None,
            }
        }
    }

    /// Reads `limit` bytes at the most. False at the end.
    pub(crate) async fn receive(&mut self, limit: usize) -> bool {
        let mut tcp = (&mut self.tcp).take(limit as u64);
        matches!(tcp.read_buf(&mut self.received).await, Ok(1..))
    }

    /// What there is of a chunk; empty if it is the last one.
    fn decode(&mut self) -> Option<Bytes> {
        loop {
            match self.part {
                Part::Head => {
                    let head = self.until(b"\r\n\r\n")?;
                    assert!(head.starts_with(b"HTTP/1.1 200"), "{head:?}");
                    self.part = Part::Size;
                }
                Part::Size => {
                    let line = self.until(b"\r\n")?;
                    let size = str::from_utf8(&line).unwrap();
                    self.part = match usize::from_str_radix(size, 16).unwrap() {
                        0 => Part::End,
                        size => Part::Chunk(size),
                    };
                }
                Part::Chunk(0) => {
                    let end = self.until(b"\r\n")?;
                    assert!(end.is_empty(), "a chunk is longer than its size");
                    self.part = Part::Size;
                }
                Part::Chunk(_) if self.received.is_empty() => return None,
                Part::Chunk(left) => {
                    let length = left.min(self.received.len());
                    self.part = Part::Chunk(left - length);
                    return Some(self.received.split_to(length).freeze());
                }
                Part::End => return Some(Bytes::new()),
            }
        }
    }

    /// Takes all before `end`, which goes too.
    fn until(&mut self, end: &[u8]) -> Option<Bytes> {
        let mut windows = self.received.windows(end.len());
        let at = windows.position(|window| window == end)?;
        let bytes = self.received.split_to(at).freeze();
        self.received.advance(end.len());
        Some(bytes)
    }
}

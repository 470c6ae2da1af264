//! A client that shows the bytes on the wire: whole heads, and bodies in pieces.

use std::{io, net::SocketAddr, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};

/// What no answer takes, however busy the machine is.
const LIMIT: Duration = Duration::from_secs(30);

/// A response, and the connection it comes on. Dropping it closes the connection.
pub(crate) struct Response {
    connection: Connection,
    head: Vec<String>,
    framing: Framing,
    /// Bytes of the body that were received and not returned yet.
    body: BytesMut,
}

struct Connection {
    socket: TcpStream,
    received: BytesMut,
}

/// How a body ends.
enum Framing {
    Chunked,
    Length(usize),
    UntilClose,
    Ended,
    /// The connection has ended before the body.
    Cut,
}

/// Sends a GET request of HTTP/1.1.
pub(crate) async fn get(server: SocketAddr, target: &str, headers: &[(&str, &str)]) -> Response {
    send(server, &format!("GET {target} HTTP/1.1"), headers).await
}

/// Sends a request with this request line, on a new connection.
pub(crate) async fn send(server: SocketAddr, line: &str, headers: &[(&str, &str)]) -> Response {
    write(server, &request(line, headers)).await
}

/// Writes a whole request on a new connection.
pub(crate) async fn write(server: SocketAddr, request: &str) -> Response {
    let socket = TcpStream::connect(server).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let response = exchange(socket, request).await;
    response.expect("the connection ends within the head")
}

/// Writes a whole request. `None` if the connection breaks within the head.
pub(crate) async fn exchange(socket: TcpStream, request: &str) -> Option<Response> {
    let received = BytesMut::new();
    Response::read_head(Connection { socket, received }, request).await
}

pub(crate) fn request(line: &str, headers: &[(&str, &str)]) -> String {
    let headers = headers.iter();
    let headers = headers.map(|(name, value)| format!("{name}: {value}\r\n"));
    let headers: String = headers.collect();
    format!("{line}\r\nhost: localhost\r\n{headers}\r\n")
}

/// A target, headers, and the status and the body of the response.
pub(crate) type Refusal<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

/// Checks every byte of the responses to requests that are refused.
pub(crate) async fn assert_refused(server: SocketAddr, cases: &[Refusal<'_>]) {
    for (target, headers, status, body) in cases {
        let expected = format!(
            "HTTP/1.1 {status}\ncontent-length: {}\ncontent-type: text/plain; charset=utf-8\n\n{body}",
            body.len()
        );
        let response = get(server, target, headers).await;
        assert_eq!(response.whole().await, expected, "{target} {headers:?}");
    }
}

impl Response {
    /// Sends another request on the same connection.
    pub(crate) async fn again(self, line: &str, headers: &[(&str, &str)]) -> Self {
        assert!(
            matches!(self.framing, Framing::Ended),
            "the body has not ended"
        );
        let next = Self::read_head(self.connection, &request(line, headers)).await;
        next.expect("the connection ends within the head")
    }

    async fn read_head(mut connection: Connection, request: &str) -> Option<Self> {
        let written = connection.socket.write_all(request.as_bytes()).await;
        written.ok()?;
        let mut head = Vec::new();
        loop {
            match connection.line().await? {
                line if line.is_empty() => break,
                line => head.push(line),
            }
        }
        let mut response = Self {
            connection,
            head,
            framing: Framing::UntilClose,
            body: BytesMut::new(),
        };
        response.framing = response.framing(request.starts_with("HEAD "));
        Some(response)
    }

    fn framing(&self, head: bool) -> Framing {
        match (
            self.header("content-length"),
            self.header("transfer-encoding"),
        ) {
            _ if head => Framing::Ended,
            (Some(length), None) => Framing::Length(length.parse().unwrap()),
            (None, Some("chunked")) => Framing::Chunked,
            (None, None) => Framing::UntilClose,
            both => panic!("the body's end is unclear: {both:?}"),
        }
    }

    /// The status line.
    pub(crate) fn status(&self) -> &str {
        &self.head[0]
    }

    /// The header lines in the order of their names, without the date.
    pub(crate) fn headers(&self) -> Vec<&str> {
        let lines = self.head[1..].iter().map(String::as_str);
        let mut lines: Vec<_> = lines.filter(|line| !line.starts_with("date: ")).collect();
        lines.sort_unstable();
        lines
    }

    /// The client's own end of the connection.
    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.connection.socket.local_addr().unwrap()
    }

    /// The value of a header, which must not be there twice.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head[1..].iter().filter_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} is there twice");
        value
    }

    /// The next event's bytes, with the empty line that ends it; none at the end of the body.
    pub(crate) async fn next_event(&mut self) -> Option<String> {
        let mut searched = 0;
        loop {
            let mut pairs = self.body[searched..].windows(2);
            if let Some(at) = pairs.position(|pair| pair == b"\n\n") {
                return Some(text(self.body.split_to(searched + at + 2)));
            }
            searched = self.body.len().saturating_sub(1);
            if !self.read().await {
                assert_eq!(self.body, "", "the body has ended within an event");
                return None;
            }
        }
    }

    /// The next events' bytes, so many.
    pub(crate) async fn events(&mut self, count: usize) -> String {
        let mut events = String::new();
        let deadline = Instant::now() + LIMIT;
        for _ in 0..count {
            let event = timeout_at(deadline, self.next_event()).await;
            let event = event.unwrap_or_else(|_| panic!("the connection is slow: {events:?}"));
            events += &event.unwrap_or_else(|| panic!("the connection has ended: {events:?}"));
        }
        events
    }

    /// Puts events back: they are the next ones.
    pub(crate) fn unread(&mut self, events: &str) {
        let later = self.body.split();
        self.body.extend_from_slice(events.as_bytes());
        self.body.unsplit(later);
    }

    /// The events up to one that contains this text.
    pub(crate) async fn until(&mut self, text: &str) -> String {
        let mut events = String::new();
        loop {
            let event = self.events(1).await;
            events += &event;
            if event.contains(text) {
                return events;
            }
        }
    }

    /// The data of the next event, which has one line of it.
    pub(crate) async fn data(&mut self) -> String {
        let event = self.events(1).await;
        let data = event.lines().find_map(|line| line.strip_prefix("data: "));
        let data = data.unwrap_or_else(|| panic!("no data in {event:?}"));
        data.to_owned()
    }

    /// The rest of the body.
    pub(crate) async fn rest(&mut self) -> String {
        while self.read().await {}
        text(self.body.split())
    }

    /// The rest of a body that must be complete.
    pub(crate) async fn end(&mut self) -> String {
        let rest = self.rest().await;
        assert!(self.is_complete(), "the body is cut off after {rest:?}");
        rest
    }

    /// All of it, as text: the status line, the header lines, an empty line, the body.
    pub(crate) async fn whole(mut self) -> String {
        let body = self.end().await;
        let head = [&[self.status()], &self.headers()[..]].concat();
        format!("{}\n\n{body}", head.join("\n"))
    }

    /// Whether the body has ended as it should.
    pub(crate) fn is_complete(&self) -> bool {
        matches!(self.framing, Framing::Ended)
    }

    /// Whether the server closes the connection rather than answer another request on it.
    pub(crate) async fn closes(mut self) -> bool {
        let request = b"HEAD / HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let sent = self.connection.socket.write_all(request).await;
        sent.is_err() || !self.connection.fill(usize::MAX).await
    }

    /// Reads some more of the body. False at its end.
    async fn read(&mut self) -> bool {
        let Some(bytes) = self.piece().await else {
            return false;
        };
        self.body.extend_from_slice(&bytes);
        true
    }

    /// Takes so many bytes from the socket at most, and leaves them for later. False at the end.
    pub(crate) async fn receive(&mut self, most: usize) -> bool {
        self.connection.fill(most).await
    }

    /// Writes more on the connection.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.connection.socket.write_all(bytes).await
    }

    /// A chunk of the body, as the server has sent it. `None` at the end.
    pub(crate) async fn piece(&mut self) -> Option<Bytes> {
        let connection = &mut self.connection;
        let piece = match self.framing {
            Framing::Ended | Framing::Cut => return None,
            Framing::Chunked => connection.chunk().await,
            Framing::Length(length) => connection.exactly(length).await,
            Framing::UntilClose => {
                // The head may have come with a part of the body.
                if connection.received.is_empty() {
                    connection.fill(usize::MAX).await;
                }
                Some(connection.received.split().freeze())
            }
        };
        self.framing = match (&piece, &self.framing) {
            (None, _) => Framing::Cut,
            (Some(_), Framing::Length(_)) => Framing::Ended,
            (Some(piece), _) if piece.is_empty() => Framing::Ended,
            _ => return piece,
        };
        piece.filter(|piece| !piece.is_empty())
    }
}

fn text(bytes: BytesMut) -> String {
    String::from_utf8(bytes.into()).expect("UTF-8")
}

impl Connection {
    /// Waits for more bytes, and takes so many at most. False at the end.
    async fn fill(&mut self, most: usize) -> bool {
        let mut socket = (&mut self.socket).take(most as u64);
        let read = timeout(LIMIT, socket.read_buf(&mut self.received)).await;
        match read {
            Ok(Ok(length)) => length > 0,
            Ok(Err(_)) => false,
            Err(_) => panic!("the connection is silent: {:?}", self.received),
        }
    }

    async fn exactly(&mut self, length: usize) -> Option<Bytes> {
        while self.received.len() < length {
            if !self.fill(usize::MAX).await {
                return None;
            }
        }
        Some(self.received.split_to(length).freeze())
    }

    /// A line, which must end in CR LF.
    async fn line(&mut self) -> Option<String> {
        loop {
            let mut bytes = self.received.windows(2);
            if let Some(at) = bytes.position(|bytes| bytes == b"\r\n") {
                let line = self.received.split_to(at);
                self.received.advance(2);
                return Some(text(line));
            }
            if !self.fill(usize::MAX).await {
                return None;
            }
        }
    }

    /// A chunk of the chunked coding; the last is empty.
    async fn chunk(&mut self) -> Option<Bytes> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).expect("a chunk's size");
        let chunk = self.exactly(size).await?;
        let end = self.line().await?;
        assert_eq!(end, "", "a chunk is longer than its size");
        Some(chunk)
    }
}

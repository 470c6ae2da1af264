//! What hyper reads and writes: a TCP stream that can leave.

use super::{
    driver::Pool,
    handoff::{Handoff, Registered},
};
use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// As many of the last bytes written are looked at: more than an opening has.
const TAIL: usize = 256;

/// The connection that a [`Listener`](super::Listener) accepts.
///
/// It is a TCP stream for hyper, until an event stream has left through it; from then on it fails with
/// `NotConnected`.
#[derive(Debug)]
pub struct Io {
    tcp: Option<TcpStream>,
    pool: Arc<Pool>,
    handoff: Arc<Handoff>,
    registered: Option<Registered>,
    /// The last bytes written since a stream wants to leave.
    tail: Vec<u8>,
}

impl Io {
    pub(super) fn new(tcp: TcpStream, pool: Arc<Pool>) -> Self {
        Self {
            tcp: Some(tcp),
            pool,
            handoff: Arc::default(),
            registered: None,
            tail: Vec::new(),
        }
    }

    fn tcp(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.tcp.as_mut().map(Pin::new).ok_or_else(left)
    }

    fn wrote(&mut self, bytes: &[u8]) {
        if !self.handoff.is_armed() {
            return;
        }
        let bytes = &bytes[bytes.len().saturating_sub(TAIL)..];
        let surplus = (self.tail.len() + bytes.len()).saturating_sub(TAIL);
        self.tail.drain(..surplus);
        self.tail.extend_from_slice(bytes);
    }

    /// Lets an armed stream go, if its opening is the last that was sent. True if it has left.
    fn let_go(&mut self) -> bool {
        let tail = mem::take(&mut self.tail);
        let Some(stream) = self.handoff.flushed(&tail) else {
            return false;
        };
        self.registered = None;
        let Some(tcp) = self.tcp.take() else {
            return true;
        };
        self.pool.take(tcp, stream);
        true
    }
}

fn left() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the stream has left")
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.registered.is_none() {
            self.registered = Registered::new(&self.handoff);
        }
        self.tcp()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.tcp()?.poll_write(cx, bytes))?;
        self.wrote(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(self.tcp()?.poll_write_vectored(cx, slices))?;
        let mut left = written;
        for slice in slices {
            let length = slice.len().min(left);
            self.wrote(&slice[..length]);
            left -= length;
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes when its own buffers are empty: the moment at which a stream can leave.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.tcp()?.poll_flush(cx))?;
        if self.handoff.is_armed() && self.let_go() {
            // The error ends hyper's connection. It must not touch the socket, which it no longer has.
            return Poll::Ready(Err(left()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp()?.poll_shutdown(cx)
    }
}

//! The transport of hyper's connections: a TCP stream that can be detached.

use super::{driver::Pool, handoff::Opening};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};

/// The connection that a [`Listener`](super::Listener) accepts.
///
/// It is a TCP stream until an event stream detaches through it. From then on, every call fails with
/// `NotConnected`.
#[derive(Debug)]
pub struct Io {
    tcp: Option<TcpStream>,
    pool: Arc<Pool>,
    /// The opening of a response, if the last write consisted of the head and the opening.
    written: Option<Opening>,
}

impl Io {
    pub(super) fn new(tcp: TcpStream, pool: Arc<Pool>) -> Self {
        Self {
            tcp: Some(tcp),
            pool,
            written: None,
        }
    }

    fn tcp(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        self.tcp.as_mut().map(Pin::new).ok_or_else(detached)
    }

    /// Detaches the stream whose opening was written last. Returns whether it did.
    fn detach(&mut self) -> bool {
        let opening = self.written.take();
        let Some((stream, guard)) = opening.and_then(|opening| opening.detach()) else {
            return false;
        };
        if let Some(tcp) = self.tcp.take() {
            self.pool.take(tcp, stream, guard);
        }
        true
    }
}

fn detached() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the stream is detached")
}

impl AsyncRead for Io {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.tcp()?.poll_read(cx, buf)
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.written = None;
        self.tcp()?.poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.written = None;
        let written = ready!(self.tcp()?.poll_write_vectored(cx, slices))?;
        let length: usize = slices.iter().map(|slice| slice.len()).sum();
        if written == length {
            self.written = Opening::of_write(slices, cx.waker());
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// hyper flushes once its own buffers are empty, so the whole response is written if the stream detaches
    /// here.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.tcp()?.poll_flush(cx))?;
        if self.detach() {
            // The error ends hyper's connection, which must not use the socket any more.
            return Poll::Ready(Err(detached()));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.tcp()?.poll_shutdown(cx)
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64"))]
mod tests {
    use super::*;

    #[test]
    fn the_transport_is_hardly_larger_than_a_socket() {
        let size = size_of::<Io>() - size_of::<TcpStream>();
        assert!(size <= 40, "each connection has {size} bytes more");
    }
}

//! A way to a server on which each piece of data takes its time.

use super::server;
use std::{net::SocketAddr, ops::Range, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// Bytes that are written at a time.
type Delayed = (Instant, Vec<u8>);

/// Returns where clients connect. In each direction, a piece takes a random number of `millis`. Pieces keep their
/// order.
pub(crate) async fn start(target: SocketAddr, millis: Range<u64>) -> SocketAddr {
    let (listener, address) = server::bind().await;
    tokio::spawn(accept(listener, target, millis));
    address
}

async fn accept(listener: TcpListener, target: SocketAddr, millis: Range<u64>) {
    while let Ok((client, _)) = listener.accept().await {
        let millis = millis.clone();
        tokio::spawn(async move {
            let server = TcpStream::connect(target).await.unwrap();
            client.set_nodelay(true).unwrap();
            server.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.into_split();
            let (from_server, to_server) = server.into_split();
            tokio::join!(
                pass(from_client, to_server, millis.clone()),
                pass(from_server, to_client, millis),
            )
        });
    }
}

async fn pass(from: OwnedReadHalf, to: OwnedWriteHalf, millis: Range<u64>) {
    let (sender, receiver) = mpsc::unbounded_channel();
    tokio::join!(read(from, sender, millis), write(to, receiver));
}

async fn read(mut from: OwnedReadHalf, sender: mpsc::UnboundedSender<Delayed>, millis: Range<u64>) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        let delay = Duration::from_millis(fastrand::u64(millis.clone()));
        let _ = sender.send((Instant::now() + delay, buffer[..length].to_vec()));
    }
}

/// Closes the connection after the last piece.
async fn write(mut to: OwnedWriteHalf, mut receiver: mpsc::UnboundedReceiver<Delayed>) {
    while let Some((at, bytes)) = receiver.recv().await {
        sleep_until(at).await;
        if to.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

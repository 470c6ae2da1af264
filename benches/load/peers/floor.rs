//! The lower bound: one system call per subscriber, with bytes that are encoded once.

use std::{
    collections::HashMap,
    io::{self, ErrorKind, Write},
    net,
    sync::{Arc, Mutex},
};
use tokio::{
    io::AsyncReadExt,
    net::{TcpListener, TcpStream},
};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";

pub(super) type Sockets = Arc<Mutex<HashMap<String, Vec<net::TcpStream>>>>;

pub(super) fn start(listener: TcpListener) -> Sockets {
    let sockets = Sockets::default();
    let opened = sockets.clone();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let (channel, mut tcp) = accept(tcp).await.expect("a request");
            // The lock is held until the socket is registered, so that no publish comes between the opening and
            // that.
            let mut sockets = sockets.lock().expect("the sockets");
            let opening = chunk("event: stream-open\ndata: \n\n");
            let head = format!("{HEAD}{opening}");
            tcp.write_all(head.as_bytes()).expect("an empty buffer");
            sockets.entry(channel).or_default().push(tcp);
        }
    });
    opened
}

async fn accept(mut tcp: TcpStream) -> io::Result<(String, net::TcpStream)> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        tcp.read_buf(&mut request).await?;
    }
    let request = String::from_utf8_lossy(&request);
    let target = request.split(' ').nth(1).unwrap_or_default();
    let channel = target.trim_start_matches("/events/").to_owned();
    tcp.set_nodelay(true)?;
    Ok((channel, tcp.into_std()?))
}

fn chunk(text: &str) -> String {
    format!("{:X}\r\n{text}\r\n", text.len())
}

pub(super) fn publish(sockets: &Sockets, channel: &str, event: &str) -> io::Result<()> {
    let chunk = chunk(event);
    let mut sockets = sockets.lock().expect("the sockets");
    for tcp in sockets.entry(channel.to_owned()).or_default() {
        let written = match tcp.write(chunk.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            written => written?,
        };
        if written < chunk.len() {
            tcp.set_nonblocking(false)?;
            tcp.write_all(&chunk.as_bytes()[written..])?;
            tcp.set_nonblocking(true)?;
        }
    }
    Ok(())
}

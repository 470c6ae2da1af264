//! Stands between proxies and instances: each connection leads to the next instance that accepts it.

use std::net::SocketAddr;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

pub(super) fn serve(listener: TcpListener, instances: Vec<SocketAddr>) {
    tokio::spawn(async move {
        for turn in 0.. {
            let (client, _) = listener.accept().await.unwrap();
            let (before, from) = instances.split_at(turn % instances.len());
            tokio::spawn(pass(client, [from, before].concat()));
        }
    });
}

async fn pass(mut client: TcpStream, instances: Vec<SocketAddr>) {
    for instance in instances {
        if let Ok(mut server) = TcpStream::connect(instance).await {
            let _ = copy_bidirectional(&mut client, &mut server).await;
            return;
        }
    }
}

//! A way from clients to a server that can be cut.

use std::net::SocketAddr;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::server;

pub(crate) struct Wire {
    address: SocketAddr,
    target: watch::Sender<Option<SocketAddr>>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub(crate) async fn to(target: SocketAddr) -> Self {
        let (listener, _) = server::bind().await;
        Self::new(listener, target)
    }

    /// On the address of one that was closed.
    pub(crate) async fn on(address: SocketAddr, target: SocketAddr) -> Self {
        Self::new(TcpListener::bind(address).await.unwrap(), target)
    }

    fn new(listener: TcpListener, target: SocketAddr) -> Self {
        let address = listener.local_addr().unwrap();
        let (target, current) = watch::channel(Some(target));
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, current.clone()));
            }
        });
        Self {
            address,
            target,
            accepting,
        }
    }

    /// Breaks all connections, and refuses new ones.
    pub(crate) async fn close(self) -> SocketAddr {
        self.target.send_replace(None);
        self.accepting.abort();
        let _ = self.accepting.await;
        self.address
    }

    /// Where clients connect.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Breaks all connections, and new ones at once. Says where they led to.
    pub(crate) fn cut(&self) -> SocketAddr {
        self.target.send_replace(None).expect("it is not cut")
    }

    /// Leads new connections to this server, and breaks those to another.
    pub(crate) fn lead_to(&self, target: SocketAddr) {
        self.target.send_replace(Some(target));
    }
}

async fn pass(mut client: TcpStream, mut current: watch::Receiver<Option<SocketAddr>>) {
    let Some(target) = *current.borrow_and_update() else {
        return;
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = current.changed() => {}
    }
}

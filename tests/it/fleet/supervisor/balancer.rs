//! Leads each connection to the next instance, whichever had the client before.

use crate::line::INSTANCES;
use std::{
    array,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
};

#[derive(Clone)]
pub(super) struct Balancer {
    instances: [SocketAddr; INSTANCES],
    /// Whether each gets new connections.
    in_service: Arc<[AtomicBool; INSTANCES]>,
}

impl Balancer {
    pub(super) fn new(instances: [SocketAddr; INSTANCES]) -> Self {
        let in_service = Arc::new(array::from_fn(|_| AtomicBool::new(true)));
        Self {
            instances,
            in_service,
        }
    }

    pub(super) fn set(&self, instance: usize, is_in_service: bool) {
        self.in_service[instance].store(is_in_service, SeqCst);
    }

    /// Returns where clients connect.
    pub(super) async fn serve(&self) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(self.clone().accept(listener));
        address
    }

    async fn accept(self, listener: TcpListener) {
        for turn in 0.. {
            // Accepting fails without a free file, for one.
            if let Ok((client, _)) = listener.accept().await {
                tokio::spawn(self.clone().pass(client, turn));
            }
        }
    }

    async fn pass(self, mut client: TcpStream, turn: usize) {
        for offset in 0..INSTANCES {
            let index = (turn + offset) % INSTANCES;
            if self.in_service[index].load(SeqCst)
                && let Ok(mut instance) = TcpStream::connect(self.instances[index]).await
            {
                let _ = (client.set_nodelay(true), instance.set_nodelay(true));
                let _ = copy_bidirectional(&mut client, &mut instance).await;
                return;
            }
        }
    }
}

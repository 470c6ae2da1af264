//! The server is killed and started again.

use std::{future::pending, net::SocketAddr, time::Duration};

use axum_eventstream::EventStream;
use tokio::{
    net::TcpListener,
    runtime::{Builder, Runtime},
    sync::watch,
    task::JoinSet,
    time::sleep,
};

use super::{
    Way, app,
    client::{Client, Item},
    connection::Site,
    losing::{CHANNELS, publish_some, publish_the_end},
    records::Records,
};
use crate::support::{server, subscribed, within};

/// A server that can be killed: it has a runtime of its own.
struct Server {
    runtime: Runtime,
    es: EventStream,
    address: SocketAddr,
}

impl Server {
    async fn start(way: Way, address: SocketAddr, es: EventStream) -> Self {
        let mut builder = Builder::new_multi_thread();
        let runtime = builder.worker_threads(2).enable_all().build().unwrap();
        let bind = async {
            loop {
                let bound = runtime.spawn(TcpListener::bind(address)).await;
                match bound.unwrap() {
                    Ok(tcp) => return tcp,
                    Err(_) => sleep(Duration::from_millis(1)).await,
                }
            }
        };
        let tcp = within("the address is free", bind).await;
        let address = tcp.local_addr().unwrap();
        let (app, detach) = (app(&es), way == Way::Detached);
        runtime.spawn(async move {
            server::serve_until(tcp, app, detach, pending());
        });
        Self {
            runtime,
            es,
            address,
        }
    }

    /// Drops everything as it is, as if the process had been killed.
    fn kill(self) -> EventStream {
        self.runtime.shutdown_background();
        self.es
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn after_a_restart_every_client_is_told_that_history_is_gone() {
    const CLIENTS: usize = 200;
    for way in Way::SOCKETS {
        let records = Records::default();
        let publish =
            |es: &EventStream, seed, count| publish_some(es.clone(), records.clone(), seed, count);
        let any_port = ([127, 0, 0, 1], 0).into();
        let first = Server::start(way, any_port, EventStream::new()).await;
        let (address, (ends, ended)) = (first.address, watch::channel(None));
        let mut clients = JoinSet::new();
        for n in 0..CLIENTS {
            let two = [CHANNELS[n % 4], CHANNELS[(n + 1) % 4]];
            let client = Client::new(&two[..1 + n % 2]);
            clients.spawn(client.run(Site::Socket(address), ended.clone(), || usize::MAX));
        }
        subscribed(&first.es, CLIENTS).await;
        publish(&first.es, 1, 100).await;
        let killed = first.kill();
        publish(&killed, 2, 20).await;
        let es = EventStream::new();
        // More than before: then an old position could be taken for one of now.
        publish(&es, 3, 200).await;
        let second = Server::start(way, address, es).await;
        publish(&second.es, 4, 50).await;
        subscribed(&second.es, CLIENTS).await;
        publish(&second.es, 5, 50).await;
        publish_the_end(&second.es, &records, &ends).await;
        let clients = within("the clients", clients.join_all()).await;
        let epochs = [&killed, &second.es].map(|es| es.current_id().unwrap().epoch());
        let began_before = |client: &&Client| match client.items[0] {
            Item::Open(Some(id)) => id.epoch() == epochs[0],
            _ => false,
        };
        assert!(clients.iter().any(|client| began_before(&client)));
        for client in &clients {
            client.check(&records, &epochs);
            assert_eq!(client.resets(), usize::from(began_before(&client)));
        }
        second.kill();
    }
}

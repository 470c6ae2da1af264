//! A client that reads slowly, beside others that do not.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use axum_eventstream::{EventStream, History, LastEventId};
use tokio::{net::TcpSocket, sync::oneshot, task::JoinSet, time::sleep};

use super::{
    Way, app,
    client::Client,
    connection::{Connection, Site, request},
    records::Records,
};
use crate::{
    MEMORY,
    support::{alone, subscribed, until, with_history, within},
};

const RING: u64 = 16;
const EVENTS: u64 = 10 * RING;
/// Bytes of each.
const EVENT: usize = 64 << 10;

/// Reads 1 KB a second until the signal, and then all.
async fn read_slowly(address: SocketAddr, stop: oneshot::Receiver<LastEventId>) -> Client {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.set_recv_buffer_size(256 << 10).unwrap();
    let tcp = tcp.connect(address).await.unwrap();
    let mut response = request(tcp, "/a", None).await.unwrap();
    let slowly = async {
        while response.receive(1024).await {
            sleep(Duration::from_secs(1)).await;
        }
    };
    let end = tokio::select! {
        () = slowly => panic!("the stream has ended"),
        end = stop => end.unwrap(),
    };
    let mut client = Client::new(&["a"]);
    let is_last = |client: &Client| client.last_event_id == Some(end);
    client
        .read(&mut Connection::Socket(response), usize::MAX, is_last)
        .await;
    client
}

/// Reads all, and notes how far it is.
async fn read_fast(address: SocketAddr, seen: Arc<AtomicU64>) -> Client {
    let mut connection = Site::Socket(address).open("/a", None).await.unwrap();
    let mut client = Client::new(&["a"]);
    let is_last = |client: &Client| {
        let id = client.last_event_id.map_or(0, LastEventId::sequence);
        seen.store(id, SeqCst);
        id == EVENTS
    };
    client.read(&mut connection, usize::MAX, is_last).await;
    client
}

/// Publishes so many events, and lets the fast clients catch up every now and then.
async fn publish(
    es: &EventStream,
    records: &Records,
    seen: &[Arc<AtomicU64>],
    count: u64,
) -> LastEventId {
    let mut last = es.current_id().unwrap();
    for n in 1..=count {
        last = records.publish(es, "a", EVENT).await;
        if n % (RING / 4) == 0 {
            let has_it = |seen: &Arc<AtomicU64>| seen.load(SeqCst) == last.sequence();
            until("the fast clients", || seen.iter().all(has_it)).await;
        }
    }
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_slow_client_costs_others_nothing_and_is_told() {
    if alone::has_run("replay::slow::a_slow_client_costs_others_nothing_and_is_told") {
        return;
    }
    for way in Way::SOCKETS {
        let es = with_history(History::memory().events(RING as usize));
        let records = Records::default();
        let address = way.serve(app(&es)).await.address();
        let (end, ended) = oneshot::channel();
        let slow = tokio::spawn(read_slowly(address, ended));
        let seen: Vec<Arc<AtomicU64>> = (0..50).map(|_| Arc::default()).collect();
        let fast: JoinSet<_> = seen
            .iter()
            .map(|seen| read_fast(address, seen.clone()))
            .collect();
        subscribed(&es, seen.len() + 1).await;
        // What buffers there are, are full then.
        publish(&es, &records, &seen, 2 * RING).await;
        let before = MEMORY.allocated();
        let last = publish(&es, &records, &seen, EVENTS - 2 * RING).await;
        let growth = MEMORY.allocated().saturating_sub(before);
        assert!(
            growth < 4 * RING as usize * EVENT,
            "it grew by {growth} bytes"
        );
        assert!(es.stats().history_bytes <= RING as usize * (EVENT + 200));
        end.send(last).unwrap();
        let slow = within("the slow client", slow).await.unwrap();
        slow.check(&records, &[last.epoch()]);
        assert!(slow.resets() > 0);
        for client in within("the fast clients", fast.join_all()).await {
            client.check(&records, &[last.epoch()]);
            assert_eq!(client.resets(), 0);
        }
    }
}

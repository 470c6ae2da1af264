//! Thousands of clients that come and go.

use std::ops::Range;

use axum_eventstream::EventStream;
use tokio::task::JoinSet;

use super::{
    Way, app,
    client::Client,
    connection::{Connection, Site},
    records::Records,
};
use crate::{
    MEMORY,
    support::{alone, subscribed, until, within},
};

/// Allows as many open files as the system does. Returns how many.
fn open_files() -> usize {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let limit = getrlimit(Resource::Nofile);
        let all = Rlimit {
            current: limit.maximum,
            ..limit
        };
        let _ = setrlimit(Resource::Nofile, all);
        let limit = getrlimit(Resource::Nofile).current;
        usize::try_from(limit.unwrap_or(u64::MAX)).unwrap_or(usize::MAX)
    }
    #[cfg(not(unix))]
    {
        1000
    }
}

/// Opens streams on a channel of their own and one that all have.
async fn open_streams(site: Site, streams: Range<usize>) -> Vec<Connection> {
    let mut connections = Vec::new();
    for n in streams {
        let target = format!("/all+own-{n}");
        let mut connection = site.open(&target, None).await.unwrap();
        let mut client = Client::new(&[]);
        let is_open = |client: &Client| !client.items.is_empty();
        client.read(&mut connection, usize::MAX, is_open).await;
        connections.push(connection);
    }
    connections
}

/// Many of them at once.
async fn open_all(site: &Site, streams: Range<usize>) -> Vec<Vec<Connection>> {
    const AT_ONCE: usize = 50;
    let part = |part: usize| streams.start + streams.len() * part / AT_ONCE;
    let opening: JoinSet<_> = (0..AT_ONCE)
        .map(|n| open_streams(site.clone(), part(n)..part(n + 1)))
        .collect();
    within("all are connected", opening.join_all()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn thousands_of_clients_leave_nothing_behind() {
    if alone::has_run("replay::many::thousands_of_clients_leave_nothing_behind") {
        return;
    }
    let clients = 2000.min((open_files() - 100) / 2);
    for way in Way::SOCKETS {
        let (es, records) = (EventStream::new(), Records::default());
        let site = way.serve(app(&es)).await;
        // What tables and lists grow to; an open stream has 600 bytes at least.
        let limit = MEMORY.allocated() + clients * 400;
        for round in 0..3 {
            let streams = round * clients..(round + 1) * clients;
            let connections = open_all(&site, streams).await;
            let stats = es.stats();
            let counts = (stats.subscriptions, stats.channels);
            assert_eq!(counts, (clients, clients + 1));
            records.publish(&es, "all", 100).await;
            drop(connections);
            subscribed(&es, 0).await;
            assert_eq!((es.stats().channels, es.channels().len()), (0, 0));
            until("the memory is free", || MEMORY.allocated() < limit).await;
        }
    }
}

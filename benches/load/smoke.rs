//! Runs all peers with a few clients and checks the delivered events, without measuring.

use crate::load::{peers::Peer, process::Server};

const CLIENTS: usize = 100;

pub(crate) fn smoke() {
    Peer::ALL.into_iter().for_each(deliver);
    println!("load: {CLIENTS} clients have received every event of each peer, once and in order");
}

fn deliver(peer: Peer) {
    let mut server = Server::start(peer, None);
    let open_files = server.open_files();
    let mut clients = server.clients(CLIENTS);
    if peer == Peer::Bare {
        return;
    }
    server.lock_step(&mut clients, 5, 200);
    server.lock_step(&mut clients, 2, 64 << 10);
    // Fewer than a channel keeps, so that none is lost on a busy machine.
    let last = server.publish(250, 200);
    clients.wait(last);
    let hand_written = matches!(peer, Peer::Sse | Peer::Bytes);
    assert!(hand_written || clients.lost == 0, "{}", peer.name());
    assert_eq!(clients.received + clients.lost, 257 * CLIENTS as u64);
    assert_eq!(clients.reported, 0);
    if matches!(peer, Peer::Plain | Peer::Net) {
        server.close();
        clients.wait_for_end();
        drop(clients);
        server.wait_for_open_files(open_files + 1);
    }
}

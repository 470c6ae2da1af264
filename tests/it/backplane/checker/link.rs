//! A TCP proxy between an instance and Redis, which fails on demand.

use crate::support::server;
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
    time::sleep,
};

/// Carries connections until it is dropped.
pub(crate) struct Link {
    pub(crate) address: SocketAddr,
    state: watch::Sender<State>,
    accepting: JoinHandle<()>,
}

/// What happens to bytes. A fault concerns the connections that were opened before it.
#[derive(Clone, Copy, Default)]
struct State {
    /// Number of faults so far.
    faults: usize,
    /// The last fault that has closed connections.
    closed: usize,
    /// The last fault that closes connections at their next answer.
    without_answer: usize,
    /// The last fault that has made connections half-open.
    half_open: usize,
    is_down: bool,
    /// How long each piece of an answer waits.
    delay: Duration,
    /// How much longer each byte of an answer takes.
    per_byte: Duration,
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    Requests,
    Answers,
}

impl Link {
    /// Starts a link to a port of this machine.
    pub(crate) async fn to(port: u16) -> Self {
        let (listener, address) = server::bind().await;
        let state = watch::Sender::default();
        let accepting = tokio::spawn(accept(listener, port, state.subscribe()));
        Self {
            address,
            state,
            accepting,
        }
    }

    /// Starts a link to each of the ports.
    pub(crate) async fn all_to(ports: [u16; 3]) -> [Self; 3] {
        let [a, b, c] = ports.map(Self::to);
        [a.await, b.await, c.await]
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Closes all connections, and later ones at once, until [`up`](Self::up).
    pub(crate) fn down(&self) {
        self.fault(|state, fault| (state.closed, state.is_down) = (fault, true));
    }

    pub(crate) fn up(&self) {
        self.state.send_modify(|state| state.is_down = false);
    }

    /// Closes each open connection in place of its next answer: the request is executed.
    pub(crate) fn drop_answers(&self) {
        self.fault(|state, fault| state.without_answer = fault);
    }

    /// Swallows all bytes of the open connections.
    pub(crate) fn half_open(&self) {
        self.fault(|state, fault| state.half_open = fault);
    }

    /// Delays the answers, by the piece and by the byte.
    pub(crate) fn slow(&self, delay: Duration, per_byte: Duration) {
        self.state
            .send_modify(|state| (state.delay, state.per_byte) = (delay, per_byte));
    }

    fn fault(&self, change: impl FnOnce(&mut State, usize)) {
        self.state.send_modify(|state| {
            state.faults += 1;
            change(state, state.faults);
        });
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, port: u16, state: watch::Receiver<State>) {
    loop {
        let (client, _) = listener.accept().await.unwrap();
        if !state.borrow().is_down {
            tokio::spawn(connect(client, port, state.clone()));
        }
    }
}

/// Carries one connection. The server's end is closed with it.
async fn connect(client: TcpStream, port: u16, mut state: watch::Receiver<State>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", port)).await else {
        return;
    };
    let opened_after = state.borrow().faults;
    let (client_reads, client_writes) = client.into_split();
    let (server_reads, server_writes) = server.into_split();
    let carried = |from, to, direction| carry(from, to, direction, opened_after, state.clone());
    let requests = carried(client_reads, server_writes, Direction::Requests);
    let answers = carried(server_reads, client_writes, Direction::Answers);
    tokio::select! {
        () = requests => {}
        () = answers => {}
        _ = state.wait_for(|state| state.closed > opened_after) => {}
    }
}

/// Carries one direction until it ends, or a fault ends it.
async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    direction: Direction,
    opened_after: usize,
    state: watch::Receiver<State>,
) {
    let mut piece = vec![0; 16 << 10];
    loop {
        let Ok(length @ 1..) = from.read(&mut piece).await else {
            return;
        };
        let now = *state.borrow();
        if now.half_open > opened_after {
            continue;
        }
        if direction == Direction::Answers {
            if now.without_answer > opened_after {
                return;
            }
            sleep(now.delay + now.per_byte * u32::try_from(length).unwrap()).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

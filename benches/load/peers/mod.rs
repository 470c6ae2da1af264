//! The compared servers. Each is a process of its own, which executes commands from a second connection.

mod broadcast;
mod floor;
mod ours;

use crate::load::{
    machine,
    payload::{self, data},
};
use axum::{
    Router,
    extract::{RawQuery, State},
    routing::get,
    serve::ListenerExt,
};
use axum_eventstream::{EventStream, net};
use std::{
    error::Error,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::yield_now,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Peer {
    /// A bare loop of one `send` per subscriber.
    Floor,
    /// axum, and a body that sends nothing after its opening.
    Bare,
    /// Hand-written: `axum::response::Sse` and `tokio::sync::broadcast`.
    Sse,
    /// Hand-written: a body of shared `Bytes` and `tokio::sync::broadcast`.
    Bytes,
    /// This crate under `axum::serve`.
    Plain,
    /// This crate under `axum::serve` with a `net::Listener`.
    Net,
}

impl Peer {
    pub(crate) const ALL: [Self; 6] = [
        Self::Floor,
        Self::Bare,
        Self::Sse,
        Self::Bytes,
        Self::Plain,
        Self::Net,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Bare => "bare axum",
            Self::Sse => "axum Sse + broadcast",
            Self::Bytes => "axum Bytes + broadcast",
            Self::Plain => "this crate",
            Self::Net => "this crate, net::Listener",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|peer| peer.name() == name)
    }
}

/// The publishing side of a peer.
#[derive(Clone)]
enum Publisher {
    Floor(floor::Sockets),
    Sse(broadcast::Channels<Arc<str>>),
    Bytes(broadcast::Channels<bytes::Bytes>),
    Ours(EventStream),
    Nothing,
}

/// Number of yields before the CPU time is read.
const YIELDS: usize = 8;

/// Nanoseconds that other requests have waited for their handler.
type Waits = Arc<Mutex<Vec<u64>>>;

/// Runs a peer until its control connection ends.
pub(crate) fn run(peer: Peer, core: Option<usize>) {
    if let Some(core) = core {
        machine::pin(core);
    }
    machine::raise_open_files();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    // The main thread is not one of the runtime's workers, so the server runs in a task.
    let served = runtime.block_on(async { tokio::spawn(serve(peer)).await });
    served.expect("the peer runs").expect("the peer serves");
}

async fn serve(peer: Peer) -> Result<(), Box<dyn Error + Send + Sync>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let control = TcpListener::bind("127.0.0.1:0").await?;
    println!("{} {}", listener.local_addr()?, control.local_addr()?);
    let waits = Waits::default();
    let publisher = start(peer, listener, waits.clone());
    let (control, _) = control.accept().await?;
    execute(control, &publisher, &waits).await
}

fn start(peer: Peer, listener: TcpListener, waits: Waits) -> Publisher {
    let (router, publisher) = match peer {
        Peer::Floor => return Publisher::Floor(floor::start(listener)),
        Peer::Bare => (broadcast::bare(), Publisher::Nothing),
        Peer::Sse => {
            let channels = broadcast::Channels::default();
            (broadcast::sse(&channels), Publisher::Sse(channels))
        }
        Peer::Bytes => {
            let channels = broadcast::Channels::default();
            (broadcast::bytes(&channels), Publisher::Bytes(channels))
        }
        Peer::Plain | Peer::Net => {
            let es = EventStream::new();
            (ours::router(&es), Publisher::Ours(es))
        }
    };
    let app = router.merge(Router::new().route("/ping", get(ping)).with_state(waits));
    let listener = listener.tap_io(|tcp| {
        let _ = tcp.set_nodelay(true);
    });
    tokio::spawn(async move {
        match peer {
            Peer::Net => axum::serve(net::Listener::new(listener), app).await,
            _ => axum::serve(listener, app).await,
        }
    });
    publisher
}

/// The query is the time at which the client sent the request.
async fn ping(State(waits): State<Waits>, RawQuery(sent): RawQuery) {
    let sent = sent.and_then(|sent| sent.parse().ok()).unwrap_or(0);
    let wait = machine::now().saturating_sub(sent);
    waits.lock().expect("a list").push(wait);
}

async fn execute(
    mut control: TcpStream,
    publisher: &Publisher,
    waits: &Waits,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let (read, mut write) = control.split();
    let mut lines = BufReader::new(read).lines();
    while let Some(line) = lines.next_line().await? {
        let words: Vec<_> = line.split(' ').collect();
        match *words {
            ["publish", channel, first, count, size] => {
                let first: u64 = first.parse()?;
                let last = first + count.parse::<u64>()?;
                let size = size.parse()?;
                for number in first..last {
                    publisher.publish(channel, number, size).await?;
                }
            }
            ["cpu"] => {
                // The work that a delivery leaves behind counts too, so other tasks run first.
                for _ in 0..YIELDS {
                    yield_now().await;
                }
                write
                    .write_all(format!("{}\n", machine::cpu_time()).as_bytes())
                    .await?
            }
            ["waits"] => {
                let waits = std::mem::take(&mut *waits.lock().expect("a list"));
                let waits: Vec<_> = waits.iter().map(u64::to_string).collect();
                write
                    .write_all(format!("{}\n", waits.join(" ")).as_bytes())
                    .await?;
            }
            ["close"] => publisher.close(),
            _ => return Err(format!("no command: {line}").into()),
        }
    }
    Ok(())
}

impl Publisher {
    async fn publish(
        &self,
        channel: &str,
        number: u64,
        size: usize,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let data = data(number, size);
        match self {
            Self::Floor(sockets) => floor::publish(sockets, channel, &payload::event(&data))?,
            Self::Sse(channels) => channels.send(channel, data.into()),
            Self::Bytes(channels) => channels.send(channel, payload::event(&data).into()),
            Self::Ours(es) => return ours::publish(es, channel, &data).await,
            Self::Nothing => {}
        }
        // Yields for readers, as careful hand-written code does in a loop of publishes.
        if number.is_multiple_of(64) {
            yield_now().await;
        }
        Ok(())
    }

    fn close(&self) {
        if let Self::Ours(es) = self {
            es.close();
        }
    }
}

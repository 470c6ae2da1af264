//! Prices of 500 symbols with 100 updates a second each, to 49 fast clients and one that reads 20 KB/s.
//!
//! `cargo bench --bench ticker`: with a key for each symbol and `min_interval`, and beside it with a channel for each
//! symbol and neither. Server and clients share the machine.

use axum::{Router, routing::get};
use axum_eventstream::{Event, EventStream, History, Limits, net};
use std::{
    env, fs,
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
    time::{Instant, interval, sleep},
};

const SYMBOLS: usize = 500;
const ROUND: Duration = Duration::from_millis(10);
const CLIENTS: usize = 50;
const WARM_UP: Duration = Duration::from_secs(5);
const MEASURED: Duration = Duration::from_secs(20);

/// Bytes a second that the slow client reads.
const SLOW: usize = 20_000;

fn main() {
    let wanted: Vec<_> = env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with("--"))
        .collect();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    match &*wanted {
        [serve, mode] if serve == "serve" => runtime.block_on(serve_as(mode)),
        _ => ["keys", "channels"]
            .iter()
            .for_each(|mode| runtime.block_on(measure(mode))),
    }
}

/// Milliseconds since 1970.
fn now() -> f64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.expect("a clock").as_secs_f64() * 1000.0
}

async fn serve_as(mode: &str) {
    let (has_keys, history) = (mode == "keys", History::memory());
    let history = if has_keys {
        history.latest_per_key()
    } else {
        history
    };
    let limits = Limits::new().channels_per_subscription(SYMBOLS);
    let es = EventStream::builder()
        .history(history)
        .limits(limits)
        .build()
        .expect("valid settings");
    let stream = match has_keys {
        true => es
            .handler("prices")
            .snapshot_latest()
            .min_interval(Duration::from_millis(100)),
        false => es.handler((0..SYMBOLS).map(|n| format!("S{n:03}")).collect::<Vec<_>>()),
    };
    let app = Router::new()
        .route("/", get(stream))
        .route("/usage", get(|| async { usage() }));
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    println!("{}", tcp.local_addr().expect("an address"));
    let publishing = async {
        let mut timer = interval(ROUND);
        loop {
            timer.tick().await;
            publish(&es, has_keys).await;
        }
    };
    // Of what waits in the kernel, nothing is superseded.
    let listener = net::Listener::new(tcp).notsent_lowat(16 << 10);
    let served = axum::serve(listener, app);
    tokio::select! { _ = async { served.await } => {}, () = publishing => {} }
}

/// Publishes an update of each symbol.
async fn publish(es: &EventStream, has_keys: bool) {
    let name = |n: usize| format!("S{n:03}");
    let event = |n: usize| {
        let data = format!(
            "[\"{}\",{:.2},{:.1}]",
            name(n),
            fastrand::f64() * 100.0,
            now()
        );
        let event = Event::builder().event("price").data(data);
        let event = if has_keys { event.key(name(n)) } else { event };
        event.build().expect("a valid event")
    };
    if has_keys {
        let events: Vec<_> = (0..SYMBOLS).map(event).collect();
        es.publish_events("prices", events)
            .await
            .expect("no proxy can fail");
        return;
    }
    for n in 0..SYMBOLS {
        es.publish_event(name(n), event(n))
            .await
            .expect("no proxy can fail");
    }
}

/// CPU time in clock ticks, and resident bytes.
fn usage() -> String {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .expect("a name")
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11..13]
        .iter()
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    let statm = fs::read_to_string("/proc/self/statm").expect("Linux");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number");
    format!("{ticks} {}", pages * 4096)
}

struct Server(Child, SocketAddr);

impl Server {
    async fn start(mode: &str) -> Self {
        let program = env::current_exe().expect("this program");
        let mut command = Command::new(program);
        let mut child = command
            .args(["serve", mode])
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output =
            tokio::process::ChildStdout::from_std(child.stdout.take().expect("its output"));
        let mut line = String::new();
        BufReader::new(output.expect("a pipe"))
            .read_line(&mut line)
            .await
            .expect("its address");
        Self(child, line.trim().parse().expect("an address"))
    }

    async fn usage(&self) -> (u64, u64) {
        let url = format!("http://{}/usage", self.1);
        let text = reqwest::get(url)
            .await
            .expect("an answer")
            .text()
            .await
            .expect("a body");
        let (ticks, bytes) = text.split_once(' ').expect("two numbers");
        (
            ticks.parse().expect("a number"),
            bytes.parse().expect("a number"),
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn measure(mode: &'static str) {
    let server = Server::start(mode).await;
    let started = Instant::now();
    let mut fast = JoinSet::new();
    (1..CLIENTS).for_each(|_| _ = fast.spawn(client(server.1, started, false)));
    let slow = tokio::spawn(client(server.1, started, true));
    sleep(WARM_UP).await;
    let before = server.usage().await;
    sleep(MEASURED).await;
    let after = server.usage().await;
    let mut behind: Vec<f64> = fast.join_all().await.into_iter().flatten().collect();
    let mut slow = slow.await.expect("the slow client");
    let cpu = (after.0 - before.0) as f64 / 100.0 / MEASURED.as_secs_f64();
    println!("{mode}: {:.0} % of a core", cpu * 100.0);
    println!(
        "{mode}: memory {} MiB, {} MiB at the end",
        before.1 >> 20,
        after.1 >> 20
    );
    println!(
        "{mode}: fast clients are behind by {}",
        summary(&mut behind)
    );
    println!(
        "{mode}: the slow client is behind by {}",
        summary(&mut slow)
    );
}

fn summary(behind: &mut [f64]) -> String {
    behind.sort_by(f64::total_cmp);
    let at = |part: f64| {
        behind
            .get(((behind.len() as f64 - 1.0) * part) as usize)
            .copied()
    };
    match (at(0.5), at(0.99), at(1.0)) {
        (Some(median), Some(p99), Some(most)) => {
            format!("{median:.0} ms, p99 {p99:.0} ms, at most {most:.0} ms")
        }
        _ => "unknown: it received nothing".to_owned(),
    }
}

/// Returns the age of the newest price before each read, which is as old as a page gets. The warm-up is left out.
async fn client(server: SocketAddr, started: Instant, is_slow: bool) -> Vec<f64> {
    let mut stream = connect(server, is_slow).await;
    let (mut behind, mut received, mut buffer) = (Vec::new(), Vec::new(), vec![0; 64 << 10]);
    let mut newest = None;
    while started.elapsed() < WARM_UP + MEASURED {
        let limit = if is_slow { SLOW / 10 } else { buffer.len() };
        let Ok(read @ 1..) = stream.read(&mut buffer[..limit]).await else {
            break;
        };
        if let Some(at) = newest.filter(|_| started.elapsed() > WARM_UP) {
            behind.push(now() - at);
        }
        received.extend_from_slice(&buffer[..read]);
        newest = time_of_last(&String::from_utf8_lossy(&received)).or(newest);
        let kept = received.len().saturating_sub(200);
        received.drain(..kept);
        if is_slow {
            sleep(Duration::from_millis(100)).await;
        }
    }
    behind
}

/// The time in the last complete price of a text.
fn time_of_last(text: &str) -> Option<f64> {
    let mut prices = text.rsplit("data: [");
    prices.find_map(|price| price.split_once(']')?.0.rsplit(',').next()?.parse().ok())
}

async fn connect(server: SocketAddr, is_slow: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    if is_slow {
        socket.set_recv_buffer_size(4096).expect("a socket");
    }
    let mut stream = socket.connect(server).await.expect("a connection");
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .expect("a request");
    stream
}

//! Many clients in one thread, each of which checks every event it receives.

use crate::load::{
    machine,
    payload::{self, Received},
    stream::Stream,
};
use rustix::{
    buffer::spare_capacity,
    event::{
        Timespec,
        epoll::{self, CreateFlags, EventData, EventFlags},
    },
    fd::OwnedFd,
};
use socket2::{Domain, Socket, Type};
use std::{
    io::{ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Longest time to wait for events: beyond it, they will not arrive.
const LIMIT: Duration = Duration::from_secs(60);

/// Number of connections that are opened at the same time.
const OPENING: usize = 64;

/// Number of events that one `epoll::wait` returns at most.
const MAX_READY: usize = 256;

/// The epoll key of the connection for other requests.
const PING: u64 = u64::MAX;

pub(crate) struct Clients {
    epoll: OwnedFd,
    server: SocketAddr,
    /// How long to sleep when no socket is ready.
    sleep: Duration,
    clients: Vec<Client>,
    ready: Vec<epoll::Event>,
    buffer: Vec<u8>,
    /// Number of streams without an opening yet.
    unopened: usize,
    /// Number of clients that have not received the event `goal`.
    waiting: usize,
    goal: u64,
    /// Number of events that were received.
    pub(crate) received: u64,
    /// Number of events that were not received.
    pub(crate) lost: u64,
    /// Number of missing events that the server has reported.
    pub(crate) reported: u64,
    /// Nanoseconds from publish to receipt, if they are recorded.
    pub(crate) latencies: Option<Vec<u64>>,
    ping: Option<Ping>,
}

struct Client {
    tcp: TcpStream,
    stream: Stream,
    opened: bool,
    /// The number of the last event.
    last: u64,
}

/// A connection for other requests to the same server, one after the other.
struct Ping {
    tcp: TcpStream,
    answered: bool,
}

impl Clients {
    /// Without sleep, a server's sends do not pay for waking the clients: over a network they would not either.
    pub(crate) fn new(server: SocketAddr, never_sleep: bool) -> Self {
        Self {
            epoll: epoll::create(CreateFlags::CLOEXEC).expect("epoll"),
            server,
            sleep: Duration::from_secs(u64::from(!never_sleep)),
            clients: Vec::new(),
            ready: Vec::with_capacity(MAX_READY),
            buffer: vec![0; 256 << 10],
            unopened: 0,
            waiting: 0,
            goal: 0,
            received: 0,
            lost: 0,
            reported: 0,
            latencies: None,
            ping: None,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.clients.len()
    }

    /// Opens `count` streams on the channels that `channel` names. `last` is the number of the last published
    /// event.
    pub(crate) fn open(&mut self, count: usize, last: u64, channel: impl Fn(usize) -> String) {
        for index in 0..count {
            let tcp = self.request(&format!("/events/{}", channel(index)));
            self.add(&tcp, self.clients.len() as u64);
            self.clients.push(Client {
                tcp,
                stream: Stream::default(),
                opened: false,
                last,
            });
            self.unopened += 1;
            self.poll_until("open", |clients| clients.unopened < OPENING);
        }
        self.poll_until("opened", |clients| clients.unopened == 0);
    }

    /// Starts sending other requests to the server.
    pub(crate) fn ping(&mut self) {
        let tcp = connect(self.server);
        self.add(&tcp, PING);
        let answered = true;
        self.ping = Some(Ping { tcp, answered });
    }

    /// Waits until every client has received event number `goal`.
    pub(crate) fn wait(&mut self, goal: u64) {
        self.goal = goal;
        let waiting = self.clients.iter().filter(|client| client.last < goal);
        self.waiting = waiting.count();
        self.poll_until("received", |clients| clients.waiting == 0);
    }

    /// Waits until every stream has ended properly.
    pub(crate) fn wait_for_end(&mut self) {
        let ended = |client: &Client| client.stream.has_ended();
        self.poll_until("ended", |clients| clients.clients.iter().all(ended));
    }

    fn request(&self, target: &str) -> TcpStream {
        let mut tcp = connect(self.server);
        let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        tcp.write_all(head.as_bytes()).expect("a request is sent");
        tcp
    }

    fn add(&self, tcp: &TcpStream, key: u64) {
        tcp.set_nonblocking(true).expect("a socket");
        let key = EventData::new_u64(key);
        epoll::add(&self.epoll, tcp, key, EventFlags::IN).expect("epoll");
    }

    fn poll_until(&mut self, what: &str, is_done: impl Fn(&Self) -> bool) {
        let started = Instant::now();
        while !is_done(self) {
            assert!(
                started.elapsed() < LIMIT,
                "not {what} in time: {} clients, {} not opened, {} wait for {}",
                self.clients.len(),
                self.unopened,
                self.waiting,
                self.goal,
            );
            self.poll();
        }
    }

    fn poll(&mut self) {
        self.send_ping();
        let timeout = Timespec::try_from(self.sleep).expect("a second at the most");
        let mut ready = std::mem::take(&mut self.ready);
        epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&timeout)).expect("epoll");
        for event in ready.drain(..) {
            match event.data.u64() {
                PING => self.receive_ping(),
                key => self.receive(key as usize),
            }
        }
        self.ready = ready;
    }

    fn receive(&mut self, key: usize) {
        let Client { tcp, .. } = &mut self.clients[key];
        let length = match tcp.read(&mut self.buffer) {
            Ok(0) => return self.ended(key),
            Ok(length) => length,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("a client cannot read: {error}"),
        };
        let now = self.latencies.is_some().then(machine::now);
        let client = &mut self.clients[key];
        let (mut opened, before) = (false, client.last);
        let (mut received, mut lost, mut reported) = (0, 0, 0);
        client.stream.feed(&self.buffer[..length], &mut |event| {
            opened = true;
            match payload::read(event) {
                Received::Event { number, at } => {
                    assert!(number > client.last, "event {number} came twice");
                    lost += number - client.last - 1;
                    client.last = number;
                    received += 1;
                    if let (Some(now), Some(latencies)) = (now, &mut self.latencies) {
                        latencies.push(now.saturating_sub(at));
                    }
                }
                Received::Missed(missed) => reported += missed,
                Received::Other => {}
            }
        });
        if opened && !client.opened {
            client.opened = true;
            self.unopened -= 1;
        }
        if before < self.goal && client.last >= self.goal {
            self.waiting -= 1;
        }
        (self.received, self.lost, self.reported) = (
            self.received + received,
            self.lost + lost,
            self.reported + reported,
        );
    }

    fn ended(&mut self, key: usize) {
        let client = &self.clients[key];
        assert!(client.stream.has_ended(), "a stream was cut off");
        epoll::delete(&self.epoll, &client.tcp).expect("epoll");
    }

    fn send_ping(&mut self) {
        let Some(ping) = &mut self.ping else { return };
        if std::mem::take(&mut ping.answered) {
            let now = machine::now();
            let head = format!("GET /ping?{now} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            ping.tcp.write_all(head.as_bytes()).expect("a ping");
        }
    }

    fn receive_ping(&mut self) {
        let Some(ping) = &mut self.ping else { return };
        let mut answer = [0; 1024];
        let length = ping.tcp.read(&mut answer).expect("an answer");
        ping.answered = answer[..length].ends_with(b"\r\n\r\n");
    }
}

/// Connects from one of many loopback addresses. Each has about 28,000 ports, and ports of closed connections
/// are not free at once.
fn connect(server: SocketAddr) -> TcpStream {
    static CONNECTED: AtomicU32 = AtomicU32::new(0);
    // From 127.0.1.0 on, and different for each process.
    let first = Ipv4Addr::LOCALHOST.to_bits() + 255 + std::process::id() % (1 << 16) * 64;
    let source = Ipv4Addr::from_bits(first + CONNECTED.fetch_add(1, Relaxed) / 10_000);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let bound = socket.bind(&SocketAddr::from((source, 0)).into());
    bound.expect("a loopback address");
    socket.connect(&server.into()).expect("a connection");
    socket.set_tcp_nodelay(true).expect("a socket");
    socket.into()
}

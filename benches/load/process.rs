//! The measuring process's handle on a peer in another process.

use crate::load::{clients::Clients, machine, peers::Peer};
use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    control: BufReader<TcpStream>,
    is_pinned: bool,
    /// The number of the last published event.
    last: u64,
}

impl Server {
    /// Starts a peer, pinned to this core if there is one.
    pub(crate) fn start(peer: Peer, core: Option<usize>) -> Self {
        let program = env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .args(["--peer", peer.name()])
            .args(
                core.into_iter()
                    .flat_map(|core| ["--core".to_owned(), core.to_string()]),
            )
            .stdout(Stdio::piped())
            .spawn()
            .expect("a peer");
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        output.read_line(&mut line).expect("its addresses");
        let mut addresses = line.split_whitespace().map(str::parse);
        let mut next = || addresses.next().expect("two").expect("an address");
        let (address, control): (SocketAddr, SocketAddr) = (next(), next());
        let control = TcpStream::connect(control).expect("a connection");
        control.set_nodelay(true).expect("a socket");
        Self {
            process,
            address,
            control: BufReader::new(control),
            is_pinned: core.is_some(),
            last: 0,
        }
    }

    /// Opens this many clients on the channel `hot`.
    pub(crate) fn clients(&self, count: usize) -> Clients {
        let mut clients = self.no_clients();
        clients.open(count, self.last, |_| "hot".to_owned());
        clients
    }

    pub(crate) fn no_clients(&self) -> Clients {
        Clients::new(self.address, self.is_pinned)
    }

    /// Publishes on the channel `hot`, and returns the number of the last event.
    pub(crate) fn publish(&mut self, count: u64, size: usize) -> u64 {
        let first = self.last + 1;
        self.last += count;
        self.command(&format!("publish hot {first} {count} {size}"));
        self.last
    }

    /// Publishes events one by one, each after all clients have received the previous one.
    pub(crate) fn lock_step(&mut self, clients: &mut Clients, events: u64, size: usize) {
        for _ in 0..events {
            let last = self.publish(1, size);
            clients.wait(last);
        }
    }

    /// Returns the CPU time of the process so far, in nanoseconds.
    pub(crate) fn cpu_time(&mut self) -> u64 {
        self.request("cpu").parse().expect("a number")
    }

    /// Returns how long other requests have waited since the previous call, in nanoseconds.
    pub(crate) fn waits(&mut self) -> Vec<u64> {
        let waits = self.request("waits");
        let waits = waits.split_whitespace();
        waits.map(|wait| wait.parse().expect("a number")).collect()
    }

    /// Ends all streams.
    pub(crate) fn close(&mut self) {
        self.command("close");
    }

    pub(crate) fn resident(&self) -> u64 {
        machine::resident(self.process.id())
    }

    pub(crate) fn open_files(&self) -> usize {
        machine::open_files(self.process.id())
    }

    /// Waits until the process has at most `count` open files and sockets.
    pub(crate) fn wait_for_open_files(&self, count: usize) {
        let started = Instant::now();
        while self.open_files() > count {
            let elapsed = started.elapsed();
            assert!(elapsed.as_secs() < 30, "connections are not closed");
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn request(&mut self, command: &str) -> String {
        self.command(command);
        let mut line = String::new();
        self.control.read_line(&mut line).expect("an answer");
        line.trim_end().to_owned()
    }

    fn command(&mut self, command: &str) {
        let line = format!("{command}\n");
        let sent = self.control.get_mut().write_all(line.as_bytes());
        sent.expect("the peer listens");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

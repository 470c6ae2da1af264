//! As many connections as the machine allows. Open files are limited per process, so several servers run, each
//! with its clients in a process of its own.

use crate::load::{machine, peers::Peer, process::Server, scenarios::Core};
use std::{
    env,
    io::{BufRead, BufReader, Write, stdin},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

/// Number of events that are sent to all connections.
const EVENTS: u64 = 5;

/// The figures of all connections.
pub(crate) struct Scale {
    pub(crate) connections: usize,
    /// Bytes of the servers' memory per connection.
    pub(crate) memory: f64,
    /// Bytes of kernel objects per connection, for both of its ends.
    pub(crate) kernel: f64,
    /// Connections opened per second, by all servers on their core.
    pub(crate) rate: f64,
    /// CPU time of a server per event and connection, in microseconds.
    pub(crate) cpu: f64,
}

struct Holder {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

pub(crate) fn scale(core: Core, servers: usize, clients: usize) -> Scale {
    let kernel = machine::kernel();
    let mut holders: Vec<_> = (0..servers).map(|_| Holder::start(core, clients)).collect();
    let held: Vec<_> = holders.iter_mut().map(Holder::figures).collect();
    let connections = servers * clients;
    let kernel = machine::kernel().saturating_sub(kernel) as f64 / connections as f64;
    let sent: Vec<_> = holders.iter_mut().map(Holder::publish).collect();
    holders.into_iter().for_each(Holder::end);
    let mean = |figures: &[Vec<f64>], which: usize| {
        figures.iter().map(|figures| figures[which]).sum::<f64>() / servers as f64
    };
    Scale {
        connections,
        memory: mean(&held, 0),
        kernel,
        rate: mean(&held, 1) * servers as f64,
        cpu: mean(&sent, 0),
    }
}

impl Holder {
    fn start(core: Core, clients: usize) -> Self {
        let program = env::current_exe().expect("this program");
        let mut process = Command::new(program)
            .args(["--hold", &clients.to_string()])
            .args(
                core.into_iter()
                    .flat_map(|core| ["--core".to_owned(), core.to_string()]),
            )
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a holder");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output"));
        Self {
            process,
            input,
            output,
        }
    }

    fn figures(&mut self) -> Vec<f64> {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("figures");
        let figures = line.split_whitespace().map(str::parse);
        figures.map(|figure| figure.expect("a figure")).collect()
    }

    fn publish(&mut self) -> Vec<f64> {
        self.input.write_all(b"publish\n").expect("it listens");
        self.figures()
    }

    fn end(self) {
        let Self {
            mut process, input, ..
        } = self;
        drop(input);
        let _ = process.wait();
    }
}

/// Holds clients on a server until the input ends, and publishes for each line of it.
pub(crate) fn hold(core: Core, count: usize) {
    let mut server = Server::start(Peer::Net, core);
    drop(server.clients(64));
    let (memory, started) = (server.resident(), Instant::now());
    let mut clients = server.clients(count);
    let rate = count as f64 / started.elapsed().as_secs_f64();
    let memory = server.resident().saturating_sub(memory) as f64 / count as f64;
    println!("{memory} {rate}");
    for _ in stdin().lines() {
        let before = server.cpu_time();
        server.lock_step(&mut clients, EVENTS, 200);
        let used = (server.cpu_time() - before) as f64 / 1000.0;
        println!("{}", used / (EVENTS * count as u64) as f64);
    }
}

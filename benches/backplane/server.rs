//! A Redis of its own.

use redis::{Client, Cmd, FromRedisValue, aio::MultiplexedConnection};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

pub(crate) struct Server {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl Server {
    /// Returns nothing if it is not installed.
    pub(crate) fn start() -> Option<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let folder = tempfile::tempdir().expect("a folder");
        let process = spawn(port, &folder)?;
        Some(Self {
            process,
            port,
            folder,
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) async fn connect(&self) -> MultiplexedConnection {
        let client = Client::open(self.url()).expect("a URL");
        let connecting = client.get_multiplexed_async_connection();
        connecting.await.expect("a connection")
    }

    /// Waits until it has loaded its data.
    pub(crate) async fn ready(&self) {
        let started = Instant::now();
        while self.ping().await.is_err() {
            assert!(started.elapsed().as_secs() < 30, "Redis does not start");
            sleep(Duration::from_millis(1)).await;
        }
    }

    async fn ping(&self) -> redis::RedisResult<String> {
        let client = Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd("PING").query_async(&mut connection).await
    }

    pub(crate) async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> T {
        let mut connection = self.connect().await;
        let answer = command.query_async(&mut connection).await;
        answer.expect("an answer")
    }

    pub(crate) async fn flush(&self) {
        self.ask(&redis::cmd("FLUSHALL")).await
    }

    /// CPU time so far, in microseconds.
    pub(crate) async fn cpu(&self) -> f64 {
        let info: String = self.ask(redis::cmd("INFO").arg("cpu")).await;
        let value = |name| {
            let line = info.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|value| value.parse::<f64>().ok())
                .expect("a number")
        };
        (value("used_cpu_sys:") + value("used_cpu_user:")) * 1e6
    }

    /// Stops the process, so that its connections are half-open.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Shuts it down, so that the AOF has everything. A server that is killed may lose two seconds.
    pub(crate) fn shut_down(&mut self) {
        self.signal(Signal::TERM);
        self.process.wait().expect("it ends");
    }

    /// Starts the server again, with its data.
    pub(crate) fn restart(&mut self) {
        self.process = spawn(self.port, &self.folder).expect("Redis");
    }

    fn signal(&self, signal: Signal) {
        let process = Pid::from_child(&self.process);
        kill_process(process, signal).expect("it runs");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Without rewrites of the AOF, which would take CPU time at some moment.
fn spawn(port: u16, folder: &TempDir) -> Option<Child> {
    let settings = "--bind 127.0.0.1 --save  --appendonly yes --auto-aof-rewrite-percentage 0";
    let process = Command::new("redis-server")
        .args(settings.split(' '))
        .args(["--port", &port.to_string(), "--dir"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .spawn();
    process.ok()
}

//! An example, started as its own process and talked to over HTTP.

use super::within;
use reqwest::{Client, Method, Response};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env, iter,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
};
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdout, Command},
};

/// The first of three free ports, below the range that the system gives to connections.
pub(crate) fn free_ports() -> u16 {
    let is_free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    let mut ports = iter::repeat_with(|| fastrand::u16(10_000..30_000));
    let first = ports.find(|first| (*first..first + 3).all(is_free));
    first.unwrap()
}

/// A running example. It is killed when a test fails.
pub(crate) struct Example {
    pub(crate) process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    pub(crate) url: String,
    pub(crate) client: Client,
}

/// Examples are built beside the tests.
fn binary(name: &str) -> PathBuf {
    let test = env::current_exe().unwrap();
    let profile = test.parent().and_then(|deps| deps.parent()).unwrap();
    let binary = profile.join("examples").join(name);
    let hint = "build it with `cargo build --examples`";
    assert!(binary.exists(), "{} is missing: {hint}", binary.display());
    binary
}

impl Example {
    pub(crate) async fn start(name: &str) -> Self {
        Self::start_with(name, &[]).await
    }

    pub(crate) async fn start_with(name: &str, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(binary(name));
        command.env("PORT", "0").env_remove("GRIP_URL");
        command.env_remove("GRIP_VERIFY_KEY");
        command.envs(variables.iter().copied());
        Self::run(command).await
    }

    /// Starts a program, and waits until it listens.
    pub(crate) async fn run(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut example = Self {
            process,
            lines,
            url: String::new(),
            client: Client::new(),
        };
        while example.url.is_empty() {
            if let Some((_, url)) = example.line().await.split_once("listening on ") {
                example.url = url.to_owned();
            }
        }
        example
    }

    pub(crate) async fn line(&mut self) -> String {
        let line = within("a line", self.lines.next_line()).await;
        line.unwrap().expect("the example has ended")
    }

    pub(crate) async fn request(
        &self,
        method: Method,
        path: &str,
        header: (&str, &str),
        body: &str,
    ) -> Response {
        let request = self.client.request(method, format!("{}{path}", self.url));
        let request = request.header(header.0, header.1).body(body.to_owned());
        within(path, request.send()).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        let accept = ("accept", "*/*");
        self.request(Method::GET, path, accept, "").await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: &str) -> Response {
        let content_type = ("content-type", content_type);
        self.request(Method::POST, path, content_type, body).await
    }

    pub(crate) async fn page(&self, path: &str) -> String {
        let page = self.get(path).await.error_for_status().unwrap();
        within("the page", page.text()).await.unwrap()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        let address = self.url.strip_prefix("http://").unwrap();
        address.parse().unwrap()
    }

    /// Sends SIGKILL, and waits until it has ended.
    pub(crate) async fn kill(mut self) {
        self.process.kill().await.unwrap();
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let id = self.process.id().expect("the example runs");
        let id = Pid::from_raw(id.try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Asks it to stop, as Ctrl-C does, and sees it end well.
    pub(crate) async fn stop(mut self) {
        self.signal(Signal::INT);
        let status = within("the end", self.process.wait()).await.unwrap();
        assert!(status.success(), "{status}");
    }
}

//! A private Redis or Sentinel: its own port and folder, ended when it is dropped.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const STARTS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(10);

/// Runs a server until the standard input ends, so that it does not outlive the test.
const GUARD: &str = r#"
exec 2>/dev/null
"$@" </dev/null >/dev/null & server=$!
echo $server
read -r _
kill -KILL $server
wait $server
"#;

/// A server that runs, or was killed and may be restarted with its data.
pub(crate) struct RedisServer {
    running: Option<(Child, Pid)>,
    program: &'static str,
    configuration: String,
    port: u16,
    folder: TempDir,
}

impl RedisServer {
    /// Starts a server that does not save its data.
    pub(crate) async fn start() -> Self {
        Self::with("save ''").await
    }

    /// Starts a server with these lines in its configuration.
    pub(crate) async fn with(configuration: &str) -> Self {
        Self::run("redis-server", configuration).await
    }

    /// Starts a Sentinel with these lines in its configuration.
    pub(crate) async fn sentinel(configuration: &str) -> Self {
        Self::run("redis-sentinel", configuration).await
    }

    async fn run(program: &'static str, configuration: &str) -> Self {
        for _ in 0..STARTS {
            let mut server = Self {
                running: None,
                program,
                configuration: configuration.to_owned(),
                port: free_port(),
                folder: tempfile::Builder::new().prefix("rd-").tempdir().unwrap(),
            };
            server.write_configuration();
            server.spawn();
            if server.is_ready().await {
                return server;
            }
        }
        panic!("{program} was not ready at any of {STARTS} starts");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command, with its arguments separated by spaces.
    pub(crate) fn command(&self, command: &str) -> String {
        let output = Command::new("redis-cli")
            .arg("-s")
            .arg(self.socket())
            .args(command.split(' '))
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Kills the server, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.end();
        let _ = fs::remove_file(self.socket());
    }

    /// Starts a killed server again, with its port and its data.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.spawn();
        assert!(self.is_ready().await, "the server does not restart");
    }

    /// Stops the process, so that its connections are half-open.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn end(&mut self) {
        if let Some((mut guard, _)) = self.running.take() {
            drop(guard.stdin.take());
            let _ = guard.wait();
        }
    }

    fn signal(&self, signal: Signal) {
        let (_, pid) = self.running.as_ref().unwrap();
        kill_process(*pid, signal).unwrap();
    }

    fn socket(&self) -> String {
        self.folder.path().join("s").display().to_string()
    }

    fn write_configuration(&self) {
        let Self {
            port,
            configuration,
            ..
        } = self;
        let (folder, socket) = (self.folder.path().display(), self.socket());
        let text = format!(
            "port {port}\nbind 127.0.0.1\ndir {folder}\nunixsocket {socket}\n{configuration}\n"
        );
        fs::write(self.folder.path().join("conf"), text).unwrap();
    }

    fn spawn(&mut self) {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, "sh", self.program])
            .arg(self.folder.path().join("conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let mut line = String::new();
        let mut output = BufReader::new(guard.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        self.running = Some((guard, pid));
    }

    /// Whether it answers on its socket file, which it creates after it has bound its port.
    async fn is_ready(&self) -> bool {
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if self.command("PING").starts_with("PONG") {
                return true;
            }
            sleep(Duration::from_millis(10)).await;
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.end();
    }
}

pub(crate) fn free_port() -> u16 {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    free.local_addr().unwrap().port()
}

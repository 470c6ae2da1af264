//! A private Redis or Sentinel: its own port and folder, ended when it is dropped.

use std::{fs, path::Path, process::Command, time::Duration};

use super::{guarded::Guarded, server::free_port};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const STARTS: usize = 3;
const START_LIMIT: Duration = Duration::from_secs(10);

/// A server that runs, or was killed and may be restarted with its data.
pub(crate) struct RedisServer {
    running: Option<Guarded>,
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

    #[allow(dead_code, reason = "only the fleet shows it")]
    pub(crate) fn pid(&self) -> Option<u32> {
        Some(self.running.as_ref()?.pid())
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
        self.running = None;
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
        self.running.as_ref().unwrap().pause();
    }

    pub(crate) fn resume(&self) {
        self.running.as_ref().unwrap().resume();
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
        let configuration = self.folder.path().join("conf").display().to_string();
        self.running = Some(Guarded::run(&[self.program, &configuration]));
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

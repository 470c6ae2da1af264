//! A private PostgreSQL: its own port and folder, ended when it is dropped.

use super::{guarded::Guarded, server::free_port};
use rustix::process::{Pid, Signal, getuid, kill_process};
use std::{
    fs, iter,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

const START_LIMIT: Duration = Duration::from_secs(30);

/// A server that runs, or was killed and may be restarted with its data.
pub(crate) struct PostgresServer {
    running: Option<Guarded>,
    port: u16,
    folder: TempDir,
}

impl PostgresServer {
    pub(crate) async fn start() -> Self {
        let mut server = Self {
            running: None,
            port: free_port(),
            folder: tempfile::Builder::new().prefix("pg-").tempdir().unwrap(),
        };
        server.create();
        server.run().await;
        server
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    /// Runs SQL, and returns its rows as text, if the server accepts connections.
    pub(crate) fn try_sql(&self, sql: &str) -> Option<String> {
        let mut psql = Command::new(program("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        let output = psql.args(["--command", sql, &self.url()]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        output.status.success().then(|| text.trim().to_owned())
    }

    pub(crate) fn sql(&self, sql: &str) -> String {
        self.try_sql(sql).expect(sql)
    }

    /// Ends the server without a checkpoint, as a crash does.
    pub(crate) fn kill(&mut self) {
        self.running = None;
    }

    /// Starts a killed server again, with its port and its data.
    pub(crate) async fn restart(&mut self) {
        self.kill();
        self.run().await;
    }

    /// Stops all processes of the server, so that its connections are half-open.
    pub(crate) fn pause(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let parent = self.running.as_ref().unwrap().pid().to_string();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        for pid in [&*parent]
            .into_iter()
            .chain(children.unwrap().split_whitespace())
        {
            let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
            kill_process(pid, signal).unwrap();
        }
    }

    /// Copies the data of a killed server.
    pub(crate) fn back_up(&self) {
        self.copy("data", "copy");
    }

    /// Puts the copy into the place of a killed server's data.
    pub(crate) fn put_back(&self) {
        fs::remove_dir_all(self.folder.path().join("data")).unwrap();
        self.copy("copy", "data");
    }

    fn copy(&self, from: &str, to: &str) {
        let [from, to] = [from, to].map(|name| self.folder.path().join(name));
        run(Command::new("cp").arg("-a").args([from, to]));
    }

    fn create(&self) {
        if let Some((user, group)) = other_user() {
            chown(self.folder.path(), Some(user), Some(group)).unwrap();
        }
        let mut initdb = self.command("initdb");
        initdb.args(["--username=postgres", "--auth=trust", "--no-sync"]);
        run(initdb.args(["--encoding=UTF8", "--locale=C"]));
    }

    /// Returns a program of the server, run by a user whom it accepts.
    fn command(&self, name: &str) -> Command {
        let mut command = Command::new("env");
        if let Some((user, group)) = other_user() {
            command.args(["setpriv", "--clear-groups"]);
            command.args([format!("--reuid={user}"), format!("--regid={group}")]);
        }
        command.arg(program(name)).arg("-D");
        command.arg(self.folder.path().join("data"));
        command.current_dir(self.folder.path());
        command
    }

    async fn run(&mut self) {
        let mut server = self.command("postgres");
        server.args(["-p", &self.port.to_string(), "-k"]);
        server.arg(self.folder.path());
        let command = iter::once(server.get_program()).chain(server.get_args());
        let command: Vec<_> = command.collect();
        self.running = Some(Guarded::until("QUIT", self.folder.path(), &command));
        let deadline = Instant::now() + START_LIMIT;
        while self.try_sql("SELECT 1").is_none() {
            assert!(Instant::now() < deadline, "the server does not start");
            sleep(Duration::from_millis(20)).await;
        }
    }
}

/// The user and the group `postgres`, if the tests run as root, whom the server refuses.
fn other_user() -> Option<(u32, u32)> {
    getuid().is_root().then(|| {
        let id = |option: &str| {
            let output = Command::new("id").args([option, "postgres"]).output();
            let text = String::from_utf8(output.unwrap().stdout).unwrap();
            text.trim().parse().expect("there is a user `postgres`")
        };
        (id("-u"), id("-g"))
    })
}

/// Returns the path of a program. Debian has a folder for each version.
fn program(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let paths = versions.map(|version| version.unwrap().path().join("bin").join(name));
    let newest = paths.filter(|path| path.exists()).max();
    newest.unwrap_or_else(|| Path::new(name).to_owned())
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
}

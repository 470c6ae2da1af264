//! The process of an instance.

use super::records::Records;
use crate::{
    instance::{Settings, VARIABLE},
    line::{Line, Stats},
};
use rustix::process::{Pid, Signal, kill_process};
use std::{
    env,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

/// What no step of an instance takes on a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) struct Instance {
    settings: Settings,
    index: usize,
    starts: usize,
    running: Option<Running>,
    state: watch::Sender<State>,
    records: Arc<Records>,
}

struct Running {
    child: Child,
    stdin: ChildStdin,
    /// Reads the lines until the process has ended.
    reader: JoinHandle<()>,
}

/// What the lines of the instance's processes have said.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    is_ready: bool,
    /// Number of commands that it has followed.
    commands: usize,
    pub(super) stats: Stats,
    /// When the numbers were written.
    stats_at: Option<Instant>,
    /// Numbers of earlier processes.
    past: Stats,
    pub(super) drains: Vec<Drain>,
}

/// The end of a process that was replaced.
#[derive(Clone, Debug, Default)]
pub(super) struct Drain {
    pub(super) streams: usize,
    /// When streams ended, in milliseconds since the drain began.
    pub(super) closes: Vec<u64>,
}

impl State {
    /// Events and deliveries of all its processes, and resets by the log.
    pub(super) fn totals(&self) -> Stats {
        let (past, now) = (self.past, self.stats);
        Stats {
            delivered: past.delivered + now.delivered,
            appended: past.appended + now.appended,
            log_resets: past.log_resets + now.log_resets,
            ..now
        }
    }

    fn begin(&mut self) {
        self.past = self.totals();
        (self.stats, self.stats_at) = (Stats::default(), None);
        (self.is_ready, self.commands) = (false, 0);
    }
}

impl Instance {
    pub(super) fn new(index: usize, settings: Settings, records: Arc<Records>) -> Self {
        Self {
            settings,
            index,
            starts: 0,
            running: None,
            state: watch::Sender::default(),
            records,
        }
    }

    pub(super) fn state(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.running.as_ref().and_then(|running| running.child.id())
    }

    /// Starts a process. Returns when it has read the log and listens.
    pub(super) async fn start(&mut self) -> Result<(), String> {
        self.starts += 1;
        self.settings.name = format!("{}.{}", self.index, self.starts);
        self.settings.seed += 1;
        self.state.send_modify(State::begin);
        let mut child = self.spawn().map_err(|error| error.to_string())?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = stdin.zip(stdout).expect("both are pipes");
        let reader = tokio::spawn(read(stdout, self.state.clone(), self.records.clone()));
        self.running = Some(Running {
            child,
            stdin,
            reader,
        });
        self.wait("starts", |state| state.is_ready).await
    }

    fn spawn(&self) -> std::io::Result<Child> {
        let settings = serde_json::to_string(&self.settings)?;
        let mut command = Command::new(env::current_exe()?);
        command.env(VARIABLE, settings).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()
    }

    /// Kills the process with SIGKILL. Returns when all its lines are read.
    pub(super) async fn kill(&mut self) -> Result<(), String> {
        let mut running = self.running.take().ok_or("it does not run")?;
        running
            .child
            .start_kill()
            .map_err(|error| error.to_string())?;
        self.ends(running).await.map(drop)
    }

    /// Asks the process to drain and end, and waits until it has.
    pub(super) async fn replace(&mut self) -> Result<(), String> {
        let running = self.running.take().ok_or("it does not run")?;
        let pid = running
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.try_into().ok()?));
        let pid = pid.ok_or("it has ended")?;
        kill_process(pid, Signal::TERM).map_err(|error| error.to_string())?;
        match self.ends(running).await? {
            0 => Ok(()),
            code => Err(format!("instance {} has ended with {code}", self.index + 1)),
        }
    }

    async fn ends(&self, mut running: Running) -> Result<i32, String> {
        let ended = timeout(LIMIT, running.child.wait()).await;
        let ended = ended.map_err(|_| format!("instance {} does not end", self.index + 1))?;
        running.reader.await.map_err(|error| error.to_string())?;
        Ok(ended.ok().and_then(|status| status.code()).unwrap_or(-1))
    }

    /// Sends a command, and waits until it was followed.
    pub(super) async fn command(&mut self, name: &str) -> Result<(), String> {
        let before = self.state.borrow().commands;
        let running = self.running.as_mut().ok_or("it does not run")?;
        let line = format!("{name}\n");
        let written = running.stdin.write_all(line.as_bytes()).await;
        written.map_err(|error| error.to_string())?;
        self.wait(name, |state| state.commands > before).await
    }

    /// Waits until it has said, after this moment, that it is attached to the log.
    pub(super) async fn attached(&self, since: Instant) -> Result<(), String> {
        let is_attached = |state: &State| {
            let is_new = state.stats_at.is_some_and(|at| at > since);
            is_new && state.stats.attached
        };
        self.wait("attaches", is_attached).await
    }

    /// Waits until an event that it has published after this moment was acknowledged, too.
    ///
    /// A half-open connection is noticed late: the instance says that it is attached until then.
    pub(super) async fn publishes(&self, since: Instant) -> Result<(), String> {
        let is_new = |state: &State| state.stats_at.is_some_and(|at| at > since);
        self.wait("reports", is_new).await?;
        let before = self.state.borrow().stats.appended;
        let has_more = |state: &State| state.stats.appended > before;
        self.wait("publishes", has_more).await?;
        self.attached(since).await
    }

    async fn wait(&self, what: &str, is_so: impl FnMut(&State) -> bool) -> Result<(), String> {
        let mut state = self.state.subscribe();
        let waited = timeout(LIMIT, state.wait_for(is_so)).await;
        let is_so = matches!(waited, Ok(Ok(_)));
        let late = || format!("instance {} is late: {what}", self.index + 1);
        is_so.then_some(()).ok_or_else(late)
    }
}

async fn read(stdout: ChildStdout, state: watch::Sender<State>, records: Arc<Records>) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str(&line) {
            Ok(Line::Begin(payloads, at)) => records.begin(payloads, at),
            Ok(Line::End(payloads, ending)) => records.end(&payloads, &ending),
            Ok(line) => state.send_modify(|state| follow(state, &line)),
            // The process was killed within its last line.
            Err(_) => {}
        }
    }
}

fn follow(state: &mut State, line: &Line) {
    match line {
        Line::Ready => state.is_ready = true,
        Line::Stopped => state.commands += 1,
        Line::Stats(stats) => (state.stats, state.stats_at) = (*stats, Some(Instant::now())),
        Line::Draining(streams) => state.drains.push(Drain {
            streams: *streams,
            closes: Vec::new(),
        }),
        Line::Closed(at) => {
            let drain = state.drains.last_mut();
            drain.expect("a drain has begun").closes.push(*at);
        }
        Line::Begin(..) | Line::End(..) => {}
    }
}

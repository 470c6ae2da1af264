//! Servers that do not outlive the test.

use rustix::process::{Pid, Signal, kill_process};
use std::{
    ffi::OsStr,
    fs::{self, DirEntry},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
};

/// Runs a program until the standard input ends, so that it does not outlive the test.
const GUARD: &str = r#"
exec 2>/dev/null
"$@" </dev/null >/dev/null & server=$!
echo $server
read -r _
kill -$0 $server
wait $server
"#;

/// A program that ends when this is dropped.
pub(crate) struct Guarded {
    guard: Child,
    pid: Pid,
}

impl Guarded {
    /// Runs a program with its arguments.
    pub(crate) fn run(command: &[&str]) -> Self {
        Self::until("KILL", Path::new("."), command)
    }

    /// Runs a program in a folder, and ends it by this signal.
    pub(crate) fn until(signal: &str, folder: &Path, command: &[impl AsRef<OsStr>]) -> Self {
        let mut guard = Command::new("sh")
            .args(["-c", GUARD, signal])
            .args(command)
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("sh can be started");
        let mut line = String::new();
        let mut output = BufReader::new(guard.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        let pid = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        Self { guard, pid }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    /// Stops the process, so that its connections are half-open.
    pub(crate) fn pause(&self) {
        kill_process(self.pid, Signal::STOP).unwrap();
        while !self.has_stopped() {
            thread::yield_now();
        }
    }

    /// Whether all threads have stopped, where the system tells. They do so some time after the signal.
    fn has_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid.as_raw_nonzero()));
        let state = |thread: DirEntry| fs::read_to_string(thread.path().join("stat")).ok();
        let states = threads.into_iter().flatten().flatten().filter_map(state);
        let is_stopped = |stat: String| {
            stat.rsplit(')')
                .next()
                .is_some_and(|rest| rest.starts_with(" T"))
        };
        states.into_iter().all(is_stopped)
    }

    pub(crate) fn resume(&self) {
        kill_process(self.pid, Signal::CONT).unwrap();
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

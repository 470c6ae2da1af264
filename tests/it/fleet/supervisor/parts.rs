//! The parts of the fleet and the faults, as the page shows them.

use std::{
    collections::BTreeMap,
    fmt,
    io::{Write, stdout},
    sync::{Arc, Mutex},
    time::Instant,
};

/// A part: its position in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    Redis,
    Instance(usize),
    Pushpin(usize),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Redis => f.write_str("Redis"),
            Self::Instance(index) => write!(f, "Instance {}", index + 1),
            Self::Pushpin(index) => write!(f, "Pushpin {}", index + 1),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Up,
    Down,
    /// By SIGSTOP.
    Stopped,
    Draining,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Status {
    pub(super) state: State,
    pub(super) since: Instant,
    pub(super) pid: Option<u32>,
    pub(super) starts: usize,
}

/// A fault that has happened, and how long it took until all parts were well again.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) text: String,
    pub(super) part: Part,
    pub(super) at: Instant,
    pub(super) until: Option<Instant>,
}

#[derive(Clone, Default)]
pub(super) struct Board(Arc<Mutex<Shown>>);

#[derive(Default)]
struct Shown {
    parts: BTreeMap<Part, Status>,
    marks: Vec<Mark>,
    /// Clients end now, because they have read everything.
    is_over: bool,
}

impl Board {
    pub(super) fn up(&self, part: Part, pid: Option<u32>) {
        let mut shown = self.0.lock().unwrap();
        let starts = shown.parts.get(&part).map_or(0, |status| status.starts);
        let status = Status {
            state: State::Up,
            since: Instant::now(),
            pid,
            starts: starts + 1,
        };
        shown.parts.insert(part, status);
    }

    pub(super) fn set(&self, part: Part, state: State) {
        let mut shown = self.0.lock().unwrap();
        if let Some(status) = shown.parts.get_mut(&part) {
            (status.state, status.since) = (state, Instant::now());
        }
    }

    pub(super) fn parts(&self) -> Vec<(Part, Status)> {
        let shown = self.0.lock().unwrap();
        shown
            .parts
            .iter()
            .map(|(part, status)| (*part, *status))
            .collect()
    }

    pub(super) fn begin(&self, part: Part, text: &str) {
        print!("{part} {text}");
        let _ = stdout().flush();
        let mark = Mark {
            text: text.to_owned(),
            part,
            at: Instant::now(),
            until: None,
        };
        self.0.lock().unwrap().marks.push(mark);
    }

    /// The last fault is over.
    pub(super) fn end(&self) {
        if let Some(mark) = self.0.lock().unwrap().marks.last_mut() {
            mark.until = Some(Instant::now());
            println!(": well in {:.1} s", mark.at.elapsed().as_secs_f64());
        }
    }

    pub(super) fn end_all(&self) {
        self.0.lock().unwrap().is_over = true;
    }

    pub(super) fn is_over(&self) -> bool {
        self.0.lock().unwrap().is_over
    }

    pub(super) fn marks(&self) -> Vec<Mark> {
        self.0.lock().unwrap().marks.clone()
    }
}

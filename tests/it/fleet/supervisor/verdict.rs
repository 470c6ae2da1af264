//! The end of a run: the rules, and the numbers.

use super::{
    evidence,
    fleet::Fleet,
    history::{Item, Read},
    instance::Drain,
    parts::Part,
    report::{Outcomes, Report, Resets},
    rules::{self, Violation},
};
use crate::{line::INSTANCES, options::Options};
use std::{collections::BTreeMap, fmt, fs, time::Instant};

/// Standard deviations that a second may have more closes than the mean.
const DEVIATIONS: f64 = 6.0;

pub(super) struct Run<'a> {
    options: &'a Options,
    began: Instant,
    /// When the last events were published.
    ended: Instant,
    /// Parts that have failed.
    pub(super) errors: Vec<String>,
}

pub(super) struct Verdict {
    pub(super) has_passed: bool,
    /// One sentence.
    pub(super) text: String,
    lines: Vec<String>,
}

impl<'a> Run<'a> {
    pub(super) fn new(options: &'a Options) -> Self {
        Self {
            options,
            began: Instant::now(),
            ended: Instant::now(),
            errors: Vec::new(),
        }
    }

    /// The last events are published.
    pub(super) fn finishes(&mut self) {
        self.ended = Instant::now();
    }

    /// Compares the histories.
    pub(super) fn judge(mut self, fleet: &Fleet, reads: &[Read]) -> Verdict {
        let read = self.ended.elapsed().as_secs_f64();
        let records = fleet.records.take();
        let report = Report::new(&records, reads);
        let mut lines = vec![
            self.title(),
            faults(fleet),
            numbers(&report),
            live(fleet, reads),
            format!("the last client had everything {read:.1} s after the last publish"),
        ];
        if self.options.deploys {
            lines.extend(self.deploys(fleet));
        }
        let resets = match self.options.wipes {
            true => Resets::AtInstances(&[0, 1, 2]),
            false => Resets::Never,
        };
        let mut violations = rules::check(&records, reads);
        violations.extend(report.unexpected(reads, resets, Outcomes::Any));
        let errors = self.errors.drain(..);
        violations.extend(errors.map(|text| Violation { place: None, text }));
        let has_passed = violations.is_empty();
        let text = match has_passed {
            true => self.passed().to_owned(),
            false => {
                let seed = self.options.seed;
                lines.push(evidence::text(seed, &report, &violations, &records, reads));
                format!("{} broken rules: {}", violations.len(), violations[0].text)
            }
        };
        Verdict {
            has_passed,
            text,
            lines,
        }
    }

    fn passed(&self) -> &'static str {
        match self.options.wipes {
            true => "no event was lost without a reset, and none came twice",
            false => "no event was lost, none came twice, and no client was reset",
        }
    }

    fn title(&self) -> String {
        let Options {
            clients,
            events,
            seed,
            ..
        } = self.options;
        let seconds = (self.ended - self.began).as_secs();
        format!("{seconds} s, {clients} clients, about {events} events a second, seed {seed}")
    }

    /// Checks that the streams of each instance ended one after another.
    fn deploys(&mut self, fleet: &Fleet) -> Vec<String> {
        let seconds = self.options.drain().as_secs().max(1);
        let mut lines = Vec::new();
        let mut highest = 0;
        for (index, instance) in fleet.instances.iter().enumerate() {
            let state = instance.state();
            for Drain { streams, closes } in &state.borrow().drains {
                let most = most_in_a_second(closes);
                let limit = limit(*streams, seconds);
                let line = format!(
                    "instance {}: {streams} streams ended within {seconds} s, at most {most} in a second (limit {limit})",
                    index + 1
                );
                if most > limit {
                    self.errors.push(line.clone());
                }
                lines.push(line);
                highest = highest.max(limit);
            }
        }
        lines.push(self.reconnects(fleet, highest));
        lines
    }

    /// A client that stays at an instance reconnects at most once a second while that instance is away.
    fn reconnects(&mut self, fleet: &Fleet, closes: usize) -> String {
        let staying = self.options.clients * 3 / 20 / INSTANCES + 1;
        let limit = closes + staying;
        let most = fleet.places.tally.most_reconnects(self.began);
        let line = format!("at most {most} reconnects in a second (limit {limit})");
        if most > limit {
            self.errors.push(line.clone());
        }
        line
    }
}

/// The numbers of the only round.
fn numbers(report: &Report) -> String {
    let numbers = report.to_string();
    numbers.trim_start_matches("1 rounds, ").to_owned()
}

/// Streams end at random times within the drain: so many more than the mean do not end in one second.
fn limit(streams: usize, seconds: u64) -> usize {
    let mean = streams as f64 / seconds as f64;
    (mean + DEVIATIONS * mean.sqrt() + 1.0).ceil() as usize
}

fn most_in_a_second(closes: &[u64]) -> usize {
    let mut seconds = BTreeMap::<u64, usize>::new();
    for at in closes {
        *seconds.entry(at / 1000).or_default() += 1;
    }
    seconds.into_values().max().unwrap_or(0)
}

/// How often each fault has happened.
fn faults(fleet: &Fleet) -> String {
    let mut counts = BTreeMap::<String, usize>::new();
    for mark in fleet.board.marks() {
        let part = match mark.part {
            Part::Redis => "Redis",
            Part::Instance(_) => "an instance",
            Part::Pushpin(_) => "a Pushpin",
        };
        *counts.entry(format!("{part} {}", mark.text)).or_default() += 1;
    }
    let faults = counts
        .iter()
        .map(|(fault, count)| format!("{count} × {fault}"));
    faults.collect::<Vec<_>>().join(", ")
}

fn live(fleet: &Fleet, reads: &[Read]) -> String {
    let tally = &fleet.places.tally;
    let counts = tally.counts();
    let (_, [half, most]) = tally.delays();
    let items: usize = reads
        .iter()
        .flat_map(|read| &read.lives)
        .map(|life| life.items.len())
        .sum();
    format!(
        "reconnects {}, answers without a stream {}, silent holds of Pushpin {}; resets: {} new epoch, {} missing, \
         {} without a position; from publish to receipt p50 {:.1} ms, p99 {:.1} ms while connected; {items} items of \
         {} bytes, {} MB of memory at most",
        counts.reconnects,
        counts.refused,
        counts.silences,
        counts.resets.new_epoch,
        counts.resets.missing,
        counts.resets.without_position,
        half as f64 / 1000.0,
        most as f64 / 1000.0,
        size_of::<Item>(),
        peak_memory(),
    )
}

/// Megabytes, or 0 where the system does not say.
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let line = lines.find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) / 1000
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.lines {
            writeln!(f, "{line}")?;
        }
        let verdict = if self.has_passed { "PASSED" } else { "FAILED" };
        write!(f, "{verdict}: {}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_that_end_at_once_are_above_the_limit() {
        assert_eq!(limit(100, 10), 30);
        let storm: Vec<_> = (0..100).collect();
        let spread: Vec<_> = (0..100).map(|stream| stream * 100).collect();
        assert_eq!(most_in_a_second(&storm), 100);
        assert_eq!(most_in_a_second(&spread), 10);
    }
}

//! The report of a history that breaks a rule.

use super::{
    history::{Item, Read, Record},
    report::Report,
    rules::Violation,
};
use std::{env, fmt::Write, fs, path::PathBuf};

/// How many of the broken rules are shown.
const SHOWN: usize = 10;

/// Writes the history to a file, and returns its path with the seed and the broken rules.
pub(super) fn text(
    seed: u64,
    report: &Report,
    violations: &[Violation],
    records: &[Record],
    reads: &[Read],
) -> String {
    let mut text = format!(
        "{} broken rules, seed {seed}, history in {}\n{report}\n",
        violations.len(),
        write_history(seed, records, reads).display()
    );
    for violation in violations.iter().take(SHOWN) {
        writeln!(text, "{:?}: {}", violation.place, violation.text).unwrap();
        for item in around(violation, reads) {
            writeln!(text, "    {item:?}").unwrap();
        }
    }
    text
}

/// The items of the client around the place.
fn around<'a>(violation: &Violation, reads: &'a [Read]) -> &'a [Item] {
    let Some((client, life, item)) = violation.place else {
        return &[];
    };
    let items = &reads[client].lives[life].items;
    &items[item.saturating_sub(6)..(item + 4).min(items.len())]
}

fn write_history(seed: u64, records: &[Record], reads: &[Read]) -> PathBuf {
    let mut text = String::new();
    for record in records {
        writeln!(text, "{record:?}").unwrap();
    }
    for (client, read) in reads.iter().enumerate() {
        for (number, life) in read.lives.iter().enumerate() {
            writeln!(
                text,
                "client {client}, home {:?}, life {number}, {:?}",
                read.home, life.channels
            )
            .unwrap();
            for item in &life.items {
                writeln!(text, "    {item:?}").unwrap();
            }
        }
    }
    let path = env::temp_dir().join(format!("eventstream-checker-{seed}.txt"));
    fs::write(&path, text).unwrap();
    path
}

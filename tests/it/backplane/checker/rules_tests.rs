//! The rules find broken histories.

use super::{
    history::{Item, Life, Outcome, Read, Record},
    rules::check,
};
use std::time::{Duration, Instant};

/// An event of the channel `a`, and its outcome.
fn record(payload: &str, outcome: Outcome) -> Record {
    Record {
        channel: "a",
        payload: payload.to_owned(),
        began: Instant::now(),
        outcome,
    }
}

fn published(payload: &str, id: &str) -> Record {
    record(payload, Outcome::Published(Some(id.parse().unwrap())))
}

/// The items of a client: `o` opens, `r` resets, `p` is a position, others are payloads.
fn read(items: &[(&str, &str)]) -> Read {
    let item = |&(name, id): &(&str, &str)| {
        let id = (!id.is_empty()).then(|| id.parse().unwrap());
        match name {
            "o" => Item::Open(id, Instant::now() + Duration::from_secs(1)),
            "r" => Item::Reset(vec!["a".to_owned()], id),
            "p" => Item::Position(id.unwrap()),
            payload => Item::Event(id.unwrap(), payload.into()),
        }
    };
    Read {
        home: None,
        lives: vec![Life {
            channels: vec!["a"],
            items: items.iter().map(item).collect(),
        }],
        is_drained: true,
    }
}

fn texts(records: &[Record], reads: &[Read]) -> Vec<String> {
    let violations = check(records, reads);
    violations
        .into_iter()
        .map(|violation| violation.text)
        .collect()
}

const ONE: (&str, &str) = ("a/1", "000000000001-11");
const TWO: (&str, &str) = ("a/2", "000000000001-12");
const THREE: (&str, &str) = ("a/3", "000000000001-13");
const OPEN: (&str, &str) = ("o", "000000000001-10");

fn three() -> Vec<Record> {
    [ONE, TWO, THREE]
        .map(|(payload, id)| published(payload, id))
        .into()
}

#[test]
fn complete_histories_pass() {
    let epoch = "000000000002-20";
    for items in [
        &[OPEN, ONE, TWO, THREE][..],
        &[OPEN, ONE, ("o", ONE.1), TWO, ("p", TWO.1), THREE],
        &[OPEN, ONE, ("r", TWO.1), THREE],
        &[OPEN, ONE, ("r", ""), THREE],
        &[("o", ""), ("r", TWO.1), THREE],
        &[("o", TWO.1), THREE],
        &[OPEN, ("r", epoch)],
        &[OPEN, ONE, ("r", OPEN.1), ONE, TWO, THREE],
    ] {
        assert_eq!(texts(&three(), &[read(items)]), [""; 0], "{items:?}");
    }
}

#[test]
fn a_broken_history_is_found() {
    let other_epoch = ("a/2", "000000000002-12");
    for (items, expected) in [
        (
            &[OPEN, ONE, THREE][..],
            "missing between 11 and 12: [\"a/2\"]",
        ),
        (&[OPEN, TWO, THREE], "missing between 10 and 11"),
        (
            &[OPEN, ONE, ("o", TWO.1), THREE],
            "missing between 11 and 12",
        ),
        (
            &[OPEN, ONE, ("p", TWO.1), THREE],
            "missing between 11 and 12",
        ),
        (&[OPEN, ("r", ONE.1), THREE], "missing between 11 and 12"),
        (
            &[OPEN, ("r", ""), TWO, ("p", THREE.1)],
            "missing between 12 and 13",
        ),
        (&[OPEN, ONE, TWO, ("o", ONE.1)], "from 12 back to 11"),
        (&[OPEN, ONE, TWO, TWO, THREE], "is not above Some(12)"),
        (&[OPEN, ONE, TWO, ("a/2", THREE.1)], "has the ids"),
        (
            &[OPEN, ONE, ("a/3", TWO.1)],
            "000000000001-12 is a/3, and 000000000001-12 is a/2",
        ),
        (
            &[OPEN, ONE, other_epoch],
            "is a/2, and 000000000001-12 is a/2",
        ),
        (
            &[OPEN, ONE, TWO, THREE, ("a/4", "000000000001-14")],
            "nobody has published a/4",
        ),
        (
            &[OPEN, ONE, TWO, THREE, ("b/4", "000000000001-14")],
            "b/4 is on another channel",
        ),
        (&[("o", ""), ONE], "it has no position"),
    ] {
        let found = texts(&three(), &[read(items)]);
        assert!(
            found.iter().any(|text| text.contains(expected)),
            "{items:?}: {found:?}"
        );
    }
}

#[test]
fn an_outcome_that_is_wrong_is_found() {
    let opened = [OPEN, ONE];
    for (outcome, expected) in [
        (Outcome::NotPublished, Some("was published")),
        (Outcome::MaybePublished, None),
        (Outcome::Unknown, None),
        (Outcome::Published(None), None),
        (
            Outcome::Published(Some(TWO.1.parse().unwrap())),
            Some("has the ids"),
        ),
    ] {
        let found = texts(&[record("a/1", outcome)], &[read(&opened)]);
        assert_eq!(
            found.is_empty(),
            expected.is_none(),
            "{outcome:?}: {found:?}"
        );
        assert!(expected.is_none_or(|text| found.iter().any(|one| one.contains(text))));
    }
    let unread = record("a/1", Outcome::Published(None));
    let found = texts(&[unread], &[read(&[OPEN])]);
    assert!(found[0].contains("nobody has"), "{found:?}");
}

#[test]
fn a_client_that_misses_what_another_has_read_is_found() {
    let records = [
        record("a/1", Outcome::MaybePublished),
        published("a/2", TWO.1),
    ];
    let found = texts(&records, &[read(&[OPEN, ONE, TWO]), read(&[OPEN, TWO])]);
    assert_eq!(found, ["missing between 10 and 11: [\"a/1\"]"]);
}

#[test]
fn a_start_after_a_later_event_is_found() {
    let mut records = three();
    records[0].began += Duration::from_secs(2);
    let found = texts(&records, &[read(&[("o", ONE.1), TWO, THREE])]);
    assert!(
        found
            .iter()
            .any(|text| text.contains("was published after")),
        "{found:?}"
    );
}

#[test]
fn a_client_that_does_not_reach_the_end_is_found() {
    let mut waits = read(&[OPEN, ONE, TWO, THREE]);
    waits.is_drained = false;
    assert_eq!(texts(&three(), &[waits]), ["it has not reached the end"]);
}

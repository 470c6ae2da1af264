//! The program `fleet` for a short time: real processes, which are killed or replaced.

use crate::support::within;
use std::{path::Path, process::Output};
use tokio::process::Command;

/// Runs the fleet, and returns whether its verdict was good, and its output.
async fn run(options: &str) -> (bool, String) {
    let mut fleet = Command::new(env!("CARGO_BIN_EXE_fleet"));
    fleet.args(["--port", "0"]).args(options.split(' '));
    let output = fleet.kill_on_drop(true).output();
    let Output { status, stdout, .. } = within("the fleet", output).await.unwrap();
    let text = String::from_utf8(stdout).unwrap();
    println!("{options}: {status}\n{text}");
    let verdict = if status.success() {
        "\nPASSED: "
    } else {
        "\nFAILED: "
    };
    assert!(text.contains(verdict), "{status}");
    (status.success(), text)
}

#[tokio::test]
#[ignore = "needs Redis and pushpin"]
async fn a_fleet_whose_processes_are_killed_loses_nothing() {
    let (has_passed, text) = run("--seconds 15 --every 1 --clients 80").await;
    assert!(has_passed);
    for killed in ["Redis killed", "an instance killed", "a Pushpin killed"] {
        assert!(text.contains(killed), "{killed}");
    }
}

#[tokio::test]
#[ignore = "needs Redis and pushpin"]
async fn a_fleet_whose_instances_are_replaced_loses_nothing_and_has_no_storm() {
    let (has_passed, text) = run("--deploys --drain 4 --clients 120").await;
    assert!(has_passed);
    assert!(text.contains("3 × an instance replaced"));
    let drains = text
        .lines()
        .filter(|line| line.contains(" streams ended within 4 s"));
    assert_eq!(drains.count(), 3);
}

#[tokio::test]
#[ignore = "needs Redis and pushpin"]
async fn a_fleet_whose_log_is_wiped_resets_its_clients() {
    let (has_passed, text) = run("--wipe --seconds 5 --every 1 --clients 60").await;
    assert!(has_passed);
    assert!(text.contains("Redis wiped"));
    assert!(!text.contains("; resets: 0 new epoch"));
}

#[tokio::test]
#[ignore = "needs Redis and pushpin"]
async fn the_verdict_on_a_fleet_finds_a_single_missing_event() {
    let (has_passed, text) = run("--seconds 0 --every 1 --clients 20 --forget").await;
    assert!(!has_passed);
    assert!(text.contains(": missing between "));
    let path = text
        .split("history in ")
        .nth(1)
        .and_then(|rest| rest.lines().next());
    let path = Path::new(path.unwrap());
    assert!(path.exists());
    std::fs::remove_file(path).unwrap();
}

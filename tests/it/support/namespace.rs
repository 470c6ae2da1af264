//! A network namespace for one test, whose loopback interface loses packets. It ends with the test's process.

use super::alone;
use std::{
    io::{Write as _, stderr},
    process::Command,
};

/// `unshare` as root, and for other users.
const WAYS: [&[&str]; 2] = [&["--net"], &["--user", "--map-root-user", "--net"]];

/// Sets up the interface, checks that packets can be dropped, and runs its arguments.
const SCRIPT: &str = r#"
PATH=$PATH:/usr/sbin:/sbin
ip link set lo up && nft "$0" && exec "$@"
"#;

const TABLE: &str = "add table inet loss; \
    add chain inet loss input { type filter hook input priority 0; }; \
    add rule inet loss input tcp dport 1 numgen random mod 100 < 1 drop";

/// Runs the test of this name in a namespace and a process of its own, and returns true. In that process it returns
/// false. Where no namespace can be created, the test is left out, which the output says.
pub(crate) fn has_run(test: &str) -> bool {
    if alone::is_alone() {
        return false;
    }
    let mut reasons = String::new();
    for way in WAYS {
        let output = unshare(way).arg("true").output();
        match output {
            Ok(output) if output.status.success() => {
                alone::run(unshare(way).arg(alone::program()), test);
                return true;
            }
            Ok(output) => reasons += &String::from_utf8_lossy(&output.stderr),
            Err(error) => reasons += &format!("{error}\n"),
        }
    }
    // Not captured, unlike the output of macros.
    let _ = writeln!(
        stderr(),
        "LEFT OUT: {test}: no namespace that loses packets: {reasons}"
    );
    true
}

fn unshare(way: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(way).args(["sh", "-c", SCRIPT, TABLE]);
    command
}

/// Loses this percentage of the packets from and to a port of this namespace.
pub(crate) fn lose(percent: u32, port: u16) {
    for end in ["dport", "sport"] {
        let rule = format!(
            "add rule inet loss input tcp {end} {port} numgen random mod 100 < {percent} counter drop"
        );
        nft(&rule);
    }
}

/// Number of packets that were lost.
pub(crate) fn lost() -> u64 {
    let rules = nft("list table inet loss");
    let counters = rules.split("counter packets ").skip(1);
    let counters = counters.map(|text| text.split(' ').next().unwrap());
    counters
        .map(|packets| packets.parse::<u64>().unwrap())
        .sum()
}

fn nft(command: &str) -> String {
    let output = Command::new("sh")
        .args(["-c", "PATH=$PATH:/usr/sbin nft \"$0\"", command])
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

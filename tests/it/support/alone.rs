//! Tests that depend on the state of their process, such as its memory: each runs in one of its own.

use std::{env, path::Path, process::Command};

/// Set in the process of one test.
const MARK: &str = "TEST_PROCESS";

/// Runs the test of this name in a process of its own, and returns true. In that process it returns false.
pub(crate) fn has_run(test: &str) -> bool {
    has_run_with(test, &[])
}

/// Runs the test with these variables in its environment.
pub(crate) fn has_run_with(test: &str, variables: &[(&str, &Path)]) -> bool {
    if env::var_os(MARK).is_some() {
        return false;
    }
    let mut process = Command::new(env::current_exe().unwrap());
    process.args(["--exact", test, "--include-ignored", "--nocapture"]);
    process.env(MARK, "1").envs(variables.iter().copied());
    let output = process.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let has_passed = output.status.success() && text.contains("1 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(has_passed, "{text}{errors}");
    true
}

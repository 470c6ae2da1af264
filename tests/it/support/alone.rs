//! Tests that depend on the state of their process, such as its memory: each runs in one of its own.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Set in the process of one test.
const MARK: &str = "TEST_PROCESS";

/// Runs the test of this name in a process of its own, and returns true. In that process it returns false.
pub(crate) fn has_run(test: &str) -> bool {
    has_run_with(test, &[])
}

/// Runs the test with these variables in its environment.
pub(crate) fn has_run_with(test: &str, variables: &[(&str, &Path)]) -> bool {
    if is_alone() {
        return false;
    }
    run(
        Command::new(program()).envs(variables.iter().copied()),
        test,
    );
    true
}

/// Whether this is the process of one test.
pub(crate) fn is_alone() -> bool {
    env::var_os(MARK).is_some()
}

/// The program with all tests.
pub(crate) fn program() -> PathBuf {
    env::current_exe().unwrap()
}

/// Runs the test of this name with a command that runs the [`program`]. Its output is printed.
pub(crate) fn run(process: &mut Command, test: &str) {
    process.args(["--exact", test, "--include-ignored", "--nocapture"]);
    let output = process.env(MARK, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let has_passed = output.status.success() && text.contains("1 passed");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(has_passed, "{text}{errors}");
    println!("{text}");
}

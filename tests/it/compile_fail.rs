//! What the compiler says about mistakes in a user's program.
//!
//! Each program in `compile_fail` begins with lines `//~ TEXT`, which its messages must contain. Whole messages are not
//! compared: the compiler's own part of them changes with its version.

use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const TARGET: &str = env!("CARGO_TARGET_TMPDIR");
const TESTS: &str = env!("CARGO_MANIFEST_DIR");

#[test]
fn mistakes_get_messages_that_say_what_is_expected() {
    let package = package();
    let messages = check(&package);
    for program in programs() {
        let text = fs::read_to_string(&program).unwrap();
        let name = program.file_stem().unwrap().to_str().unwrap();
        let message = messages.get(name).map_or("", String::as_str);
        let expected: Vec<_> = text.lines().map_while(|l| l.strip_prefix("//~ ")).collect();
        assert!(!expected.is_empty(), "{name} expects nothing");
        for text in expected {
            assert!(message.contains(text), "{name}: no `{text}` in\n{message}");
        }
    }
}

fn programs() -> Vec<PathBuf> {
    let files = fs::read_dir(Path::new(TESTS).join("compile_fail")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

/// A package of all programs, on the versions of the dependencies that the tests have.
fn package() -> PathBuf {
    let package = Path::new(TARGET).join("compile_fail");
    let bins = package.join("src/bin");
    let _ = fs::remove_dir_all(&package);
    fs::create_dir_all(&bins).unwrap();
    for program in programs() {
        fs::copy(&program, bins.join(program.file_name().unwrap())).unwrap();
    }
    let root = Path::new(TESTS).ancestors().nth(2).unwrap();
    fs::copy(root.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let manifest = format!(
        "[package]\nname = \"compile-fail\"\nedition = \"2024\"\n\n[workspace]\n\n\
        [dependencies]\naxum-eventstream = {{ path = {root:?} }}\nhttp = \"1\"\n"
    );
    fs::write(package.join("Cargo.toml"), manifest).unwrap();
    package
}

/// Compiles the programs at once, and returns the error messages of each.
fn check(package: &Path) -> BTreeMap<String, String> {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["check", "--bins", "--keep-going", "--offline", "--quiet"]);
    cargo
        .args(["--message-format", "json"])
        .current_dir(package);
    // The dependencies are there already if the lints have run.
    let target = Path::new(TARGET).parent().unwrap();
    let output = cargo.env("CARGO_TARGET_DIR", target).output().unwrap();
    let mut messages = BTreeMap::<_, String>::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if line["message"]["level"] == "error" {
            let name = line["target"]["name"].as_str().unwrap().to_owned();
            *messages.entry(name).or_default() += line["message"]["rendered"].as_str().unwrap();
        }
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(!messages.is_empty(), "nothing was compiled: {errors}");
    messages
}

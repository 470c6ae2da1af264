//! What the compiler says about mistakes in a user's program.
//!
//! Each program in `tests/compile_fail` begins with lines `//~ TEXT`, which its message must have. Whole
//! messages are not compared: the parts that are the compiler's own change with its versions.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Set for the process that compiles: the folder with the programs.
const PROGRAMS: &str = "COMPILE_FAIL_PROGRAMS";

#[test]
fn mistakes_get_messages_that_say_what_is_expected() {
    if let Ok(programs) = env::var(PROGRAMS) {
        return trybuild::TestCases::new().compile_fail(format!("{programs}/*.rs"));
    }
    let programs = copies();
    compile(&programs);
    for program in rust_files(&programs) {
        let message = fs::read_to_string(program.with_extension("stderr")).unwrap();
        for text in expected(&program) {
            assert!(message.contains(&text), "no `{text}` in:\n{message}");
        }
    }
}

/// The programs in a folder where trybuild may leave the compiler's messages.
fn copies() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compile_fail");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    for program in rust_files(Path::new("tests/compile_fail")) {
        let name = program.file_name().unwrap();
        if cfg!(feature = "grip") || name != "grip.rs" {
            fs::copy(&program, folder.join(name)).unwrap();
        }
    }
    folder
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// trybuild is told by the environment to write messages, so this takes another process.
fn compile(programs: &Path) {
    let output = Command::new(env::current_exe().unwrap())
        .arg("--nocapture")
        .env(PROGRAMS, programs)
        .env("TRYBUILD", "overwrite")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

fn expected(program: &Path) -> Vec<String> {
    let text = fs::read_to_string(program).unwrap();
    let lines = text.lines().map_while(|line| line.strip_prefix("//~ "));
    lines.map(str::to_owned).collect()
}

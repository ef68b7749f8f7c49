//! A test that is skipped passes, and leaves a line that says which it was and why.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::{env, fs};

use test_support::{Needs, skip};

#[test]
fn a_skip_is_recorded_with_its_test_and_its_reason() {
    let file = env::temp_dir().join(format!("rekindle-skipped-{}", std::process::id()));
    let output = Command::new(env::current_exe().unwrap())
        .args(["skips_when_asked", "--exact"])
        .env("REKINDLE_TEST_SKIP", "1")
        .env("REKINDLE_SKIPPED", &file)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let line = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert!(output.status.success(), "{said}");
    // Libtest keeps what a test prints to itself; this must be seen.
    assert!(said.contains("skipped: test-support::skips_when_asked: there is no such thing"));
    assert_eq!(
        line,
        "program\ttest-support::skips_when_asked\tthere is no such thing\n"
    );
}

/// Run again by the test above with the variable set.
#[test]
fn skips_when_asked() {
    if env::var_os("REKINDLE_TEST_SKIP").is_some() {
        skip(Needs::Program, "there is no\tsuch\nthing");
    }
}

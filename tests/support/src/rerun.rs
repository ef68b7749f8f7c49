//! Tests that run once more in a process of their own.

use std::process::Command;

/// Runs one test of the calling program again with an environment variable set, and panics where it fails.
pub fn rerun(test: &str, variable: &str, value: &str) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env(variable, value)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{variable}={value}\n{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{variable}={value}: {said}\n{complained}"
    );
}

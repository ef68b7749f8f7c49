//! Ctrl-C as a process feels it.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rekindle_trainer::Interrupt;

/// The process that the tests below interrupt: runs until it is asked to stop, then takes as long
/// to save as the variable says.
#[test]
fn the_process_to_interrupt() {
    let Ok(seconds) = std::env::var("REKINDLE_TEST_SECONDS_TO_SAVE") else {
        return;
    };
    let interrupt = Interrupt::on_ctrl_c().unwrap();
    println!("\ntraining");
    while !interrupt.requested() {
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("saving");
    std::thread::sleep(Duration::from_secs(seconds.parse().unwrap()));
    println!("saved");
}

#[test]
fn the_first_press_lets_the_process_save() {
    let (mut child, mut lines) = start(0);
    wait_for(&mut lines, "training");
    press_ctrl_c(&child);
    wait_for(&mut lines, "saved");
    assert!(child.wait().unwrap().success());
}

#[test]
fn the_second_press_ends_the_process_at_once() {
    let (mut child, mut lines) = start(60);
    wait_for(&mut lines, "training");
    press_ctrl_c(&child);
    wait_for(&mut lines, "saving");
    press_ctrl_c(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn a_request_needs_no_signal_and_can_be_taken_back() {
    let interrupt = Interrupt::new();
    let button = interrupt.clone();
    assert!(!interrupt.requested());
    assert!(!button.request());
    assert!(interrupt.requested());
    assert!(button.request());
    interrupt.clear();
    assert!(!button.requested());
    assert!(!Interrupt::new().requested());
}

type Lines = std::io::Lines<BufReader<std::process::ChildStdout>>;

fn start(seconds_to_save: u32) -> (Child, Lines) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "interrupt::the_process_to_interrupt",
            "--nocapture",
        ])
        .env("REKINDLE_TEST_SECONDS_TO_SAVE", seconds_to_save.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    (child, lines)
}

fn wait_for(lines: &mut Lines, wanted: &str) {
    let found = lines.any(|line| line.unwrap() == wanted);
    assert!(found, "the process ended before it said {wanted:?}");
}

fn press_ctrl_c(child: &Child) {
    let status = Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

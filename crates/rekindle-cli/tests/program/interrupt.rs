//! Checks that Ctrl-C ends what takes long, with its status.

use serde_json::Value;

use crate::workshop::{HOSTILE, program, text, workshop};

/// Presses Ctrl-C after the first line of output, or as soon as the program listens for it, and returns status and
/// output.
fn interrupted(arguments: &[&str], waits_for_a_line: bool) -> (Option<i32>, Vec<String>) {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};

    let mut child = program()
        .args(arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut told = Vec::new();
    match waits_for_a_line {
        true => told.push(lines.next().unwrap().unwrap()),
        false => {
            while !listens_for_ctrl_c(child.id()) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
        }
    }
    let id = child.id().to_string();
    let pressed = Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(pressed.success());
    told.extend(lines.map(Result::unwrap));
    (child.wait().unwrap().code(), told)
}

/// Returns true if the process catches SIGINT, signal number 2.
fn listens_for_ctrl_c(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    u64::from_str_radix(caught.unwrap().trim(), 16).unwrap() & 0b10 != 0
}

#[test]
fn commands_that_take_long_are_interrupted_and_end_with_130() {
    let workshop = workshop();
    let folder = tempfile::tempdir().unwrap();
    let picture = workshop.data.join("val/ants/0000.png");
    for class in ["ants", HOSTILE] {
        let class = folder.path().join(class);
        std::fs::create_dir(&class).unwrap();
        for number in 0..20_000 {
            std::fs::hard_link(&picture, class.join(format!("{number:05}.png"))).unwrap();
        }
    }
    let (model, many) = (workshop.runs.join("features"), text(folder.path()));
    let out = folder.path().join("features.safetensors");
    let (code, told) = interrupted(&["predict", text(&model), many, "--json"], true);
    assert_eq!(code, Some(130));
    assert!(told.len() < 40_000, "it had ended by itself");
    for line in told {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
    let weights = text(&workshop.weights);
    for arguments in [
        vec!["evaluate", text(&model), many],
        vec!["verify", many],
        vec!["features", many, "--weights", weights, "--out", text(&out)],
        vec!["advise", many, "--weights", weights],
    ] {
        let (code, told) = interrupted(&arguments, false);
        assert_eq!((code, told.len()), (Some(130), 0), "{arguments:?}");
    }
    assert!(!out.exists());
}

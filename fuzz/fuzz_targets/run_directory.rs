//! Run directories: one file of it is what the fuzzer says, chosen by the first byte.
#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{folder, only_own_panics};
use rekindle_trainer::{Position, RunDirectory};

const NAMES: [&str; 4] = [
    "run.json",
    "classes.json",
    "metrics.jsonl",
    "checkpoints/epoch-0001/checkpoint.json",
];

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    let Some((choice, content)) = bytes.split_first() else { return };
    let run = folder().join("run");
    fs::create_dir_all(run.join("checkpoints/epoch-0001")).expect("a folder can be made");
    for name in NAMES {
        let _ = fs::remove_file(run.join(name));
    }
    let chosen = NAMES[usize::from(*choice) % NAMES.len()];
    if chosen != "run.json" {
        let record = rekindle_trainer::RunRecord::new("fuzz");
        let text = serde_json::to_vec(&record).expect("a record can be written");
        fs::write(run.join("run.json"), text).expect("a file can be written");
    }
    fs::write(run.join(chosen), content).expect("a file can be written");
    if let Ok(run) = RunDirectory::open(&run) {
        let _ = (run.classes(), run.events(), run.checkpoints(), run.best_checkpoint());
    }
    if let Ok(mut writer) = RunDirectory::resume(&run) {
        let _ = writer.rewind(Position::after_epoch(1));
        let again = RunDirectory::open(&run).expect("what could be resumed can be read");
        assert!(chosen != "metrics.jsonl" || again.metrics_path().exists());
    }
});

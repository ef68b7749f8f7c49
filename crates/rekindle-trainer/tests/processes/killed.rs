//! A run that is killed again and again ends with the bits of one that never was.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::common::{classifier, data, recipe};
use burn::prelude::*;
use rekindle_models::Pretrained;
use rekindle_trainer::{Event, Optimizer, Recipe, RunDirectory, Trainer, TrainerError};

const EPOCHS: usize = 12;

/// The process that the tests below kill: begins the run, or goes on with it.
#[test]
fn the_run_to_kill() {
    let Ok(path) = std::env::var("REKINDLE_TEST_RUN_TO_KILL") else {
        return;
    };
    let optimizer = match std::env::var("REKINDLE_TEST_OPTIMIZER").as_deref() {
        Ok("adamw") => Optimizer::AdamW { weight_decay: 0.01 },
        _ => Recipe::tutorial().optimizer,
    };
    let recipe = Recipe {
        epochs: EPOCHS,
        moving_average: matches!(optimizer, Optimizer::AdamW { .. }).then_some(0.9),
        optimizer,
        ..recipe()
    };
    let trainer = Trainer::new(classifier(), data())
        .recipe(recipe)
        .checkpoint_interval(Duration::ZERO);
    let begun = Path::new(&path).join("run.json").exists();
    if begun {
        trainer.resume(&path).unwrap();
    } else {
        trainer.run_directory(&path).fit().unwrap();
    }
}

#[test]
fn killed_eight_times() {
    kill_and_compare(8);
}

#[test]
#[ignore = "half a minute to some minutes"]
fn killed_two_hundred_times() {
    kill_and_compare(200);
}

/// Kills runs at random moments until it was done `kills` times, and looks at the run directory after each.
fn kill_and_compare(kills: usize) {
    let folder = tempfile::tempdir().unwrap();
    let mut moments = Moments(kills as u64);
    let mut killed = 0;
    for optimizer in ["sgd", "adamw"].into_iter().cycle() {
        let whole = folder.path().join(format!("whole-{optimizer}"));
        let begun = Instant::now();
        if !whole.exists() {
            assert!(start(&whole, optimizer).wait().unwrap().success());
        }
        let mut patience = begun.elapsed().max(Duration::from_millis(200)) / 3;
        let broken = folder.path().join(format!("broken-{killed}"));
        let mut lives = 0;
        loop {
            let mut process = start(&broken, optimizer);
            let deadline = Instant::now() + patience.mul_f64(moments.next());
            while Instant::now() < deadline && process.try_wait().unwrap().is_none() {
                sleep(Duration::from_millis(1));
            }
            if let Some(status) = process.try_wait().unwrap() {
                assert!(status.success());
                break;
            }
            process.kill().unwrap();
            process.wait().unwrap();
            killed += 1;
            lives += 1;
            readable(&broken);
            // A busy machine may need longer for an epoch than the unbroken run had shown.
            if lives % 12 == 0 {
                patience *= 2;
            }
        }
        let ((files, lines), expected) = (remains(&broken), remains(&whole));
        for (found, expected) in lines.iter().zip(&expected.1) {
            assert_eq!(found, expected, "{optimizer}, {lives} kills");
        }
        assert_eq!(files, expected.0, "{optimizer}, {lives} kills");
        assert_eq!(lines.len(), expected.1.len());
        println!("{optimizer}: the same bits after {lives} kills");
        if killed >= kills {
            break;
        }
    }
    println!("{killed} kills in all");
}

fn start(path: &Path, optimizer: &str) -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killed::the_run_to_kill"])
        .env("REKINDLE_TEST_RUN_TO_KILL", path)
        .env("REKINDLE_TEST_OPTIMIZER", optimizer)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// Whatever is there can be read: as a run, or as none yet.
fn readable(path: &Path) {
    let run = match RunDirectory::open(path) {
        Ok(run) => run,
        Err(TrainerError::NotARunDirectory { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    run.events().unwrap();
    run.classes().unwrap();
    run.latest_checkpoint().unwrap();
    if run.best_weights_path().exists() {
        Pretrained::open(run.best_weights_path(), &Device::flex()).unwrap();
    }
}

/// All that a finished run left, but for what a clock says; files by their hashes.
fn remains(path: &Path) -> (BTreeMap<&'static str, u64>, Vec<String>) {
    let run = RunDirectory::open(path).unwrap();
    let last = run.latest_checkpoint().unwrap().unwrap();
    assert_eq!(last.position().epochs, EPOCHS);
    let mut files = BTreeMap::new();
    let mut hash = |name, content: &dyn Fn(&mut DefaultHasher)| {
        let mut hasher = DefaultHasher::new();
        content(&mut hasher);
        files.insert(name, hasher.finish());
    };
    hash("model", &|hasher| {
        fs::read(last.path().join("model.safetensors"))
            .unwrap()
            .hash(hasher)
    });
    hash("best", &|hasher| {
        fs::read(run.best_weights_path()).unwrap().hash(hasher)
    });
    // Its tensors lie in the file in any order.
    let state = rekindle_weights::read(last.path().join("optimizer.bpk")).unwrap();
    assert!(!state.tensors.is_empty());
    hash("optimizer", &|hasher| {
        for (name, tensor) in &state.tensors {
            let bits: Vec<u32> = tensor
                .read_f32()
                .unwrap()
                .into_iter()
                .map(f32::to_bits)
                .collect();
            (name, bits).hash(hasher);
        }
    });
    let lines = run
        .events()
        .unwrap()
        .into_iter()
        .filter_map(|event| match event {
            Event::BatchEnded {
                epoch,
                batch,
                loss,
                learning_rate,
                ..
            } => Some(format!("{epoch} {batch} {loss} {learning_rate}")),
            Event::EpochEnded { metrics } => Some(format!(
                "{} {} {} {:?} {:?} {}",
                metrics.epoch,
                metrics.train_loss,
                metrics.train_accuracy,
                metrics.valid_loss,
                metrics.valid_accuracy,
                metrics.best
            )),
            _ => None,
        });
    (files, lines.collect())
}

/// Numbers between 0 and 1, other ones for other seeds (a linear congruential generator).
struct Moments(u64);

impl Moments {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }
}

//! Checks what a run leaves when something goes wrong under it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::common::{classifier, curve, data, picture, preprocess, recipe, weights};
use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, ImageFolder, OnBadFile};
use rekindle_models::Pretrained;
use rekindle_trainer::events::EndReason;
use rekindle_trainer::{
    Event, Fitted, Observer, Recipe, RunDirectory, Schedule, Trainer, TrainerError, TransferData,
    eval_pipeline,
};

/// Does something to the world when an epoch ends.
struct AfterEpoch<F: FnMut()>(usize, F);

impl<F: FnMut()> Observer for AfterEpoch<F> {
    fn on_event(&mut self, event: &Event) {
        if let Event::EpochEnded { metrics } = event
            && metrics.epoch == self.0
        {
            (self.1)();
        }
    }
}

/// A folder of pictures, `train` and `val`, two classes.
fn pictures(root: &Path) -> PathBuf {
    for (split, count, first) in [("train", 12, 0), ("val", 6, 1000)] {
        for (label, class) in ["bottom", "top"].iter().enumerate() {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for index in 0..count {
                let path = folder.join(format!("{index:02}.png"));
                picture(label, first + 2 * index + label)
                    .save(path)
                    .unwrap();
            }
        }
    }
    root.to_path_buf()
}

/// Read from the disk in every epoch: what is decoded is not kept.
fn on_disk(root: &Path) -> TransferData {
    let preprocess = preprocess();
    let (train, val) = ImageFolder::open_train_val(root).unwrap();
    TransferData::from_datasets(
        ImageDataset::new(&train, eval_pipeline(&preprocess)).unwrap(),
        ImageDataset::new(&val, eval_pipeline(&preprocess)).unwrap(),
        &preprocess,
    )
    .unwrap()
}

fn ends_with(run: &RunDirectory, reason: EndReason) -> bool {
    matches!(run.events().unwrap().last(), Some(Event::RunEnded(outcome)) if outcome.reason == reason)
}

/// Returns the error of a run that saves after every epoch.
fn failure(recipe: Recipe, path: &Path) -> TrainerError {
    let trainer = Trainer::new(classifier(), data())
        .recipe(recipe)
        .checkpoint_interval(Duration::ZERO);
    trainer.run_directory(path).fit().err().unwrap()
}

fn best_is_whole(run: &RunDirectory) -> bool {
    Pretrained::open(run.best_weights_path(), &Device::flex()).is_ok()
}

#[test]
fn a_picture_that_goes_away_ends_a_strict_run_which_goes_on_when_it_is_back() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"));
    let recipe = Recipe {
        on_bad_file: OnBadFile::Fail,
        ..recipe()
    };
    let trainer = |path: &str| {
        Trainer::new(classifier(), on_disk(&root))
            .recipe(recipe.clone())
            .checkpoint_interval(Duration::ZERO)
            .run_directory(folder.path().join(path))
    };
    let whole = trainer("whole").fit().unwrap();
    let (victim, aside) = (
        root.join("train/top/03.png"),
        folder.path().join("aside.png"),
    );
    let error = trainer("broken")
        .observer(AfterEpoch(1, || fs::rename(&victim, &aside).unwrap()))
        .fit()
        .err()
        .unwrap();
    assert!(error.to_string().contains("03.png"), "{error}");
    let path = folder.path().join("broken");
    let run = RunDirectory::open(&path).unwrap();
    assert!(ends_with(&run, EndReason::Failed));
    assert!(best_is_whole(&run));
    fs::rename(&aside, &victim).unwrap();
    let resumed = Trainer::new(classifier(), on_disk(&root))
        .resume(&path)
        .unwrap();
    assert_eq!(curve(&resumed), curve(&whole));
    assert_eq!(weights(&resumed), weights(&whole));
}

#[test]
fn a_picture_that_goes_away_is_listed_by_a_lenient_run() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"));
    let mut events: Vec<Event> = Vec::new();
    let victim = root.join("train/top/03.png");
    let fitted = Trainer::new(classifier(), on_disk(&root))
        .recipe(recipe())
        .observer(AfterEpoch(1, || fs::write(&victim, b"no picture").unwrap()))
        .observer(&mut events)
        .fit()
        .unwrap();
    assert_eq!(fitted.outcome.reason, EndReason::Finished);
    let listed = events.iter().any(
        |event| matches!(event, Event::SkippedFile { path, .. } if path.ends_with("top/03.png")),
    );
    assert!(listed);
}

#[test]
fn a_folder_that_goes_away_is_an_error_and_no_epoch_of_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"));
    let path = folder.path().join("run");
    let error = Trainer::new(classifier(), on_disk(&root))
        .recipe(recipe())
        .run_directory(&path)
        .observer(AfterEpoch(1, || fs::remove_dir_all(&root).unwrap()))
        .fit()
        .err()
        .unwrap();
    assert!(
        matches!(error, TrainerError::UnusableData { .. }),
        "{error}"
    );
    assert!(error.to_string().contains("none of 24"), "{error}");
    assert!(best_is_whole(&RunDirectory::open(&path).unwrap()));
}

#[test]
fn a_run_that_diverges_keeps_the_last_good_checkpoint_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let recipe = Recipe {
        schedule: Schedule::Step {
            step_size: 2,
            gamma: 1e30,
        },
        ..recipe()
    };
    let error = failure(recipe, &path);
    assert!(
        matches!(error, TrainerError::Diverged { epoch: 3, .. }),
        "{error}"
    );
    let text = error.to_string();
    assert!(
        text.contains("epoch-0002") && text.contains("best.safetensors"),
        "{text}"
    );
    let run = RunDirectory::open(&path).unwrap();
    assert!(ends_with(&run, EndReason::Diverged));
    assert!(best_is_whole(&run));
}

#[test]
fn weights_that_are_no_numbers_make_no_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    // One batch per epoch: its loss is a number, and the step after it ends in infinities.
    let recipe = Recipe {
        batch_size: 24,
        learning_rate: 1e38,
        ..recipe()
    };
    let error = failure(recipe, &path);
    let is_expected = matches!(
        error,
        TrainerError::BrokenWeights { .. } | TrainerError::Diverged { .. }
    );
    assert!(is_expected, "{error}");
    assert_eq!(
        RunDirectory::open(&path).unwrap().checkpoints().unwrap(),
        []
    );
}

#[test]
fn a_second_run_in_the_same_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let first: Fitted<_> = crate::common::unbroken(&path, &recipe());
    let start = || Trainer::new(classifier(), data()).recipe(recipe());
    let error = start().run_directory(&path).fit().err().unwrap();
    assert!(
        matches!(error, TrainerError::RunDirectoryExists { .. }),
        "{error}"
    );
    let error = start().resume(&path).err().unwrap();
    assert!(
        matches!(error, TrainerError::LockedByAnotherProcess { .. }),
        "{error}"
    );
    assert!(best_is_whole(&RunDirectory::open(&path).unwrap()));
    drop(first);
}

/// The process that runs on a disk that is too small, given by [`a_disk_that_fills_up_loses_nothing_that_was_saved`].
#[test]
fn the_run_on_a_small_disk() {
    let Ok(path) = std::env::var("REKINDLE_TEST_SMALL_DISK") else {
        return;
    };
    let path = Path::new(&path).join("run");
    let start = || Trainer::new(classifier(), data()).checkpoint_interval(Duration::ZERO);
    let ballast = path.with_file_name("ballast");
    let recipe = Recipe {
        epochs: 6,
        ..recipe()
    };
    let whole = start().recipe(recipe.clone()).fit().unwrap();
    let fill = || {
        let mut file = fs::File::create(&ballast).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
    };
    let error = start()
        .recipe(recipe)
        .run_directory(&path)
        .observer(AfterEpoch(3, fill))
        .fit()
        .err()
        .unwrap();
    assert!(matches!(error, TrainerError::DiskFull { .. }), "{error}");
    let run = RunDirectory::open(&path).unwrap();
    assert!(best_is_whole(&run));
    let last = run.latest_checkpoint().unwrap().unwrap();
    assert_eq!(last.position().epochs, 2);
    fs::remove_file(&ballast).unwrap();
    let resumed = start().resume(&path).unwrap();
    assert_eq!(curve(&resumed), curve(&whole));
    assert_eq!(weights(&resumed), weights(&whole));
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_fills_up_loses_nothing_that_was_saved() {
    let folder = tempfile::tempdir().unwrap();
    let script = "mount -t tmpfs -o size=24m none \"$0\" || exit 77; exec \"$1\" --exact faults::the_run_on_a_small_disk";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .env("REKINDLE_TEST_SMALL_DISK", folder.path())
        .status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) if status.code() != Some(101) => {
            let reason = format!("this machine doesn't let a test mount a small disk ({status})");
            test_support::skip(test_support::Needs::Permission, reason);
        }
        Ok(status) => panic!("{status}"),
        Err(error) => {
            let reason = format!("the program unshare can't be run ({error})");
            test_support::skip(test_support::Needs::Program, reason);
        }
    }
}

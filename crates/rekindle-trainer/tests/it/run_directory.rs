//! The run directory under what happens to real ones: kills, full disks, two processes at once.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rekindle_trainer::events::EpochMetrics;
use rekindle_trainer::{
    ClassesRecord, Event, Position, RunDirectory, RunRecord, RunWriter, TrainerError,
    atomic_replace,
};

#[test]
fn a_run_is_read_back_as_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut record = RunRecord::new("Ants & bees");
    record.seed = 7;
    record.recipe = serde_json::json!({"epochs": 25});
    let mut run = RunDirectory::create_under(folder.path(), &record, &classes()).unwrap();
    run.log(&epoch(1)).unwrap();

    let name = run.path().file_name().unwrap().to_str().unwrap();
    let pattern: Vec<&str> = name.split('-').collect();
    assert_eq!(pattern[3..5], ["ants", "bees"], "{name}");
    assert_eq!((pattern[0].len(), pattern[5].len()), (4, 4), "{name}");

    let read = RunDirectory::open(run.path()).unwrap();
    assert_eq!(read.record(), &record);
    assert_eq!(read.classes().unwrap(), classes());
    assert_eq!(read.events().unwrap(), [epoch(1)]);
    assert_eq!(read.latest_checkpoint().unwrap(), None);
}

#[test]
fn only_the_last_and_the_best_checkpoint_stay() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(&folder.path().join("run"));
    for (epoch, best) in [(1, 1), (2, 2), (3, 2), (4, 2)] {
        save(&run, Position::after_epoch(epoch), Some(best));
    }
    assert_eq!(saved_positions(&run), [(2, 0), (4, 0)]);
    let best = run.directory().best_checkpoint().unwrap().unwrap();
    assert_eq!(best.position(), Position::after_epoch(2));
    assert_eq!(fs::read(best.path().join("model")).unwrap(), b"weights 2");

    let in_epoch = Position {
        epochs: 4,
        batches: 12,
    };
    save(&run, in_epoch, Some(2));
    assert_eq!(saved_positions(&run), [(2, 0), (4, 12)]);
    save(&run, Position::after_epoch(5), Some(5));
    assert_eq!(saved_positions(&run), [(5, 0)]);
}

#[test]
fn saving_the_same_position_again_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(&folder.path().join("run"));
    save(&run, Position::after_epoch(1), None);
    let again = run
        .save_checkpoint(Position::after_epoch(1), None, |folder| {
            Ok(fs::write(folder.join("model"), "second")?)
        })
        .unwrap();
    assert_eq!(fs::read(again.path().join("model")).unwrap(), b"second");
    assert_eq!(names(&run.path().join("checkpoints")), ["epoch-0001"]);
}

#[test]
fn a_checkpoint_that_is_not_whole_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(&folder.path().join("run"));
    save(&run, Position::after_epoch(1), Some(1));
    save(&run, Position::after_epoch(2), Some(1));
    let checkpoints = run.path().join("checkpoints");
    let latest = || run.directory().latest_checkpoint().unwrap().unwrap();
    assert_eq!(latest().position().epochs, 2);

    // Without a manifest, as a copy broken off would be.
    fs::create_dir(checkpoints.join("epoch-0009")).unwrap();
    fs::write(checkpoints.join("epoch-0009/model"), "half").unwrap();
    assert_eq!(latest().position().epochs, 2);

    // Cut short.
    fs::write(checkpoints.join("epoch-0002/model"), "w").unwrap();
    assert_eq!(latest().position().epochs, 1);

    // With a manifest that is no JSON.
    fs::write(checkpoints.join("epoch-0001/checkpoint.json"), "{").unwrap();
    assert_eq!(run.directory().latest_checkpoint().unwrap(), None);
}

#[test]
fn a_failing_writer_leaves_the_checkpoints_before() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(&folder.path().join("run"));
    save(&run, Position::after_epoch(1), Some(1));
    let error = run
        .save_checkpoint(Position::after_epoch(2), Some(2), |folder| {
            fs::write(folder.join("model"), "half")?;
            Err("the optimiser has no state".into())
        })
        .unwrap_err();
    assert!(matches!(error, TrainerError::Writer { .. }));
    let message = error.to_string();
    assert!(
        message.contains("epoch-0002") && message.contains("the optimiser has no state"),
        "{message}"
    );
    assert_eq!(names(&run.path().join("checkpoints")), ["epoch-0001"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_called_a_full_disk() {
    let folder = tempfile::tempdir().unwrap();
    let run = create(&folder.path().join("run"));
    save(&run, Position::after_epoch(1), Some(1));
    // /dev/full answers every write with "no space left on device".
    let onto_full_disk = |_: &Path| {
        let mut full = fs::OpenOptions::new().write(true).open("/dev/full")?;
        full.write_all(&[0; 64])?;
        Ok(())
    };
    let error = run
        .save_checkpoint(Position::after_epoch(2), None, onto_full_disk)
        .unwrap_err();
    assert!(matches!(error, TrainerError::DiskFull { .. }), "{error}");
    assert!(error.to_string().contains("epoch-0002"), "{error}");

    let best = run.directory().best_weights_path();
    fs::write(&best, "old").unwrap();
    let error = atomic_replace(&best, onto_full_disk).unwrap_err();
    assert!(matches!(error, TrainerError::DiskFull { .. }), "{error}");
    assert_eq!(fs::read(&best).unwrap(), b"old");
    assert_eq!(saved_positions(&run), [(1, 0)]);
}

#[test]
fn a_torn_last_line_is_ignored_and_cut_off_on_resume() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = create(&path);
    run.log(&epoch(1)).unwrap();
    run.log(&epoch(2)).unwrap();
    drop(run);
    for torn in ["{\"event\":\"epoch_en", "\0\0\0\0\n"] {
        append(&path.join("metrics.jsonl"), torn);
        let read = RunDirectory::open(&path).unwrap();
        assert_eq!(read.events().unwrap(), [epoch(1), epoch(2)]);
        let mut run = RunDirectory::resume(&path).unwrap();
        run.log(&epoch(3)).unwrap();
        assert_eq!(
            run.directory().events().unwrap(),
            [epoch(1), epoch(2), epoch(3)]
        );
        run.rewind(Position::after_epoch(2)).unwrap();
    }
}

#[test]
fn a_damaged_line_in_the_middle_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut run = create(&path);
    run.log(&epoch(1)).unwrap();
    append(&path.join("metrics.jsonl"), "rubbish\n");
    run.log(&epoch(2)).unwrap();
    let error = run.directory().events().unwrap_err();
    assert!(matches!(error, TrainerError::DamagedFile { .. }));
    assert!(error.to_string().contains("line 2"), "{error}");
}

#[test]
fn rewinding_drops_what_will_happen_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(&folder.path().join("run"));
    let events = [epoch(1), batch(2, 1), batch(2, 2), epoch(2), batch(3, 1)];
    for event in &events {
        run.log(event).unwrap();
    }
    run.rewind(Position {
        epochs: 1,
        batches: 1,
    })
    .unwrap();
    assert_eq!(run.directory().events().unwrap(), events[..2]);
    run.log(&batch(2, 2)).unwrap();
    run.rewind(Position::after_epoch(1)).unwrap();
    assert_eq!(run.directory().events().unwrap(), events[..1]);
}

#[test]
fn the_table_of_epochs_has_one_line_per_epoch_whatever_happens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let lines = || -> Vec<String> {
        let text = fs::read_to_string(path.join("metrics.csv")).unwrap();
        text.lines().map(str::to_string).collect()
    };
    let epochs = || -> Vec<String> {
        let first = |line: &String| line.split(',').next().unwrap().to_string();
        lines().iter().skip(1).map(first).collect()
    };
    let mut run = create(&path);
    let header = "epoch,train_loss,train_accuracy,valid_loss,valid_accuracy,learning_rate,train_seconds,\
                  valid_seconds,images_per_second,best,mean_average_precision,micro_f1,macro_f1,mae,rmse,r2,\
                  quadratic_weighted_kappa";
    assert_eq!(lines(), [header]);
    let ended = |epoch| Event::EpochEnded {
        metrics: EpochMetrics {
            epoch,
            epochs: 3,
            train_loss: 0.5,
            train_accuracy: 0.75,
            valid_accuracy: Some(0.25),
            learning_rate: 1e-3,
            train_seconds: 2.0,
            images_per_second: f64::NAN,
            best: epoch == 1,
            ..EpochMetrics::default()
        },
    };
    run.log(&batch(1, 1)).unwrap();
    run.log(&ended(1)).unwrap();
    let figures = [("micro_f1", 0.125), ("quadratic_weighted_kappa", 0.5)];
    let figures = figures
        .map(|(name, value)| (name.to_string(), value))
        .into();
    run.log(&Event::Measured { epoch: 2, figures }).unwrap();
    run.log(&ended(2)).unwrap();
    assert_eq!(
        lines()[1..],
        [
            "1,0.5,0.75,,0.25,0.001,2,0,NaN,true,,,,,,,",
            "2,0.5,0.75,,0.25,0.001,2,0,NaN,false,,0.125,,,,,0.5"
        ]
    );
    // A resumed run goes on behind the last epoch of its checkpoint, and repeats none.
    drop(run);
    append(&path.join("metrics.csv"), "3,torn");
    let mut run = RunDirectory::resume(&path).unwrap();
    assert_eq!(epochs(), ["1", "2"]);
    run.rewind(Position::after_epoch(1)).unwrap();
    assert_eq!(epochs(), ["1"]);
    run.log(&Event::EpochStarted {
        epoch: 2,
        epochs: 3,
        batches: 1,
        images: 4,
    })
    .unwrap();
    run.log(&ended(2)).unwrap();
    run.log(&ended(3)).unwrap();
    assert_eq!(epochs(), ["1", "2", "3"]);
    assert!(lines()[2].ends_with("false,,,,,,,"), "{}", lines()[2]);
    assert_eq!(lines()[0], header);
    // The table of a run that had none is made of its log; what is no event there is passed over.
    drop(run);
    fs::remove_file(path.join("metrics.csv")).unwrap();
    append(&path.join("metrics.jsonl"), "{}\n");
    drop(RunDirectory::resume(&path).unwrap());
    assert_eq!(epochs(), ["1", "2", "3"]);
}

#[test]
fn a_loss_that_is_no_number_can_be_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(&folder.path().join("run"));
    let metrics = EpochMetrics {
        train_loss: f64::NAN,
        ..Default::default()
    };
    run.log(&Event::EpochEnded { metrics }).unwrap();
    let events = run.directory().events().unwrap();
    let Event::EpochEnded { metrics } = &events[0] else {
        panic!("{events:?}");
    };
    assert!(metrics.train_loss.is_nan());
}

#[cfg(unix)]
#[test]
fn a_file_name_that_is_no_unicode_is_logged_and_read_back() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let mut run = create(&folder.path().join("run"));
    let name = Path::new(std::ffi::OsStr::from_bytes(b"ants/\xff.jpg"));
    let (path, reason) = (name.to_path_buf(), "not an image".into());
    run.log(&Event::SkippedFile { path, reason }).unwrap();
    let events = run.directory().events().unwrap();
    let Event::SkippedFile { path, .. } = &events[0] else {
        panic!("{events:?}");
    };
    assert_eq!(path, name);
}

#[test]
fn a_second_writer_is_told_who_holds_the_lock() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = create(&path);
    let error = RunDirectory::resume(&path).unwrap_err();
    assert!(matches!(error, TrainerError::LockedByAnotherProcess { .. }));
    if cfg!(unix) {
        let pid = format!("process {}", std::process::id());
        assert!(error.to_string().contains(&pid), "{error}");
    }
    RunDirectory::open(&path).unwrap();
    drop(run);
    RunDirectory::resume(&path).unwrap();
}

/// The process that [`a_killed_process_leaves_a_run_that_goes_on`] kills while it writes.
#[test]
fn the_process_to_kill() {
    let Ok(path) = std::env::var("REKINDLE_TEST_RUN_TO_KILL") else {
        return;
    };
    let mut run = create(Path::new(&path));
    run.log(&epoch(1)).unwrap();
    save(&run, Position::after_epoch(1), Some(1));
    let _ = run.save_checkpoint(Position::after_epoch(2), Some(1), |folder| {
        fs::write(folder.join("model"), "half")?;
        println!("ready to be killed");
        std::thread::sleep(std::time::Duration::from_secs(60));
        Ok(())
    });
}

#[test]
fn a_killed_process_leaves_a_run_that_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "run_directory::the_process_to_kill",
            "--nocapture",
        ])
        .env("REKINDLE_TEST_RUN_TO_KILL", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("ready to be killed") {
        let mut byte = [0];
        assert_ne!(output.read(&mut byte).unwrap(), 0, "{seen}");
        seen.push(byte[0].into());
    }
    let locked = RunDirectory::resume(&path).unwrap_err();
    assert!(
        locked.to_string().contains(&child.id().to_string()) || !cfg!(unix),
        "{locked}"
    );
    child.kill().unwrap();
    child.wait().unwrap();

    let run = RunDirectory::resume(&path).unwrap();
    assert_eq!(names(&path.join("checkpoints")), ["epoch-0001"]);
    let latest = run.directory().latest_checkpoint().unwrap().unwrap();
    assert_eq!(latest.position(), Position::after_epoch(1));
    assert_eq!(run.directory().events().unwrap(), [epoch(1)]);
}

#[test]
fn folders_that_are_no_runs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let reason = |path: &Path| match RunDirectory::open(path) {
        Err(TrainerError::NotARunDirectory { reason, .. }) => reason,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(folder.path()), "it has no run.json");
    assert_eq!(
        reason(&folder.path().join("none")),
        "there is no such folder"
    );
    fs::write(folder.path().join("file"), "").unwrap();
    assert_eq!(reason(&folder.path().join("file")), "it is a file");

    let taken = RunDirectory::create(folder.path(), &RunRecord::new("x"), &classes());
    assert!(matches!(
        taken,
        Err(TrainerError::RunDirectoryExists { .. })
    ));
}

#[test]
fn a_creation_that_was_killed_can_be_made_again() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("lock"), "1\n").unwrap();
    fs::write(folder.path().join("classes.json"), "{").unwrap();
    let run = create(folder.path());
    assert_eq!(run.directory().classes().unwrap(), classes());
}

#[test]
fn a_newer_format_is_not_called_damaged() {
    let folder = tempfile::tempdir().unwrap();
    let newer = r#"{"format": 9, "rekindle": "4.2.0", "shape": "unheard of"}"#;
    fs::write(folder.path().join("run.json"), newer).unwrap();
    let error = RunDirectory::open(folder.path()).unwrap_err();
    assert!(matches!(error, TrainerError::NewerFormat { found: 9, .. }));
    assert!(error.to_string().contains("4.2.0"), "{error}");

    fs::write(folder.path().join("run.json"), "{\"format\": 1").unwrap();
    let error = RunDirectory::open(folder.path()).unwrap_err();
    assert!(matches!(error, TrainerError::DamagedFile { .. }), "{error}");
}

#[cfg(unix)]
#[test]
fn a_place_without_permission_is_called_so() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    if fs::write(folder.path().join("probe"), "").is_ok() {
        test_support::skip(
            test_support::Needs::Permission,
            "this user may write everywhere",
        );
        return;
    }
    let error = RunDirectory::create(folder.path().join("run"), &RunRecord::new("x"), &classes())
        .unwrap_err();
    assert!(matches!(error, TrainerError::NotWritable { .. }), "{error}");
}

fn create(path: &Path) -> RunWriter {
    RunDirectory::create(path, &RunRecord::new("ants and bees"), &classes()).unwrap()
}

fn classes() -> ClassesRecord {
    let preprocessing = serde_json::json!({"resize": 256, "crop": 224});
    ClassesRecord::new(vec!["ants".into(), "bees".into()], preprocessing)
}

fn save(run: &RunWriter, position: Position, best: Option<usize>) {
    run.save_checkpoint(position, best, |folder| {
        fs::create_dir(folder.join("optimizer"))?;
        fs::write(folder.join("optimizer/state"), "momentum")?;
        Ok(fs::write(
            folder.join("model"),
            format!("weights {}", position.epochs),
        )?)
    })
    .unwrap();
}

fn saved_positions(run: &RunWriter) -> Vec<(usize, usize)> {
    let checkpoints = run.directory().checkpoints().unwrap();
    let positions = checkpoints.iter().map(|checkpoint| checkpoint.position());
    positions.map(|p| (p.epochs, p.batches)).collect()
}

fn epoch(epoch: usize) -> Event {
    let metrics = EpochMetrics {
        epoch,
        valid_accuracy: Some(0.9),
        ..Default::default()
    };
    Event::EpochEnded { metrics }
}

fn batch(epoch: usize, batch: usize) -> Event {
    Event::BatchEnded {
        epoch,
        batch,
        images: 4,
        loss: 0.5,
        learning_rate: 1e-3,
    }
}

fn append(path: &Path, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

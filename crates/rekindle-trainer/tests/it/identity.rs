//! Whose pictures and weights a run and its kept features are of: told from content, never from names or times.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::common::{classifier, picture, preprocess, recipe, weights};
use burn::module::Module;
use rekindle_imagefolder::{ImageDataset, ImageFolder};
use rekindle_nn::Network;
use rekindle_trainer::events::EndReason;
use rekindle_trainer::{
    Cache, DataList, Event, Fitted, Interrupt, Observer, Part, Recipe, RunDirectory, Trainer,
    TrainerError, TransferData,
};
use rekindle_transfer::{Classifier, Strategy};
use rekindle_weights::state_dict::{self, HostTensor};

/// Bitmaps of equal sizes and times in `train` and `val`, two classes; `shift` makes other ones.
fn pictures(root: &Path, shift: usize) -> PathBuf {
    for (split, count, first) in [("train", 6, 0), ("val", 4, 1000)] {
        for (label, class) in ["bottom", "top"].iter().enumerate() {
            let folder = root.join(split).join(class);
            fs::create_dir_all(&folder).unwrap();
            for index in 0..count {
                let label = (label + shift) % 2;
                draw(
                    &folder.join(format!("{index:02}.bmp")),
                    label,
                    first + 2 * index + label + 100 * shift,
                );
            }
        }
    }
    root.to_path_buf()
}

fn draw(path: &Path, label: usize, index: usize) {
    picture(label, index).save(path).unwrap();
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(315_532_800);
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(then).unwrap();
}

fn open(root: &Path) -> TransferData {
    TransferData::open(root, &preprocess(), 0).unwrap()
}

fn features(
    classifier: Classifier<Network>,
    data: TransferData,
    cache: Cache,
    views: usize,
) -> BTreeMap<String, HostTensor> {
    let fitted = Trainer::new(classifier, data)
        .strategy(Strategy::FeatureExtraction)
        .recipe(Recipe {
            cache,
            views,
            ..recipe()
        })
        .fit()
        .unwrap();
    weights(&fitted)
}

/// With `cache` and without are the same bits.
fn same_with(
    folder: &Path,
    classifier: impl Fn() -> Classifier<Network>,
    root: &Path,
    views: usize,
) {
    let kept = features(
        classifier(),
        open(root),
        Cache::Disk(folder.to_path_buf()),
        views,
    );
    let fresh = features(classifier(), open(root), Cache::Memory, views);
    assert!(kept == fresh, "kept features change the result");
}

fn chunks(folder: &Path) -> usize {
    let keys = fs::read_dir(folder).unwrap().map(|key| key.unwrap().path());
    keys.map(|key| fs::read_dir(key).unwrap().count()).sum()
}

#[test]
fn kept_features_are_those_of_the_content() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let (one, other) = (
        pictures(&folder.path().join("one"), 0),
        pictures(&folder.path().join("other"), 1),
    );
    same_with(&cache, classifier, &one, 1);
    same_with(&cache, classifier, &other, 1);

    // Replaced in place: equal names, sizes and times.
    for split in ["train", "val"] {
        for class in ["bottom", "top"] {
            for entry in fs::read_dir(other.join(split).join(class)).unwrap() {
                let from = entry.unwrap().path();
                let to = one.join(split).join(class).join(from.file_name().unwrap());
                let modified = fs::metadata(&from).unwrap().modified().unwrap();
                fs::write(&to, fs::read(&from).unwrap()).unwrap();
                let file = fs::File::options().write(true).open(&to).unwrap();
                file.set_modified(modified).unwrap();
            }
        }
    }
    let before = chunks(&cache);
    same_with(&cache, classifier, &one, 1);
    assert_eq!(chunks(&cache), before, "the content was known already");

    // Some are known, some are not.
    draw(&one.join("train/top/00.bmp"), 1, 77);
    draw(&one.join("train/top/09.bmp"), 1, 78);
    same_with(&cache, classifier, &one, 1);
    assert!(chunks(&cache) > before);
}

#[test]
fn kept_features_are_those_of_the_live_weights() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let root = pictures(&folder.path().join("data"), 0);
    same_with(&cache, classifier, &root, 1);
    // One weight, and one running statistic, of a network that nobody gave a name.
    for name in ["backbone.layer2.0.conv1.weight", "backbone.bn1.running_var"] {
        let changed = || {
            let classifier = classifier();
            let mut values = state_dict::collect(&classifier);
            state_dict::assign(classifier.valid(), |found| {
                let mut tensor = values.remove(found)?.values;
                if found == name {
                    tensor[0] += 0.5;
                }
                Some(tensor)
            })
        };
        same_with(&cache, changed, &root, 1);
    }
    // The same weights by Burn's operations, which round otherwise.
    let by_burn = || {
        let classifier = classifier();
        Classifier {
            backbone: classifier.backbone.with_kernels(false),
            ..classifier
        }
    };
    same_with(&cache, by_burn, &root, 1);
}

#[test]
fn augmented_views_are_kept_by_place() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let root = pictures(&folder.path().join("data"), 0);
    same_with(&cache, classifier, &root, 3);
    // One in front: every other picture moves on by one, and is augmented otherwise.
    draw(&root.join("train/bottom/+.bmp"), 0, 55);
    same_with(&cache, classifier, &root, 3);
    // The same picture twice.
    fs::copy(root.join("train/top/01.bmp"), root.join("train/top/98.bmp")).unwrap();
    same_with(&cache, classifier, &root, 3);
}

/// Pictures are hashed as they are decoded: what stands in memory keeps the identity that it was decoded from.
#[test]
fn a_picture_that_changes_after_it_was_decoded_spoils_no_cache() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let root = pictures(&folder.path().join("data"), 0);
    let data = open(&root);
    features(classifier(), data.clone(), Cache::Memory, 1);
    draw(&root.join("train/top/00.bmp"), 0, 901);
    features(classifier(), data, Cache::Disk(cache.clone()), 1);
    same_with(&cache, classifier, &root, 1);
}

struct StopAfter(usize, Interrupt);

impl Observer for StopAfter {
    fn on_event(&mut self, event: &Event) {
        if let Event::EpochEnded { metrics } = event
            && metrics.epoch == self.0
        {
            self.1.request();
        }
    }
}

/// A run that was interrupted after its first epoch.
fn interrupted(root: &Path, path: &Path) {
    let interrupt = Interrupt::new();
    let fitted = Trainer::new(classifier(), open(root))
        .strategy(Strategy::FeatureExtraction)
        .recipe(recipe())
        .run_directory(path)
        .observer(StopAfter(1, interrupt.clone()))
        .interrupt(interrupt)
        .fit()
        .unwrap();
    assert_eq!(fitted.outcome.reason, EndReason::Interrupted);
}

fn resumed(
    root: &Path,
    path: &Path,
    accept: bool,
) -> Result<(Fitted<Network>, Vec<String>), TrainerError> {
    let mut events: Vec<Event> = Vec::new();
    let fitted = Trainer::new(classifier(), open(root))
        .accept_changed_data(accept)
        .observer(&mut events)
        .resume(path)?;
    let warnings = events.into_iter().filter_map(|event| match event {
        Event::Warning { message } => Some(message),
        _ => None,
    });
    Ok((fitted, warnings.collect()))
}

type Change = fn(&Path);

fn swap(a: &Path, b: &Path) {
    let aside = a.with_extension("aside");
    fs::rename(a, &aside).unwrap();
    fs::rename(b, a).unwrap();
    fs::rename(aside, b).unwrap();
}

/// Changes that make another data set, and what is said of each.
const CHANGES: [(&str, Change); 9] = [
    (
        "2 labels changed (train/bottom/00.bmp holds what was train/top/00.bmp",
        |root| {
            swap(
                &root.join("train/bottom/00.bmp"),
                &root.join("train/top/00.bmp"),
            );
        },
    ),
    ("12 labels changed", |root| {
        swap(&root.join("train/bottom"), &root.join("train/top"));
    }),
    ("8 labels changed (val/bottom/00.bmp", |root| {
        swap(&root.join("val/bottom"), &root.join("val/top"));
    }),
    (
        "1 picture moved (train/top/00.bmp is now train/top/77.bmp)",
        |root| {
            fs::rename(root.join("train/top/00.bmp"), root.join("train/top/77.bmp")).unwrap();
        },
    ),
    (
        "1 label changed (train/top/00.bmp is now train/bottom/77.bmp, was top",
        |root| {
            fs::rename(
                root.join("train/top/00.bmp"),
                root.join("train/bottom/77.bmp"),
            )
            .unwrap();
        },
    ),
    (
        "1 picture moved (train/top/00.bmp is now val/top/77.bmp)",
        |root| {
            fs::rename(root.join("train/top/00.bmp"), root.join("val/top/77.bmp")).unwrap();
        },
    ),
    ("1 picture added (val/top/77.bmp)", |root| {
        draw(&root.join("val/top/77.bmp"), 1, 4345);
    }),
    ("1 picture gone (train/top/00.bmp)", |root| {
        fs::remove_file(root.join("train/top/00.bmp")).unwrap();
    }),
    ("2 classes changed (top is gone; upper is new)", |root| {
        for split in ["train", "val"] {
            fs::rename(root.join(split).join("top"), root.join(split).join("upper")).unwrap();
        }
    }),
];

#[test]
fn a_run_is_not_resumed_on_other_data_unless_asked_to() {
    for (said, change) in CHANGES {
        let folder = tempfile::tempdir().unwrap();
        let root = pictures(&folder.path().join("data"), 0);
        let path = folder.path().join("run");
        interrupted(&root, &path);
        let before = fs::read(path.join("run.json")).unwrap();
        change(&root);
        let error = resumed(&root, &path, false).err().unwrap();
        assert!(matches!(error, TrainerError::ChangedData { .. }), "{error}");
        let message = error.to_string();
        assert!(message.contains(said), "{message}");
        assert!(message.contains("--accept-changed-data"), "{message}");
        assert_eq!(fs::read(path.join("run.json")).unwrap(), before);

        let (fitted, warnings) = resumed(&root, &path, true).unwrap();
        assert_eq!(fitted.outcome.epochs, 3);
        assert!(warnings[0].contains(said), "{warnings:?}");
        drop(fitted);
        // The record is about the data that it went on with, and says that there were others.
        let run = RunDirectory::open(&path).unwrap();
        let now = DataList::of(&open(&root));
        assert_eq!(run.record().identity(), Some(now.identity()));
        assert_eq!(run.data_list().unwrap(), Some(now.clone()));
        assert_eq!(run.classes().unwrap().classes, now.classes);
        let earlier = run.record().data["changes"][0]["what"].as_str().unwrap();
        assert!(earlier.contains(said), "{earlier}");
        let (_, warnings) = resumed(&root, &path, false).unwrap();
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn other_content_under_the_same_name_and_label_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let path = folder.path().join("run");
    interrupted(&root, &path);
    draw(&root.join("train/top/00.bmp"), 1, 4345);
    fs::write(root.join("train/top/01.bmp"), b"no picture").unwrap();
    let (fitted, warnings) = resumed(&root, &path, false).unwrap();
    assert_eq!(fitted.outcome.epochs, 3);
    let said = "2 pictures with other content (train/top/00.bmp; train/top/01.bmp)";
    assert!(warnings[0].contains(said), "{warnings:?}");
}

#[test]
fn another_number_of_classes_never_fits() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let path = folder.path().join("run");
    interrupted(&root, &path);
    for split in ["train", "val"] {
        fs::create_dir(root.join(split).join("side")).unwrap();
        draw(&root.join(split).join("side/0.bmp"), 0, 7);
    }
    for accept in [false, true] {
        let classifier =
            Classifier::new(classifier().backbone, 3, 0, &burn::tensor::Device::flex());
        let error = Trainer::new(classifier, open(&root))
            .accept_changed_data(accept)
            .resume(&path)
            .err()
            .unwrap();
        let message = error.to_string();
        assert!(
            message.contains("3 classes") && message.contains("side"),
            "{message}"
        );
    }
}

#[test]
fn a_moved_folder_is_the_same_data() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let path = folder.path().join("run");
    interrupted(&root, &path);
    let moved = folder.path().join("elsewhere");
    fs::rename(&root, &moved).unwrap();
    let (_, warnings) = resumed(&moved, &path, false).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
}

#[test]
fn a_run_of_an_earlier_version_is_resumed_with_a_word() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let path = folder.path().join("run");
    interrupted(&root, &path);
    fs::remove_file(path.join("data.jsonl")).unwrap();
    let record = path.join("run.json");
    let mut json: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    json["data"].as_object_mut().unwrap().remove("identity");
    json["weights"] = serde_json::Value::Null;
    fs::write(&record, json.to_string()).unwrap();
    let (fitted, warnings) = resumed(&root, &path, false).unwrap();
    assert_eq!(fitted.outcome.epochs, 3);
    assert!(
        warnings[0].contains("kept no list of its pictures"),
        "{warnings:?}"
    );
    drop(fitted);
    fs::remove_file(root.join("train/top/00.bmp")).unwrap();
    let message = resumed(&root, &path, false).err().unwrap().to_string();
    assert!(
        message.contains("train_images is 11, but was 12"),
        "{message}"
    );
}

#[test]
fn a_list_that_is_lost_is_said_where_it_would_be_needed() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let path = folder.path().join("run");
    interrupted(&root, &path);
    fs::remove_file(path.join("data.jsonl")).unwrap();
    draw(&root.join("train/top/00.bmp"), 1, 4345);
    let message = resumed(&root, &path, false).err().unwrap().to_string();
    assert!(message.contains("list is missing"), "{message}");
    draw(&root.join("train/top/00.bmp"), 1, 1);
    assert!(resumed(&root, &path, false).is_ok());
}

#[test]
fn other_weights_are_told_by_their_tensors() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let path = folder.path().join("run");
    interrupted(&root, &path);
    let classifier = classifier();
    let mut values = state_dict::collect(&classifier);
    let other = state_dict::assign(classifier.valid(), |name| {
        let mut tensor = values.remove(name)?.values;
        if name == "backbone.conv1.weight" {
            tensor[0] += 1e-3;
        }
        Some(tensor)
    });
    let error = Trainer::new(other, open(&root))
        .resume(&path)
        .err()
        .unwrap();
    assert!(error.to_string().contains("weights"), "{error}");
    assert_eq!(error.kind(), rekindle_imagefolder::ErrorKind::BadImages);
}

#[test]
fn the_list_is_what_other_programs_say_of_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    fs::write(root.join("train/top/00.bmp"), b"abc").unwrap();
    let list = DataList::of(&open(&root));
    let image = list.images.iter().find(|i| i.path == "top/00.bmp").unwrap();
    assert_eq!(
        (image.part, image.class.as_deref()),
        (Part::Train, Some("top"))
    );
    // As `sha256sum` says, and FIPS 180-4.
    assert_eq!(
        image.sha256.unwrap().to_string(),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(list.images.len(), 20);
    let memory = DataList::of(&crate::common::data());
    assert_eq!(memory.images[1].path, "#1");
    assert_eq!(
        memory.identity(),
        DataList::of(&crate::common::data()).identity()
    );
}

#[test]
fn a_picture_has_the_same_hash_from_either_reading() {
    let folder = tempfile::tempdir().unwrap();
    let root = pictures(&folder.path().join("data"), 0);
    let train = ImageFolder::open(root.join("train")).unwrap();
    let pipeline = rekindle_trainer::eval_pipeline(&preprocess());
    for cache in [0, 1 << 20] {
        let dataset = ImageDataset::new(&train, pipeline.clone())
            .unwrap()
            .cache_bytes(cache);
        let expected: Vec<_> = dataset.contents().into_iter().map(Result::unwrap).collect();
        for _ in 0..2 {
            let loader =
                rekindle_imagefolder::Loader::new(dataset.with_pipeline(pipeline.clone()).unwrap())
                    .hash_contents(true);
            let found: Vec<_> = loader
                .epoch(0)
                .flat_map(|batch| batch.unwrap().contents.unwrap())
                .collect();
            assert_eq!(found, expected);
        }
    }
}

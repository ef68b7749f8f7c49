//! Checks that the parts of a data set are found under their many names.

use std::fs;
use std::path::Path;

use rekindle_imagefolder::{Error, ImageFolder, Layout, LayoutKind, same_files};
use tempfile::{TempDir, tempdir};

use crate::made::{write, write_png};

/// A folder with these files, each a picture of its own.
fn made(files: &[&str]) -> TempDir {
    let dir = tempdir().unwrap();
    for (seed, file) in files.iter().enumerate() {
        write_png(dir.path().join(file), seed as u32);
    }
    dir
}

/// The kind of layout with its folders relative to the root, and what its text says after the root.
fn found(dir: &TempDir) -> (String, String) {
    let layout = Layout::find(dir.path()).unwrap();
    let within = |path: &Path| {
        let path = path.strip_prefix(dir.path()).unwrap();
        path.to_str().unwrap().replace('\\', "/")
    };
    let kind = match layout.kind() {
        LayoutKind::Parts { train, val } => format!("{} + {}", within(train), within(val)),
        LayoutKind::Training(train) => format!("{} + a share", within(train)),
        LayoutKind::Validation(val) => format!("nothing + {}", within(val)),
        LayoutKind::Classes => format!("classes in {}", within(layout.root())),
        LayoutKind::Flat => "flat".to_string(),
        LayoutKind::Domains(domains) => {
            let domains: Vec<String> = domains.iter().map(|domain| within(domain)).collect();
            format!("domains {}", domains.join(" "))
        }
        other => format!("{other:?}"),
    };
    let text = layout.to_string();
    (kind, text.split_once(": ").unwrap().1.to_string())
}

#[test]
fn parts_are_found_under_any_name_that_people_give_them() {
    for (train, val) in [
        ("train", "val"),
        ("training", "testing"),
        ("Training", "Testing"),
        ("Train", "Val"),
        ("TRAIN", "TEST"),
        ("training", "validation"),
        ("train", "dev"),
        ("train", "Validation"),
        ("trn", "tst"),
        ("train2017", "val2017"),
        ("Train_images", "Val_images"),
        ("training_set", "test_set"),
        ("seg_train", "seg_test"),
        ("archive/Training", "archive/Testing"),
        ("a/b/c/train", "a/b/c/eval"),
        ("training_set/training_set", "test_set/test_set"),
    ] {
        let files =
            [train, val].map(|part| [format!("{part}/cat/1.png"), format!("{part}/dog/1.png")]);
        let files: Vec<&str> = files.as_flattened().iter().map(String::as_str).collect();
        let dir = made(&files);
        let (kind, text) = found(&dir);
        assert_eq!(kind, format!("{train} + {val}"), "{text}");
        let (train, val) = ImageFolder::open_train_val(dir.path()).unwrap();
        assert_eq!(train.classes(), ["cat", "dog"]);
        assert_eq!((train.len(), val.len()), (2, 2));
    }
}

#[test]
fn what_is_left_alone_is_said() {
    let dir = made(&[
        "train/cat/1.png",
        "train/dog/1.png",
        "valid/cat/1.png",
        "test/cat/1.png",
        "unlabelled/1.png",
    ]);
    let (kind, text) = found(&dir);
    assert_eq!(kind, "train + valid");
    assert!(text.ends_with("left alone: test, unlabelled"), "{text}");

    // A part without class folders is none to measure by.
    let dir = made(&[
        "train/cat/1.png",
        "train/dog/1.png",
        "test/1.png",
        "test/2.png",
    ]);
    let (kind, text) = found(&dir);
    assert_eq!(kind, "train + a share");
    assert!(
        text.contains("left alone: test (no class folders)"),
        "{text}"
    );
    let layout = Layout::find(dir.path()).unwrap();
    assert!(layout.holds_out() && !layout.is_plain());
    assert_eq!(layout.open_training().unwrap().classes(), ["cat", "dog"]);
}

#[test]
fn a_folder_that_is_alone_is_looked_into() {
    let dir = made(&[
        "archive/cat/1.png",
        "archive/dog/1.png",
        "__MACOSX/archive/cat/._1.png",
        "__MACOSX/archive/cat/1.png",
        "@eaDir/1.png",
    ]);
    write(dir.path().join("annotations/cat.xml"), b"<x/>");
    let (kind, text) = found(&dir);
    assert_eq!(kind, "classes in archive");
    assert_eq!(text, "one folder per class; left alone: annotations");

    let (kind, text) = found(&made(&["train/cat/1.png", "train/dog/1.png"]));
    assert_eq!(kind, "train + a share");
    assert_eq!(text, "training images in train, no validation part");
    // One class is no way to somewhere else.
    assert_eq!(
        found(&made(&["cat/1.png", "cat/more/2.png"])).0,
        "classes in "
    );
    // An empty folder beside it is an empty class, and not nothing.
    let dir = made(&["cat/a/1.png", "cat/b/1.png"]);
    fs::create_dir(dir.path().join("dog")).unwrap();
    assert_eq!(found(&dir).0, "classes in ");
}

#[test]
fn classes_that_are_called_like_parts_stay_classes() {
    for (files, remark) in [
        (&["train/1.png", "bus/1.png", "car/1.png"][..], "train"),
        (&["valid/1.png", "invalid/1.png"], "valid"),
        (
            &["train/steam/1.png", "train/diesel/1.png", "bus/city/1.png"],
            "",
        ),
        (&["test_tube/1.png", "flask/1.png"], ""),
    ] {
        let (kind, text) = found(&made(files));
        assert_eq!(kind, "classes in ", "{files:?}");
        assert_eq!(
            text.contains("taken for a class"),
            !remark.is_empty(),
            "{text}"
        );
        assert!(text.contains(remark), "{text}");
    }
}

#[test]
fn a_split_that_cannot_be_told_is_an_error_that_names_the_folders() {
    let refused = |files: &[&str]| Layout::find(made(files).path()).unwrap_err();
    let error = refused(&[
        "train/cat/1.png",
        "train/dog/1.png",
        "rest/cat/1.png",
        "rest/dog/2.png",
    ]);
    assert!(matches!(error, Error::NoSplit { .. }), "{error}");
    let text = error.to_string();
    for part in ["rest, train", "val, valid, validation", "tst"] {
        assert!(text.contains(part), "{text}");
    }
    let error = refused(&[
        "train2014/cat/1.png",
        "train2017/cat/1.png",
        "val2017/cat/1.png",
    ]);
    assert!(matches!(error, Error::AmbiguousSplit { .. }));
    assert!(
        error.to_string().contains("train2014, train2017"),
        "{error}"
    );
    // The training classes lie beside a folder of tests.
    let error = refused(&["cat/1.png", "dog/1.png", "test/cat/1.png", "test/dog/2.png"]);
    assert!(
        error
            .to_string()
            .contains("test holds folders of the same names"),
        "{error}"
    );

    let dir = made(&["val/cat/1.png", "val/dog/1.png", "test/cat/1.png"]);
    let layout = Layout::find(dir.path()).unwrap();
    assert_eq!(found(&dir).0, "nothing + val");
    let error = layout.open_split(0.2, 0).unwrap_err().to_string();
    assert!(
        error.contains("test, val") && error.contains("train, training"),
        "{error}"
    );

    // Pictures right in the parts: no classes, and never the parts themselves.
    let dir = made(&["train/1.png", "train/2.png", "test/3.png"]);
    let layout = Layout::find(dir.path()).unwrap();
    assert!(matches!(
        layout.open_split(0.2, 0),
        Err(Error::NoClasses { images: 2, .. })
    ));
}

#[test]
fn domains_are_told_from_classes() {
    let mut files = Vec::new();
    for domain in ["amazon", "dslr", "webcam"] {
        for class in ["bike", "bottle", "mouse", "mug", "phone"] {
            files.push(format!("{domain}/{class}/1.png"));
        }
    }
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    let dir = made(&files);
    assert_eq!(found(&dir).0, "domains amazon dslr webcam");
    let layout = Layout::find(dir.path()).unwrap();
    let parts = layout.open_parts().unwrap();
    let names: Vec<&str> = parts.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["amazon", "dslr", "webcam"]);
    assert!(
        parts
            .iter()
            .all(|(_, part)| part.classes().len() == 5 && part.len() == 5)
    );
    let all = layout.open_all().unwrap();
    assert_eq!((all.classes().len(), all.class_counts()), (5, vec![3; 5]));
    let error = layout.open_split(0.2, 0).unwrap_err();
    assert!(matches!(error, Error::Domains { .. }));
    assert!(
        error.to_string().contains("amazon, dslr, webcam"),
        "{error}"
    );

    // A few shared folders, or numbered ones, may be anything: classes, as torchvision has it, and said.
    let views = [
        "cat/front/1.png",
        "cat/side/2.png",
        "dog/front/3.png",
        "dog/side/4.png",
    ];
    let (kind, text) = found(&made(&views));
    assert_eq!(kind, "classes in ");
    assert!(text.contains("each of them holds front, side"), "{text}");
}

#[test]
fn all_parts_together_have_the_labels_of_their_classes() {
    let dir = made(&["Train/cat/1.png", "Train/dog/1.png", "Val/dog/2.png"]);
    let all = Layout::find(dir.path()).unwrap().open_all().unwrap();
    assert_eq!(all.classes(), ["cat", "dog"]);
    let labels: Vec<_> = all.samples().iter().map(|sample| sample.label).collect();
    assert_eq!(labels, [Some(0), Some(1), Some(1)]);
}

#[test]
fn leftovers_of_systems_are_no_pictures() {
    let dir = made(&["ants/1.png", "bees/1.png"]);
    for leftover in [
        "@eaDir/1.png",
        "ants/@eaDir/1.png/SYNOPHOTO_THUMB_M.jpg",
        "#recycle/1.png",
        "__MACOSX/ants/._1.png",
        "lost+found/1.png",
        "$Recycle.Bin/S-1-5/$R1.png",
        "System Volume Information/1.png",
        ".@__thumb/1.png",
        ".thumbnails/1.png",
        ".Trash-1000/files/1.png",
        "bees/.ipynb_checkpoints/1-checkpoint.png",
        "bees/._1.png",
        "bees/.DS_Store",
        "bees/Thumbs.db",
        "desktop.ini",
    ] {
        write_png(dir.path().join(leftover), 9);
    }
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(
        (folder.classes(), folder.len()),
        (&["ants", "bees"].map(String::from)[..], 2)
    );
    assert_eq!(ImageFolder::flat(dir.path()).unwrap().len(), 2);
    assert!(Layout::find(dir.path()).unwrap().is_plain());
    assert!(
        folder
            .ignored()
            .iter()
            .any(|left| left.path.ends_with("@eaDir"))
    );
}

#[test]
fn the_same_bytes_in_other_parts_and_classes_are_found() {
    let dir = made(&[
        "train/ants/0.png",
        "train/ants/1.png",
        "train/bees/2.png",
        "val/ants/3.png",
        "val/bees/4.png",
    ]);
    let at = |name: &str| dir.path().join(name);
    let copy = |from: &str, to: &str| {
        fs::copy(at(from), at(to)).unwrap();
    };
    copy("train/ants/0.png", "val/ants/leak.png");
    copy("train/ants/1.png", "train/bees/conflict.png");
    copy("train/bees/2.png", "train/bees/twin.png"); // Nothing to say about that one.
    // Of one size and with one end, but different.
    for (name, first) in [("train/ants/a.bmp", 1), ("val/ants/a.bmp", 2)] {
        write(at(name), &[&[first][..], &[0; 9000]].concat());
    }
    let (train, val) = ImageFolder::open_train_val(dir.path()).unwrap();
    let same = same_files(&[("train", &train), ("val", &val)]);
    let told: Vec<(bool, bool, usize)> = same
        .iter()
        .map(|found| {
            (
                found.across_splits,
                found.conflicting_labels,
                found.files.len(),
            )
        })
        .collect();
    assert_eq!(told, [(true, false, 2), (false, true, 2)]);
    assert!(same[0].files[1].path.ends_with("val/ants/leak.png"));
}

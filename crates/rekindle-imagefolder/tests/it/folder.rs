//! Checks which files belong to a folder.

use std::fs;

use rekindle_imagefolder::{Error, ImageFolder, ScanOptions, class_weights};
use tempfile::tempdir;

use crate::made::{write, write_png};

fn names(folder: &ImageFolder) -> Vec<String> {
    let root = folder.root();
    folder
        .samples()
        .iter()
        .map(|s| {
            s.path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/")
        })
        .collect()
}

#[test]
fn order_is_torchvisions() {
    let dir = tempdir().unwrap();
    // Python's order: classes by code point (capitals first), then folders by their whole path
    // ('-' sorts before '/'), then names; the folder's own files come before those further down.
    for file in [
        "bees/z.jpg",
        "bees/a/9.png",
        "bees/a-b/1.png",
        "bees/a/10.PNG",
        "Wasps/x.WebP",
        "bees/b.jpeg",
        "ants/é.ppm",
        "ants/z.tiff",
        "ants/e.bmp",
        "bees/a/x/1.png",
    ] {
        write(dir.path().join(file), b"x");
    }
    write(dir.path().join("README.md"), b"x");
    write(dir.path().join("bees/animation.gif"), b"x");
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["Wasps", "ants", "bees"]);
    assert_eq!(
        names(&folder),
        [
            "Wasps/x.WebP",
            "ants/e.bmp",
            "ants/z.tiff",
            "ants/é.ppm",
            "bees/b.jpeg",
            "bees/z.jpg",
            "bees/a/10.PNG",
            "bees/a/9.png",
            "bees/a-b/1.png",
            "bees/a/x/1.png",
        ]
    );
    let labels: Vec<_> = folder.samples().iter().map(|s| s.label.unwrap()).collect();
    assert_eq!(labels, [0, 1, 1, 1, 2, 2, 2, 2, 2, 2]);
    assert_eq!(folder.class_counts(), [1, 3, 6]);
    let ignored: Vec<_> = folder
        .ignored()
        .iter()
        .map(|i| i.path.file_name().unwrap().to_str().unwrap().to_string())
        .collect();
    assert_eq!(ignored, ["README.md", "animation.gif"]);
}

#[test]
fn an_empty_class_is_an_error_unless_allowed() {
    let dir = tempdir().unwrap();
    write_png(dir.path().join("ants/1.png"), 1);
    fs::create_dir(dir.path().join("bees")).unwrap();
    let error = ImageFolder::open(dir.path()).unwrap_err();
    assert!(
        matches!(&error, Error::EmptyClass { classes, .. } if classes == &["bees"]),
        "{error}"
    );
    let options = ScanOptions {
        allow_empty: true,
        ..ScanOptions::default()
    };
    let folder = ImageFolder::open_with(dir.path(), &options).unwrap();
    assert_eq!(folder.class_counts(), [1, 0]);
}

#[test]
fn wrong_folders_are_told_apart() {
    let dir = tempdir().unwrap();
    let missing = ImageFolder::open(dir.path().join("nowhere")).unwrap_err();
    assert!(matches!(missing, Error::FolderNotFound { .. }));
    assert!(matches!(
        ImageFolder::open(dir.path()),
        Err(Error::NoClasses { images: 0, .. })
    ));
    write_png(dir.path().join("1.png"), 1);
    assert!(matches!(
        ImageFolder::open(dir.path()),
        Err(Error::NoClasses { images: 1, .. })
    ));
    assert!(matches!(
        ImageFolder::open(dir.path().join("1.png")),
        Err(Error::FolderNotFound { .. })
    ));
    fs::create_dir(dir.path().join("class")).unwrap();
    assert!(matches!(
        ImageFolder::open(dir.path()),
        Err(Error::NoImages { .. })
    ));
}

#[test]
fn a_flat_folder_has_no_labels() {
    let dir = tempdir().unwrap();
    write_png(dir.path().join("b.png"), 1);
    write_png(dir.path().join("a.png"), 2);
    let folder = ImageFolder::open_any(dir.path()).unwrap();
    assert_eq!(names(&folder), ["a.png", "b.png"]);
    assert!(folder.samples().iter().all(|s| s.label.is_none()) && folder.classes().is_empty());
    write_png(dir.path().join("class/c.png"), 3);
    let folder = ImageFolder::open_any(dir.path()).unwrap();
    assert_eq!(names(&folder), ["class/c.png"]);
    assert_eq!(folder.ignored().len(), 2);
}

#[test]
fn hidden_leftovers_are_listed_and_can_be_taken() {
    let dir = tempdir().unwrap();
    write_png(dir.path().join("ants/1.png"), 1);
    write_png(dir.path().join("ants/._1.png"), 1);
    write_png(dir.path().join(".ipynb_checkpoints/1.png"), 1);
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(
        (folder.classes().len(), folder.len(), folder.ignored().len()),
        (1, 1, 2)
    );
    let options = ScanOptions {
        hidden: true,
        ..ScanOptions::default()
    };
    let folder = ImageFolder::open_with(dir.path(), &options).unwrap();
    assert_eq!((folder.classes().len(), folder.len()), (2, 3));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_circles_end() {
    use std::os::unix::fs::symlink;
    let dir = tempdir().unwrap();
    let elsewhere = tempdir().unwrap();
    write_png(elsewhere.path().join("far.png"), 1);
    write_png(dir.path().join("ants/near.png"), 2);
    symlink(elsewhere.path(), dir.path().join("bees")).unwrap();
    symlink(
        dir.path().join("ants/near.png"),
        dir.path().join("ants/twin.png"),
    )
    .unwrap();
    symlink(dir.path(), dir.path().join("ants/up")).unwrap();
    symlink(dir.path().join("ants"), dir.path().join("ants/self")).unwrap();
    symlink("nowhere", dir.path().join("ants/broken.png")).unwrap();
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.classes(), ["ants", "bees"]);
    let names = names(&folder);
    for expected in [
        "ants/near.png",
        "ants/twin.png",
        "ants/broken.png",
        "bees/far.png",
    ] {
        assert!(
            names.iter().any(|n| n == expected),
            "{expected} in {names:?}"
        );
    }
    assert!(
        folder
            .ignored()
            .iter()
            .any(|i| i.reason.contains("link back"))
    );
    assert!(folder.len() < 20);
}

#[test]
fn validation_takes_the_training_folders_classes() {
    let dir = tempdir().unwrap();
    for file in [
        "train/a/1.png",
        "train/b/1.png",
        "train/c/1.png",
        "val/b/2.png",
    ] {
        write_png(dir.path().join(file), 1);
    }
    let (train, val) = ImageFolder::open_train_val(dir.path()).unwrap();
    assert_eq!(train.classes(), val.classes());
    assert_eq!(val.samples()[0].label, Some(1));
    write_png(dir.path().join("val/typo/2.png"), 1);
    let error = ImageFolder::open_train_val(dir.path()).unwrap_err();
    assert!(
        matches!(&error, Error::UnknownClasses { unknown, .. } if unknown == &["typo"]),
        "{error}"
    );
    assert!(matches!(
        ImageFolder::open_train_val(dir.path().join("train")),
        Err(Error::NoSplit { .. })
    ));
}

#[test]
fn a_split_is_stratified_seeded_and_complete() {
    let dir = tempdir().unwrap();
    for (class, count) in [("a", 20), ("b", 10), ("c", 2), ("d", 1)] {
        for i in 0..count {
            write(dir.path().join(format!("{class}/{i:02}.png")), b"x");
        }
    }
    let folder = ImageFolder::open(dir.path()).unwrap();
    let (train, val) = folder.split(0.2, 7).unwrap();
    assert_eq!(val.class_counts(), [4, 2, 1, 0]);
    assert_eq!(train.class_counts(), [16, 8, 1, 1]);
    let mut both = [names(&train), names(&val)].concat();
    both.sort();
    assert_eq!(both, names(&folder));
    assert_eq!(folder.split(0.2, 7).unwrap(), (train.clone(), val));
    assert_ne!(folder.split(0.2, 8).unwrap().0, train);
    for fraction in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(matches!(
            folder.split(fraction, 7),
            Err(Error::InvalidOption { .. })
        ));
    }
}

#[test]
fn class_weights_make_up_for_counts() {
    // 30 images in 2 classes with images: 30 / (2 * 10), 30 / (2 * 20)
    assert_eq!(class_weights(&[10, 20, 0]), [1.5, 0.75, 0.0]);
}

//! Names of any bytes, and names that only look the same.

use std::path::PathBuf;

use rekindle_imagefolder::{
    DecodeOptions, Error, ImageDataset, ImageFolder, Loader, OnBadFile, Pipeline, Preprocess,
    decode_file,
};
use tempfile::tempdir;

use crate::made::{write, write_png};

const POINTER: &[u8] =
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935\nsize 104211\n";

#[cfg(unix)]
#[test]
fn classes_and_files_of_any_bytes_are_told_apart_and_read_back() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let dir = tempdir().unwrap();
    let at = |name: &[u8]| dir.path().join(OsStr::from_bytes(name));
    for (seed, name) in [&b"t\xe9/1.png"[..], b"t\xe8/caf\xe9.png", b"the/1.png"]
        .iter()
        .enumerate()
    {
        write_png(at(name), seed as u32);
    }
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(
        folder.classes(),
        ["the", r"t\xe8", r"t\xe9"].map(String::from).sorted()
    );
    assert_eq!(folder.class_counts(), [1, 1, 1]);
    let json = serde_json::to_string(&folder).unwrap();
    assert!(json.contains(r"t\\xe8/caf\\xe9.png"), "{json}");
    assert_eq!(serde_json::from_str::<ImageFolder>(&json).unwrap(), folder);
    let error = decode_file(&at(b"t\xe8/none\xe9.png"), &DecodeOptions::default()).unwrap_err();
    assert!(error.to_string().contains(r"none\xe9.png"), "{error}");
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for [String; 3] {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}

#[test]
fn composed_and_decomposed_accents_are_one_class() {
    let dir = tempdir().unwrap();
    for name in [
        "train/caf\u{e9}/1.png",
        "train/tea/2.png",
        "val/cafe\u{301}/3.png",
        "val/tea/4.png",
    ] {
        write_png(dir.path().join(name), 1);
    }
    let (train, val) = ImageFolder::open_train_val(dir.path()).unwrap();
    assert_eq!((train.classes(), train.len()), (val.classes(), val.len()));
    assert_eq!(val.class_counts(), [1, 1]);

    // Beside each other they are two names that nobody can tell apart.
    write_png(dir.path().join("val/caf\u{e9}/3.png"), 1);
    let error = ImageFolder::open(dir.path().join("val")).unwrap_err();
    assert!(matches!(error, Error::SameSpelling { .. }));
    let text = error.to_string();
    assert!(
        text.contains(r"caf\u{e9}") && text.contains(r"cafe\u{301}"),
        "{text}"
    );
}

#[test]
fn pointers_are_called_so() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("a.jpg");
    write(&path, POINTER);
    let error = decode_file(&path, &DecodeOptions::default()).unwrap_err();
    assert!(error.is_bad_file() && error.bad_file() == Some(path.as_path()));
    let text = error.to_string();
    assert!(
        text.contains("104211 bytes") && text.contains("git lfs pull"),
        "{text}"
    );
    #[cfg(unix)]
    {
        let link = dir.path().join("b.jpg");
        std::os::unix::fs::symlink(".git/annex/objects/x/y/SHA256E-s1--0.jpg", &link).unwrap();
        let error = decode_file(&link, &DecodeOptions::default()).unwrap_err();
        assert!(error.to_string().contains("git annex get"), "{error}");
    }
}

#[test]
fn files_of_batches_that_do_not_come_are_told_with_the_next_or_at_the_end() {
    let dir = tempdir().unwrap();
    for name in ["a/0.png", "a/1.png", "a/3.png", "a/4.png", "a/5.png"] {
        write(dir.path().join(name), b"no picture");
    }
    write_png(dir.path().join("a/2.png"), 1);
    let folder = ImageFolder::open(dir.path()).unwrap();
    for workers in [0, 2] {
        let dataset = ImageDataset::new(
            &folder,
            Pipeline::imagenet_eval(&Preprocess {
                resize: 9,
                crop: 8,
                ..Preprocess::IMAGENET
            }),
        );
        let loader = Loader::new(dataset.unwrap())
            .batch_size(2)
            .workers(workers)
            .on_bad_file(OnBadFile::Skip);
        let mut epoch = loader.epoch(0);
        let batch = epoch.next().unwrap().unwrap();
        let skipped: Vec<usize> = batch.skipped.iter().map(|file| file.index).collect();
        assert_eq!((batch.indices, skipped), (vec![2], vec![0, 1, 3]));
        assert!(epoch.next().is_none());
        let rest: Vec<PathBuf> = epoch
            .take_skipped()
            .into_iter()
            .map(|file| file.path)
            .collect();
        assert_eq!(
            rest,
            ["a/4.png", "a/5.png"].map(|name| dir.path().join(name))
        );
        assert!(epoch.take_skipped().is_empty());
    }
}

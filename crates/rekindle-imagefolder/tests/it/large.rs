//! A folder that is too large to look at: a million paths.

use std::fs;
use std::path::Path;
use std::time::Instant;

use image::{ImageFormat, RgbImage};
use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, Pipeline, Preprocess};

use crate::made::encode;

const CLASSES: usize = 1000;
const FILES: usize = 1000;

/// The scan of a million paths, a seeded split, and the first batches in a shuffled order.
///
/// File systems limit how often a file may be linked, so each class has one picture under all its names.
#[test]
#[ignore = "makes a million names in the temporary folder, minutes"]
fn a_million_paths_scan_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    for class in 0..CLASSES {
        make_class(&folder.path().join(format!("class-{class:04}")), class);
    }
    let peak = || test_support::memory("VmHWM").unwrap_or(0) as usize;
    let before = peak();
    let begun = Instant::now();
    let scanned = ImageFolder::open(folder.path()).unwrap();
    let scan = begun.elapsed();
    assert_eq!(scanned.len(), CLASSES * FILES);
    let (train, val) = scanned.split(0.1, 0).unwrap();
    assert_eq!(train.len() + val.len(), CLASSES * FILES);
    let pipeline = Pipeline::imagenet_train(&Preprocess {
        crop: 32,
        ..Preprocess::IMAGENET
    });
    let loader = Loader::new(ImageDataset::new(&train, pipeline).unwrap()).shuffle(0);
    let mut batches = loader.epoch(0);
    assert_eq!(batches.next().unwrap().unwrap().len(), 32);
    println!(
        "scan {scan:.1?}, to the first batch {:.1?}",
        begun.elapsed()
    );
    for _ in 0..100 {
        batches.next().unwrap().unwrap();
    }
    let bytes_a_path = (peak() - before) / (CLASSES * FILES);
    println!("{bytes_a_path} bytes a path at most");
    assert!(bytes_a_path < 1000, "{bytes_a_path}");
}

fn make_class(folder: &Path, class: usize) {
    fs::create_dir(folder).unwrap();
    let picture = RgbImage::from_pixel(4, 4, image::Rgb([(class % 256) as u8, 100, 200]));
    let first = folder.join("0000.png");
    fs::write(&first, encode(picture, ImageFormat::Png)).unwrap();
    for number in 1..FILES {
        fs::hard_link(&first, folder.join(format!("{number:04}.png"))).unwrap();
    }
}

//! Against Pillow's pixels: of drawings, kept in `tests/reference`, and of photographs in the optional `../shared`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use image::{ImageFormat, RgbImage};
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{
    DecodeOptions, ImageDataset, ImageFolder, Interpolation, Loader, Pipeline, Preprocess,
    Transform, decode_file, verify,
};
use test_support::{Reference, reference, reference_path, shared};

use crate::made::{drawing, encode, waves, write};

/// Grey levels by which a resize may differ from Pillow's on the same pixels: at most, and on average.
const RESIZE_WITHIN: (u8, f64) = (1, 0.02);
/// The same of drawings, some of which show 20 x 20 pixels alone.
const DRAWING_WITHIN: (u8, f64) = (2, 0.04);
/// The same of the nearest pixel: where the centre of a target pixel falls between two of the source, Pillow's running sum
/// of steps may take the other, which is a column or row of a picture at most.
const NEAREST_WITHIN: (u8, f64) = (255, 0.5);

type Pictures = BTreeMap<String, BTreeMap<String, RgbImage>>;

/// The pictures of a file of numbers, by source and by what was done.
fn pictures(numbers: &Reference) -> Pictures {
    let mut files = Pictures::new();
    for name in numbers.names() {
        let (file, what) = name.split_once('|').unwrap();
        let (shape, pixels) = numbers.bytes(&name);
        let picture = RgbImage::from_raw(shape[1] as u32, shape[0] as u32, pixels).unwrap();
        files
            .entry(file.to_string())
            .or_default()
            .insert(what.to_string(), picture);
    }
    files
}

/// Photographs by Pillow, and the folder that they are in.
fn photographs() -> Option<(Pictures, PathBuf)> {
    let path = shared("reference/preprocess.safetensors")?;
    Some((
        pictures(&Reference::open(&path)),
        shared("data/hymenoptera")?,
    ))
}

/// Does to `decoded` what the key says.
fn redo(decoded: &RgbImage, what: &str) -> RgbImage {
    let mut rng = SampleRng::keyed(0, Stream::User, &[]);
    let number = |text: &str, key: &str| -> u32 {
        let rest = &text[text.rfind(key).unwrap() + key.len()..];
        rest.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
            .parse()
            .unwrap()
    };
    let interpolation = match what.rsplit('_').next() {
        Some("bicubic") => Interpolation::Bicubic,
        Some("lanczos") => Interpolation::Lanczos,
        Some("nearest") => Interpolation::Nearest,
        _ => Interpolation::Bilinear,
    };
    if what.starts_with("resize") {
        return Pipeline::new([
            Transform::Resize {
                size: number(what, "resize"),
                interpolation,
            },
            Transform::CenterCrop {
                size: number(what, "center"),
            },
        ])
        .apply_to_pixels(decoded, &mut rng);
    }
    let (top, left) = (number(what, "top"), number(what, "left"));
    let (height, width) = (number(what, "height"), number(what, "width"));
    // The crop first, as its own image: nothing outside may be seen. RandomResizedCrop itself is
    // forced to this box by a range of one area and one ratio on an image of the box's size.
    let part = image::imageops::crop_imm(decoded, left, top, width, height).to_image();
    let size = number(what, "_to");
    let ratio = f64::from(width) / f64::from(height);
    Pipeline::new([Transform::RandomResizedCrop {
        size,
        scale: (1.0, 1.0),
        ratio: (ratio, ratio),
        interpolation,
    }])
    .apply_to_pixels(&part, &mut rng)
}

struct Difference {
    most: u8,
    mean: f64,
}

fn difference(a: &RgbImage, b: &RgbImage) -> Difference {
    assert_eq!(a.dimensions(), b.dimensions());
    let distances = a
        .as_raw()
        .iter()
        .zip(b.as_raw())
        .map(|(a, b)| a.abs_diff(*b));
    let most = distances.clone().max().unwrap();
    let mean = distances.map(f64::from).sum::<f64>() / a.as_raw().len() as f64;
    Difference { most, mean }
}

#[test]
fn resizing_drawings_agrees_with_pillow_within_two_grey_levels() {
    let mut checked = 0;
    for (source, pictures) in pictures(&reference("pixels.safetensors")) {
        let Some(size) = source.strip_prefix("drawing") else {
            continue;
        };
        let (width, height) = size.split_once('x').unwrap();
        let drawn = drawing(width.parse().unwrap(), height.parse().unwrap());
        checked += compare_resized(&source, &drawn, &pictures, DRAWING_WITHIN);
    }
    assert_eq!(checked, 27);
}

#[test]
fn resizing_photographs_agrees_with_pillow_within_one_grey_level() {
    let Some((photographs, _)) = photographs() else {
        return;
    };
    let mut checked = 0;
    for (file, pictures) in photographs {
        if let Some(decoded) = pictures.get("decoded") {
            checked += compare_resized(&file, decoded, &pictures, RESIZE_WITHIN);
        }
    }
    assert_eq!(checked, 12);
}

/// Compares everything that was done to a picture; returns how many things these were.
fn compare_resized(
    source: &str,
    picture: &RgbImage,
    pictures: &BTreeMap<String, RgbImage>,
    within: (u8, f64),
) -> usize {
    let resized = pictures.iter().filter(|(what, _)| *what != "decoded");
    let mut checked = 0;
    for (what, expected) in resized {
        let within = match what.ends_with("nearest") {
            true => NEAREST_WITHIN,
            false => within,
        };
        let d = difference(&redo(picture, what), expected);
        println!("{source} {what}: at most {}, mean {:.5}", d.most, d.mean);
        assert!(
            d.most <= within.0 && d.mean <= within.1,
            "{source} {what}: {} {}",
            d.most,
            d.mean
        );
        checked += 1;
    }
    checked
}

#[test]
fn small_jpegs_are_decoded_and_resized_as_by_pillow() {
    let mut checked = 0;
    for (file, pictures) in pictures(&reference("pixels.safetensors")) {
        if !file.ends_with(".jpg") {
            continue;
        }
        let path = reference_path("pictures").join(&file);
        checked += compare_decoded(&file, &path, &pictures);
    }
    assert_eq!(checked, 24);
}

#[test]
fn photographs_are_decoded_and_resized_as_by_pillow() {
    let Some((photographs, folder)) = photographs() else {
        return;
    };
    let mut checked = 0;
    for (file, pictures) in photographs {
        checked += compare_decoded(&file, &folder.join(&file), &pictures);
    }
    assert_eq!(checked, 51);
}

/// Holds every pixel against the checksums that `tests/reference/decoded.py` wrote.
#[test]
fn photographs_are_decoded_bit_for_bit_as_by_pillow() {
    let Some(folder) = shared("data") else {
        return;
    };
    let listed = std::fs::read_to_string(reference_path("decoded.json")).unwrap();
    let listed: BTreeMap<String, [u32; 3]> = serde_json::from_str(&listed).unwrap();
    let others: Vec<&String> = listed
        .iter()
        .filter(|(file, [width, height, checksum])| {
            let ours = decode_file(&folder.join(file), &DecodeOptions::default()).unwrap();
            let found = crc32fast::hash(ours.as_raw());
            (ours.width(), ours.height(), found) != (*width, *height, *checksum)
        })
        .map(|(file, _)| file)
        .collect();
    assert!(
        others.is_empty(),
        "{} of {}: {others:?}",
        others.len(),
        listed.len()
    );
}

/// Compares a file as we decode it, as it is and resized; returns how many pictures these were.
fn compare_decoded(file: &str, path: &Path, pictures: &BTreeMap<String, RgbImage>) -> usize {
    let ours = decode_file(path, &DecodeOptions::default()).unwrap();
    let decoded = pictures.get("decoded").map_or(0, |expected| {
        let d = difference(&ours, expected);
        assert_eq!(d.most, 0, "{file} decoded: mean {:.4}", d.mean);
        1
    });
    decoded + compare_resized(file, &ours, pictures, DRAWING_WITHIN)
}

#[test]
fn hymenoptera_has_the_tutorials_images() {
    let Some(folder) = shared("data/hymenoptera") else {
        return;
    };
    let (train, val) = ImageFolder::open_train_val(folder).unwrap();
    assert_eq!(train.classes(), ["ants", "bees"]);
    assert_eq!(
        (train.class_counts(), val.class_counts()),
        (vec![123, 121], vec![70, 83])
    );
    let gif = train
        .ignored()
        .iter()
        .filter(|i| i.path.extension().is_some_and(|e| e == "gif"));
    assert_eq!(gif.count(), 1);
    let options = DecodeOptions {
        strict: true,
        ..DecodeOptions::default()
    };
    let report = verify(&[("train", &train), ("val", &val)], &options, |_, _| {});
    assert_eq!(report.checked, 397);
    assert_eq!(report.bad, []);
    println!(
        "{} groups of equal images, {} across the splits",
        report.duplicates.len(),
        report.leaks().count()
    );
}

/// Images per second of the tutorial's training pipeline: `cargo test --test it throughput --
/// --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn throughput() {
    let Some(folder) = shared("data/hymenoptera") else {
        return;
    };
    let (train, _) = ImageFolder::open_train_val(folder).unwrap();
    let start = Instant::now();
    for sample in train.samples() {
        decode_file(&sample.path, &DecodeOptions::default()).unwrap();
    }
    println!(
        "decoding alone: {:.0} images/s",
        train.len() as f64 / start.elapsed().as_secs_f64()
    );
    let pipeline = Pipeline::imagenet_train(&Preprocess::IMAGENET);
    for (workers, cache) in [(0, 0), (1, 0), (2, 0), (0, 1 << 30), (2, 1 << 30)] {
        let dataset = ImageDataset::new(&train, pipeline.clone())
            .unwrap()
            .cache_bytes(cache);
        let loader = Loader::new(dataset)
            .batch_size(4)
            .workers(workers)
            .shuffle(0);
        // The first epoch fills the cache and the page cache.
        for epoch in 0..3 {
            let start = Instant::now();
            let images: usize = loader.epoch(epoch).map(|batch| batch.unwrap().len()).sum();
            let rate = images as f64 / start.elapsed().as_secs_f64();
            println!("{workers} workers, cache {cache}, epoch {epoch}: {rate:.0} images/s");
        }
    }
}

/// Photographs of about 500 x 375 cropped to 32 and 64: decoded at a quarter or a half.
#[test]
fn photographs_at_reduced_scale_stay_within_the_tolerance() {
    let Some(folder) = shared("data/hymenoptera") else {
        return;
    };
    let (_, val) = ImageFolder::open_train_val(folder).unwrap();
    for size in [32, 64] {
        let means = reduced_against_full(&val, size);
        assert!(means.len() > 20, "{}", means.len());
    }
}

/// The same of drawings.
#[test]
fn drawings_at_reduced_scale_stay_within_the_tolerance() {
    let folder = tempfile::tempdir().unwrap();
    for (number, (width, height)) in [(500, 375), (375, 500), (640, 480)].into_iter().enumerate() {
        let jpeg = encode(waves(width, height), ImageFormat::Jpeg);
        write(folder.path().join(format!("a/{number}.jpg")), &jpeg);
    }
    let folder = ImageFolder::open(folder.path()).unwrap();
    for size in [32, 64] {
        assert!(!reduced_against_full(&folder, size).is_empty());
    }
}

/// Mean grey levels between pictures decoded at a reduced scale and in full, cropped for training to `size`;
/// the median is held below 1.5, the worst below 6.
fn reduced_against_full(folder: &ImageFolder, size: usize) -> Vec<f64> {
    let pipeline = Pipeline::imagenet_train(&Preprocess {
        crop: size,
        ..Preprocess::IMAGENET
    });
    let reduced = ImageDataset::new(folder, pipeline.clone()).unwrap();
    let full = ImageDataset::new(folder, pipeline)
        .unwrap()
        .decode_options(DecodeOptions {
            reduced_scale: false,
            ..DecodeOptions::default()
        });
    let mut means = Vec::new();
    for index in 0..folder.len() {
        let a = reduced.render_pixels(index, 0, 0, 0).unwrap();
        let d = difference(&a, &full.render_pixels(index, 0, 0, 0).unwrap());
        if d.mean > 0.0 {
            means.push(d.mean);
        }
    }
    means.sort_by(f64::total_cmp);
    let (median, worst) = (means[means.len() / 2], means[means.len() - 1]);
    println!(
        "crop {size}: {} of {} reduced, mean {median:.3} in the median, {worst:.3} at worst",
        means.len(),
        folder.len()
    );
    assert!(median < 1.5 && worst < 6.0, "{median} {worst}");
    means
}

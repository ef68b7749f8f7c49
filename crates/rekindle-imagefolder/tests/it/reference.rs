//! Against Pillow's pixels in `shared/reference/preprocess.safetensors`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

use image::RgbImage;
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{
    DecodeOptions, IMAGENET_MEAN, IMAGENET_STD, ImageDataset, ImageFolder, Loader, Pipeline,
    Transform, decode_file, verify,
};
use safetensors::SafeTensors;

fn shared() -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    if path.join("reference").is_dir() && path.join("data").is_dir() {
        return Some(path);
    }
    println!("skipped: {} is absent", path.display());
    None
}

/// The pictures by file and by what was done.
fn reference(shared: &std::path::Path) -> BTreeMap<String, BTreeMap<String, RgbImage>> {
    let bytes = std::fs::read(shared.join("reference/preprocess.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut files: BTreeMap<String, BTreeMap<String, RgbImage>> = BTreeMap::new();
    for (name, tensor) in tensors.tensors() {
        let (file, what) = name.split_once('|').unwrap();
        let (height, width) = (tensor.shape()[0] as u32, tensor.shape()[1] as u32);
        let picture = RgbImage::from_raw(width, height, tensor.data().to_vec()).unwrap();
        files
            .entry(file.to_string())
            .or_default()
            .insert(what.to_string(), picture);
    }
    files
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
    if what.starts_with("resize") {
        return Pipeline::new([
            Transform::Resize {
                size: number(what, "resize"),
                interpolation: Default::default(),
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
        interpolation: Default::default(),
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
fn resizing_pillows_own_pixels_agrees_within_one_grey_level() {
    let Some(shared) = shared() else { return };
    let mut checked = 0;
    let (mut most, mut worst_mean) = (0, 0.0_f64);
    for (file, pictures) in reference(&shared) {
        let Some(decoded) = pictures.get("decoded") else {
            continue;
        };
        for (what, expected) in pictures.iter().filter(|(what, _)| *what != "decoded") {
            let d = difference(&redo(decoded, what), expected);
            println!("{file} {what}: at most {}, mean {:.5}", d.most, d.mean);
            assert!(
                d.most <= 1 && d.mean <= 0.2,
                "{file} {what}: {} {}",
                d.most,
                d.mean
            );
            most = most.max(d.most);
            worst_mean = worst_mean.max(d.mean);
            checked += 1;
        }
    }
    assert_eq!(checked, 12);
    println!("resize: at most {most} grey levels, mean at worst {worst_mean:.5}");
}

#[test]
fn our_decoder_and_resize_stay_near_pillows() {
    let Some(shared) = shared() else { return };
    let data = shared.join("data/hymenoptera");
    let (mut decoder_most, mut decoder_mean) = (0, 0.0_f64);
    let (mut most, mut worst_mean, mut checked) = (0, 0.0_f64, 0);
    for (file, pictures) in reference(&shared) {
        let ours = decode_file(&data.join(&file), &DecodeOptions::default()).unwrap();
        for (what, expected) in &pictures {
            if what == "decoded" {
                let d = difference(&ours, expected);
                println!("{file} decoded: at most {}, mean {:.4}", d.most, d.mean);
                decoder_most = decoder_most.max(d.most);
                decoder_mean = decoder_mean.max(d.mean);
                continue;
            }
            let d = difference(&redo(&ours, what), expected);
            println!("{file} {what}: at most {}, mean {:.4}", d.most, d.mean);
            most = most.max(d.most);
            worst_mean = worst_mean.max(d.mean);
            checked += 1;
        }
    }
    println!("decoder alone: at most {decoder_most}, mean at worst {decoder_mean:.4}");
    println!(
        "decoder and resize: at most {most}, mean at worst {worst_mean:.4}, {checked} pictures"
    );
    assert!(checked >= 40);
    assert!(most <= 5 && worst_mean <= 0.5);
}

#[test]
fn hymenoptera_has_the_tutorials_images() {
    let Some(shared) = shared() else { return };
    let (train, val) = ImageFolder::open_train_val(shared.join("data/hymenoptera")).unwrap();
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
    let Some(shared) = shared() else { return };
    let (train, _) = ImageFolder::open_train_val(shared.join("data/hymenoptera")).unwrap();
    let start = Instant::now();
    for sample in train.samples() {
        decode_file(&sample.path, &DecodeOptions::default()).unwrap();
    }
    println!(
        "decoding alone: {:.0} images/s",
        train.len() as f64 / start.elapsed().as_secs_f64()
    );
    let pipeline = Pipeline::imagenet_train(224, IMAGENET_MEAN, IMAGENET_STD);
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
    let Some(shared) = shared() else { return };
    let (_, val) = ImageFolder::open_train_val(shared.join("data/hymenoptera")).unwrap();
    for size in [32, 64] {
        let pipeline = Pipeline::imagenet_train(size, IMAGENET_MEAN, IMAGENET_STD);
        let reduced = ImageDataset::new(&val, pipeline.clone()).unwrap();
        let full = ImageDataset::new(&val, pipeline)
            .unwrap()
            .decode_options(DecodeOptions {
                reduced_scale: false,
                ..DecodeOptions::default()
            });
        let mut means = Vec::new();
        let mut most = 0;
        for index in 0..val.len() {
            let a = reduced.render_pixels(index, 0, 0, 0).unwrap();
            let d = difference(&a, &full.render_pixels(index, 0, 0, 0).unwrap());
            if d.mean > 0.0 {
                means.push(d.mean);
                most = most.max(d.most);
            }
        }
        means.sort_by(f64::total_cmp);
        let (median, worst) = (means[means.len() / 2], means[means.len() - 1]);
        println!(
            "crop {size}: {} of {} reduced, mean {median:.3} in the median, {worst:.3} at worst, \
             a value at most {most}",
            means.len(),
            val.len()
        );
        assert!(means.len() > 20 && median < 1.5 && worst < 6.0);
    }
}

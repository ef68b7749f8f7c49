//! Decoding JPEGs in part and at a reduced scale, against decoding them whole.

use std::path::Path;

use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
use rekindle_imagefolder::rng::SampleRng;
use rekindle_imagefolder::{
    DecodeOptions, Error, ImageDataset, ImageFolder, Interpolation, Loader, Pipeline, Preprocess,
    Transform, decode_bytes, decode_file,
};
use tempfile::{TempDir, tempdir};

use crate::made::{coded_jpeg, encode, flat_jpeg, oriented, picture, write};

const SAMPLINGS: [(u8, u8); 4] = [(1, 1), (2, 1), (1, 2), (2, 2)];

fn crop(size: u32, scale: (f64, f64)) -> Pipeline {
    Pipeline::new([
        Transform::RandomResizedCrop {
            size,
            scale,
            ratio: (0.75, 4.0 / 3.0),
            interpolation: Interpolation::Bilinear,
        },
        Transform::RandomHorizontalFlip { p: 0.5 },
        Transform::Normalize {
            mean: [0.5; 3],
            std: [0.25; 3],
        },
    ])
}

fn center(resize: usize, crop: usize) -> Pipeline {
    Pipeline::imagenet_eval(&Preprocess {
        resize,
        crop,
        ..Preprocess::IMAGENET
    })
}

fn full_size() -> DecodeOptions {
    DecodeOptions {
        reduced_scale: false,
        ..DecodeOptions::default()
    }
}

/// By another decoder.
fn other(jpeg: &[u8]) -> RgbImage {
    let image = image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg);
    image.unwrap().into_rgb8()
}

fn mean_difference(a: &RgbImage, b: &RgbImage) -> (u8, f64) {
    assert_eq!(a.dimensions(), b.dimensions());
    let differences = a.as_raw().iter().zip(b.as_raw());
    let differences = differences.map(|(a, b)| a.abs_diff(*b));
    let most = differences.clone().max().unwrap();
    let sum: f64 = differences.map(f64::from).sum();
    (most, sum / a.as_raw().len() as f64)
}

/// One of every kind: samplings, restarts, orientations, odd sizes, grey, CMYK, progressive-like
/// fallbacks, and no JPEG at all.
fn folder() -> (TempDir, ImageFolder) {
    let dir = tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| write(dir.path().join("a").join(name), bytes);
    for (i, sampling) in SAMPLINGS.into_iter().enumerate() {
        put(&format!("{i}.jpg"), &coded_jpeg((131, 77), sampling, 0, 5));
        put(&format!("{i}r.jpg"), &coded_jpeg((97, 150), sampling, 3, 6));
        for orientation in 1..=8 {
            let jpeg = coded_jpeg((61, 90), sampling, 0, orientation.into());
            put(
                &format!("{i}o{orientation}.jpg"),
                &oriented(jpeg, orientation),
            );
        }
    }
    let grey: GrayImage = DynamicImage::ImageRgb8(picture(50, 41, 2)).into_luma8();
    put("grey.jpg", &encode(grey, ImageFormat::Jpeg));
    put("cmyk.jpg", &flat_jpeg(&[55, 155, 235, 240], 5, Some(0)));
    put("tiny.jpg", &encode(picture(1, 1, 1), ImageFormat::Jpeg));
    put("z.png", &encode(picture(60, 40, 3), ImageFormat::Png));
    let folder = ImageFolder::open(dir.path()).unwrap();
    assert_eq!(folder.len(), 4 * 10 + 4);
    (dir, folder)
}

#[test]
fn whole_images_are_those_of_another_decoder() {
    for sampling in SAMPLINGS {
        for (salt, restart) in [(1, 0), (2, 1), (3, 4)] {
            for size in [(8, 8), (33, 17), (100, 64), (5, 19), (17, 1)] {
                let jpeg = coded_jpeg(size, sampling, restart, salt);
                let decode = |options| decode_bytes(Path::new("x"), &jpeg, &options).unwrap();
                let ours = decode(DecodeOptions::default());
                let (most, mean) = mean_difference(&ours, &other(&jpeg));
                // The two round otherwise, and more often where chroma is interpolated.
                let allowed = if sampling == (1, 1) {
                    (3, 0.2)
                } else {
                    (12, 0.8)
                };
                assert!(
                    most <= allowed.0 && mean <= allowed.1,
                    "{sampling:?} {restart} {size:?}: {most} {mean}"
                );
            }
        }
    }
    let photo = picture(100, 70, 3);
    let jpeg = encode(photo, ImageFormat::Jpeg);
    let decode = |options| decode_bytes(Path::new("x"), &jpeg, &options).unwrap();
    let (most, mean) = mean_difference(&decode(DecodeOptions::default()), &other(&jpeg));
    assert!(most <= 2 && mean <= 0.2, "{most} {mean}");
}

#[test]
fn a_part_has_the_pixels_of_the_whole() {
    let (_dir, folder) = folder();
    for pipeline in [crop(16, (0.08, 1.0)), crop(40, (0.5, 1.0)), center(20, 16)] {
        let dataset = ImageDataset::new(&folder, pipeline.clone()).unwrap();
        let dataset = dataset.decode_options(full_size());
        for (index, sample) in folder.samples().iter().enumerate() {
            let whole = decode_file(&sample.path, &DecodeOptions::default()).unwrap();
            for epoch in 0..20 {
                let mut rng = SampleRng::for_sample(7, epoch, index as u64, 0);
                let expected = pipeline.apply(&whole, &mut rng).unwrap();
                let found = dataset.render(index, 7, epoch, 0).unwrap();
                assert_eq!(found, expected, "{} {epoch}", sample.path.display());
            }
        }
    }
}

#[test]
fn reduced_scale_shows_the_same_part() {
    let dir = tempdir().unwrap();
    for (i, sampling) in SAMPLINGS.into_iter().enumerate() {
        for orientation in 1..=8 {
            let jpeg = coded_jpeg((403, 331), sampling, 0, 40 + u64::from(orientation));
            let name = format!("a/{i}-{orientation}.jpg");
            write(dir.path().join(name), &oriented(jpeg, orientation));
        }
    }
    let folder = ImageFolder::open(dir.path()).unwrap();
    // Crops of about 200 pixels to 11, 22 and 44: an eighth, a quarter and a half.
    for (size, scale) in [(11, (0.3, 0.4)), (22, (0.3, 0.4)), (44, (0.3, 0.4))] {
        let reduced = ImageDataset::new(&folder, crop(size, scale)).unwrap();
        let full = ImageDataset::new(&folder, crop(size, scale)).unwrap();
        let full = full.decode_options(full_size());
        let mut differs = false;
        for index in 0..folder.len() {
            for epoch in 0..5 {
                let a = reduced.render_pixels(index, 1, epoch, 0).unwrap();
                let b = full.render_pixels(index, 1, epoch, 0).unwrap();
                let (_, mean) = mean_difference(&a, &b);
                let other = full.render_pixels(index, 2, epoch, 0).unwrap();
                let (_, unrelated) = mean_difference(&a, &other);
                // Blocks of random content have all their detail at their edges, unlike photographs.
                assert!(
                    mean < 3.0 && mean < unrelated / 3.0,
                    "{size}: {mean} {unrelated}"
                );
                differs |= mean > 0.0;
            }
        }
        assert!(differs, "nothing was reduced");
    }
}

#[test]
fn a_cache_full_or_not_and_workers_change_no_pixel() {
    let (_dir, folder) = folder();
    let batches = |cache: usize, workers: usize, options: DecodeOptions| {
        let dataset = ImageDataset::new(&folder, crop(10, (0.08, 1.0))).unwrap();
        let dataset = dataset.decode_options(options).cache_bytes(cache);
        let loader = Loader::new(dataset)
            .batch_size(8)
            .workers(workers)
            .shuffle(3);
        let epochs = (0..3).flat_map(|epoch| loader.epoch(epoch));
        let images: Vec<_> = epochs.map(|batch| batch.unwrap().images).collect();
        assert!(loader.dataset().cached_bytes() <= cache);
        images
    };
    let expected = batches(0, 0, full_size());
    for (cache, workers) in [(0, 3), (100_000, 0), (100_000, 3), (1 << 30, 2)] {
        assert_eq!(batches(cache, workers, full_size()), expected, "{cache}");
    }
    // With a cache nothing is reduced, lest its content decide about a picture.
    assert_eq!(batches(100_000, 3, DecodeOptions::default()), expected);
    let reduced = batches(0, 0, DecodeOptions::default());
    assert_ne!(reduced, expected);
    assert_eq!(batches(0, 3, DecodeOptions::default()), reduced);
}

#[test]
fn damage_before_the_part_is_found_and_behind_it_does_not_matter() {
    let jpeg = coded_jpeg((160, 160), (1, 1), 0, 9);
    let dir = tempdir().unwrap();
    let path = dir.path().join("a/x.jpg");
    write(&path, &jpeg);
    let folder = ImageFolder::open(dir.path()).unwrap();
    let dataset = ImageDataset::new(&folder, crop(16, (0.08, 0.2))).unwrap();
    let intact: Vec<_> = (0..40)
        .map(|epoch| dataset.render(0, 0, epoch, 0).unwrap())
        .collect();
    // A stray end of the image in the middle of the scan.
    let mut damaged = jpeg;
    let middle = damaged.len() * 2 / 3;
    damaged[middle..middle + 2].copy_from_slice(&[0xff, 0xd9]);
    write(&path, &damaged);
    let rest: Vec<_> = (0..40)
        .map(|epoch| dataset.render(0, 0, epoch, 0).unwrap() == intact[epoch as usize])
        .collect();
    assert!(rest.contains(&true) && rest.contains(&false), "{rest:?}");
    // What is missing is grey, or an error.
    let decode = |options| decode_bytes(Path::new("x"), &damaged, &options);
    let whole = decode(DecodeOptions::default()).unwrap();
    assert_eq!(whole.get_pixel(159, 159).0, [128; 3]);
    let strict = DecodeOptions {
        strict: true,
        ..DecodeOptions::default()
    };
    assert!(matches!(decode(strict), Err(Error::Undecodable { .. })));
}

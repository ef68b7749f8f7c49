//! Transforms against closed forms and torchvision's rules.

use image::{Rgb, RgbImage};
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{
    CropBox, Error, Fill, IMAGENET_MEAN, IMAGENET_STD, Interpolation, Pipeline, Preprocess,
    Transform,
};

use crate::made::picture;

fn rng() -> SampleRng {
    SampleRng::keyed(11, Stream::User, &[])
}

fn run(transforms: impl IntoIterator<Item = Transform>, image: &RgbImage) -> RgbImage {
    Pipeline::new(transforms).apply_to_pixels(image, &mut rng())
}

fn resize(size: u32) -> Transform {
    Transform::Resize {
        size,
        interpolation: Interpolation::Bilinear,
    }
}

#[test]
fn resize_rounds_the_longer_side_down() {
    for ((w, h), size, expected) in [
        ((500, 375), 256, (341, 256)),
        ((375, 500), 256, (256, 341)),
        ((1, 1), 224, (224, 224)),
        ((224, 224), 224, (224, 224)),
        ((3, 1000), 2, (2, 666)),
    ] {
        assert_eq!(
            run([resize(size)], &picture(w, h, 1)).dimensions(),
            expected
        );
    }
}

#[test]
fn center_crop_rounds_to_even_and_pads_with_black() {
    let row = RgbImage::from_fn(9, 9, |x, y| Rgb([x as u8 + 1, y as u8 + 1, 0]));
    let crop = |from: u32, size: u32| {
        let image = image::imageops::crop_imm(&row, 0, 0, from, from).to_image();
        run([Transform::CenterCrop { size }], &image)
    };
    // (5 - 2) / 2 = 1.5 and (7 - 2) / 2 = 2.5 both round to 2.
    assert_eq!(crop(5, 2).get_pixel(0, 0).0, [3, 3, 0]);
    assert_eq!(crop(7, 2).get_pixel(0, 0).0, [3, 3, 0]);
    // 3 to 6: one column before, two after.
    let padded = crop(3, 6);
    assert_eq!(padded.dimensions(), (6, 6));
    assert_eq!(padded.get_pixel(0, 3).0, [0; 3]);
    assert_eq!(padded.get_pixel(1, 1).0, [1, 1, 0]);
    assert_eq!(padded.get_pixel(3, 3).0, [3, 3, 0]);
    assert_eq!(padded.get_pixel(4, 4).0, [0; 3]);
    // Padded in one direction, cropped in the other: rows (2 - 4), columns (9 to 4, from 2.5 -> 2).
    let wide = image::imageops::crop_imm(&row, 0, 0, 9, 2).to_image();
    let both = run([Transform::CenterCrop { size: 4 }], &wide);
    assert_eq!(both.get_pixel(0, 1).0, [3, 1, 0]);
    assert_eq!(both.get_pixel(0, 0).0, [0; 3]);
}

#[test]
fn crop_of_a_resized_image_equals_cropping_the_resized_image() {
    for (w, h) in [(500, 375), (317, 901), (256, 256), (60, 45), (2000, 1301)] {
        let image = picture(w, h, 7);
        let at_once = run([resize(256), Transform::CenterCrop { size: 224 }], &image);
        let whole = run([resize(256)], &image);
        let after = run([Transform::CenterCrop { size: 224 }], &whole);
        let most = at_once
            .as_raw()
            .iter()
            .zip(after.as_raw())
            .map(|(a, b)| a.abs_diff(*b))
            .max();
        assert!(most.unwrap() <= 1, "{w} x {h}: {most:?}");
    }
}

#[test]
fn resizing_a_part_sees_nothing_outside_of_it() {
    // A white box in a black image: any influence from outside would darken its border.
    let mut image = RgbImage::new(60, 60);
    for y in 20..40 {
        for x in 20..40 {
            image.put_pixel(x, y, Rgb([255; 3]));
        }
    }
    let only = CropBox {
        top: 20,
        left: 20,
        height: 20,
        width: 20,
    };
    let transform = Transform::RandomResizedCrop {
        size: 50,
        scale: (1.0 / 9.0, 1.0 / 9.0),
        ratio: (1.0, 1.0),
        interpolation: Interpolation::Bilinear,
    };
    for index in 0..20_000 {
        let draw = || SampleRng::for_sample(0, 0, index, 0);
        let part = CropBox::random_resized(60, 60, (1.0 / 9.0, 1.0 / 9.0), (1.0, 1.0), &mut draw());
        if part == only {
            let result = Pipeline::new([transform]).apply_to_pixels(&image, &mut draw());
            assert!(result.as_raw().iter().all(|v| *v == 255));
            return;
        }
    }
    panic!("the box was never drawn");
}

#[test]
fn random_resized_crop_follows_its_distribution() {
    // Without rejections (the largest part fits): area uniform, log ratio uniform, place uniform.
    let (n, side) = (40_000, 1000);
    let (mut area, mut log_ratio, mut squared, mut place) = (0.0, 0.0, 0.0, 0.0);
    for index in 0..n {
        let mut rng = SampleRng::for_sample(5, 0, index, 0);
        let part = CropBox::random_resized(side, side, (0.1, 0.3), (0.75, 4.0 / 3.0), &mut rng);
        let (w, h) = (f64::from(part.width), f64::from(part.height));
        area += w * h / 1e6;
        log_ratio += (w / h).ln();
        squared += (w / h).ln().powi(2);
        place += f64::from(part.top) / f64::from(side - part.height);
        assert!(part.left + part.width <= side && part.top + part.height <= side);
    }
    let n = n as f64;
    let width = 2.0 * (4.0_f64 / 3.0).ln();
    assert!((area / n - 0.2).abs() < 0.001, "{}", area / n);
    assert!((log_ratio / n).abs() < 0.003, "{}", log_ratio / n);
    assert!(
        (squared / n - width * width / 12.0).abs() < 0.0005,
        "{}",
        squared / n
    );
    assert!((place / n - 0.5).abs() < 0.005, "{}", place / n);

    // With torchvision's defaults pairs that do not fit are rejected: the mean area by integration.
    let (steps, low) = (1000, 0.08);
    let (mut weight, mut expected) = (0.0, 0.0);
    for i in 0..steps {
        let a = low + (1.0 - low) * (f64::from(i) + 0.5) / f64::from(steps);
        for j in 0..steps {
            let r = (width * ((f64::from(j) + 0.5) / f64::from(steps) - 0.5)).exp();
            if a * r <= 1.0 && a / r <= 1.0 {
                weight += 1.0;
                expected += a;
            }
        }
    }
    expected /= weight;
    let mut mean = 0.0;
    for index in 0..40_000 {
        let mut rng = SampleRng::for_sample(6, 0, index, 0);
        let part = CropBox::random_resized(side, side, (low, 1.0), (0.75, 4.0 / 3.0), &mut rng);
        mean += f64::from(part.width) * f64::from(part.height) / 1e6 / 40_000.0;
    }
    assert!((mean - expected).abs() < 0.005, "{mean} for {expected}");
}

#[test]
fn random_resized_crop_falls_back_to_the_middle() {
    let crop = |w, h| CropBox::random_resized(w, h, (0.9, 1.0), (0.75, 4.0 / 3.0), &mut rng());
    assert_eq!(
        crop(10, 1000),
        CropBox {
            top: 493,
            left: 0,
            height: 13,
            width: 10
        }
    );
    assert_eq!(
        crop(1000, 10),
        CropBox {
            top: 0,
            left: 493,
            height: 10,
            width: 13
        }
    );
    assert_eq!(
        crop(1, 1),
        CropBox {
            top: 0,
            left: 0,
            height: 1,
            width: 1
        }
    );
}

#[test]
fn flips_mirror_and_come_half_of_the_time() {
    let image = picture(7, 5, 2);
    let flipped = run([Transform::RandomHorizontalFlip { p: 1.0 }], &image);
    assert_eq!(flipped.get_pixel(0, 3), image.get_pixel(6, 3));
    let flipped = run([Transform::RandomVerticalFlip { p: 1.0 }], &image);
    assert_eq!(flipped.get_pixel(2, 0), image.get_pixel(2, 4));
    let pipeline = Pipeline::new([Transform::RandomHorizontalFlip { p: 0.5 }]);
    let count = (0..4000)
        .filter(|i| {
            pipeline.apply_to_pixels(&image, &mut SampleRng::for_sample(1, 2, *i, 0)) != image
        })
        .count();
    // Four standard deviations of a fair coin.
    assert!((1873..2127).contains(&count), "{count}");
}

#[test]
fn normalize_is_torchvisions_formula_in_planes() {
    let image = picture(6, 4, 9);
    let pipeline = Pipeline::new([Transform::Normalize {
        mean: IMAGENET_MEAN,
        std: IMAGENET_STD,
    }]);
    let result = pipeline.apply(&image, &mut rng()).unwrap();
    assert_eq!(
        (result.height, result.width, result.values.len()),
        (4, 6, 72)
    );
    for (x, y, pixel) in image.enumerate_pixels() {
        for c in 0..3 {
            let expected = (f64::from(pixel.0[c]) / 255.0 - f64::from(IMAGENET_MEAN[c]))
                / f64::from(IMAGENET_STD[c]);
            let value = result.values[c * 24 + y as usize * 6 + x as usize];
            assert!((f64::from(value) - expected).abs() < 1e-6);
        }
    }
    let plain = Pipeline::default().apply(&image, &mut rng()).unwrap();
    assert_eq!(
        plain.values[0],
        f32::from(image.get_pixel(0, 0).0[0]) / 255.0
    );
}

#[test]
fn random_erasing_covers_the_share_it_should() {
    let image = RgbImage::from_pixel(100, 80, Rgb([255; 3]));
    let erasing = |p, fill| {
        Pipeline::new([Transform::RandomErasing {
            p,
            scale: (0.1, 0.2),
            ratio: (0.5, 2.0),
            fill,
        }])
    };
    let (mut share, n) = (0.0, 2000);
    for index in 0..n {
        let mut rng = SampleRng::for_sample(0, 0, index, 0);
        let result = erasing(1.0, Fill::Constant([-1.0; 3]))
            .apply(&image, &mut rng)
            .unwrap();
        let erased = result.values.iter().filter(|v| **v == -1.0).count() as f64;
        share += erased / result.values.len() as f64 / n as f64;
    }
    assert!((share - 0.15).abs() < 0.002, "{share}");
    let untouched = erasing(0.0, Fill::Noise).apply(&image, &mut rng()).unwrap();
    assert!(untouched.values.iter().all(|v| *v == 1.0));
    let noise = erasing(1.0, Fill::Noise).apply(&image, &mut rng()).unwrap();
    let drawn: Vec<f64> = noise
        .values
        .iter()
        .filter(|v| **v != 1.0)
        .map(|v| f64::from(*v))
        .collect();
    let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
    assert!(
        drawn.len() > 2000 && mean.abs() < 0.1,
        "{} {mean}",
        drawn.len()
    );
}

#[test]
fn colour_jitter_draws_from_its_range() {
    let grey = RgbImage::from_pixel(3, 3, Rgb([100; 3]));
    let pipeline = Pipeline::new([Transform::ColorJitter {
        brightness: 0.4,
        contrast: 0.0,
        saturation: 0.0,
        hue: 0.0,
    }]);
    let values: Vec<u8> = (0..3000)
        .map(|i| {
            pipeline
                .apply_to_pixels(&grey, &mut SampleRng::for_sample(0, 0, i, 0))
                .as_raw()[0]
        })
        .collect();
    let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / values.len() as f64;
    assert!((60..=61).contains(values.iter().min().unwrap()));
    assert!((138..=140).contains(values.iter().max().unwrap()));
    // Truncation takes half a level off the mean of 100.
    assert!((mean - 99.5).abs() < 1.5, "{mean}");
}

#[test]
fn every_transform_survives_one_pixel() {
    let one = picture(1, 1, 3);
    let mut transforms = vec![
        Transform::TrivialAugment,
        Transform::ColorJitter {
            brightness: 0.5,
            contrast: 0.5,
            saturation: 0.5,
            hue: 0.5,
        },
        Transform::RandAugment {
            operations: 3,
            magnitude: 30,
        },
    ];
    transforms.extend(
        Pipeline::imagenet_train(&Preprocess {
            crop: 8,
            ..Preprocess::IMAGENET
        })
        .0,
    );
    transforms.push(Transform::RandomErasing {
        p: 1.0,
        scale: (0.02, 0.33),
        ratio: (0.3, 3.3),
        fill: Fill::Noise,
    });
    let pipeline = Pipeline::new(transforms);
    pipeline.validate().unwrap();
    for index in 0..500 {
        let result = pipeline
            .apply(&one, &mut SampleRng::for_sample(0, 0, index, 0))
            .unwrap();
        assert!(result.values.len() == 192 && result.values.iter().all(|v| v.is_finite()));
    }
}

#[test]
fn a_pipeline_is_data() {
    let pipeline = Pipeline::imagenet_train(&Preprocess::IMAGENET);
    let json = serde_json::to_string(&pipeline).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&json).unwrap(), pipeline);
    let short: Pipeline =
        serde_json::from_str(r#"[{"name":"resize","size":256},{"name":"center_crop","size":224}]"#)
            .unwrap();
    assert_eq!(short.0[0], resize(256));
    assert_eq!(short.output_size(), Some((224, 224)));
    assert_eq!(Pipeline::new([resize(256)]).output_size(), None);
    assert!(pipeline.is_random() && !short.is_random());
}

#[test]
fn nonsense_is_refused_with_its_place() {
    let normalize = Transform::Normalize {
        mean: [0.5; 3],
        std: [0.5; 3],
    };
    let rrc = |scale, ratio| Transform::RandomResizedCrop {
        size: 8,
        scale,
        ratio,
        interpolation: Interpolation::Bilinear,
    };
    let wrong = [
        vec![resize(0)],
        vec![resize(1_000_000)],
        vec![Transform::RandomHorizontalFlip { p: 1.5 }],
        vec![Transform::RandomVerticalFlip { p: f64::NAN }],
        vec![rrc((0.0, 1.0), (0.75, 1.3))],
        vec![rrc((0.5, 0.1), (0.75, 1.3))],
        vec![rrc((0.5, 2.0), (0.75, 1.3))],
        vec![Transform::Normalize {
            mean: [0.0; 3],
            std: [1.0, 0.0, 1.0],
        }],
        vec![Transform::ColorJitter {
            brightness: -1.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.0,
        }],
        vec![Transform::ColorJitter {
            brightness: 0.0,
            contrast: 0.0,
            saturation: 0.0,
            hue: 0.6,
        }],
        vec![Transform::RandAugment {
            operations: 2,
            magnitude: 31,
        }],
        vec![normalize.clone(), resize(8)],
        vec![normalize.clone(), normalize],
    ];
    for transforms in wrong {
        let last = transforms.len() - 1;
        let error = Pipeline::new(transforms).validate().unwrap_err();
        assert!(
            matches!(error, Error::InvalidTransform { position, .. } if position == last),
            "{error}"
        );
    }
}

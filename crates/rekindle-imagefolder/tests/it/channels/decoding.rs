//! Files to numbers.

use std::path::Path;

use image::metadata::Orientation;
use image::{DynamicImage, ImageFormat, RgbImage};
use rekindle_imagefolder::rng::SampleRng;
use rekindle_imagefolder::{DecodeOptions, Error, decode_bytes, decode_channels};

use super::{decoded, file, own, with_cases};
use crate::made::{encode, waves};

#[test]
fn numbers_are_those_of_the_file() {
    with_cases(|tensors, cases| {
        assert_eq!(cases.files.len(), 23);
        for (name, white) in &cases.files {
            let expected = tensors.tensor(&format!("numbers:{name}")).unwrap();
            let &[height, width, count] = expected.shape() else {
                panic!("{name}: {:?}", expected.shape());
            };
            let (numbers, _) = expected.data().as_chunks();
            let numbers: Vec<f64> = numbers.iter().map(|n| f64::from_le_bytes(*n)).collect();
            let bytes = file(tensors, name);
            let of = if *white < 4095.0 { 77 } else { 4095 };
            for of in [None, Some(of)] {
                let found = decoded(name, bytes, own(count, of)).unwrap();
                assert_eq!((found.height, found.width), (height, width), "{name}");
                assert_eq!(found.channels(), count, "{name}");
                let white = of.map_or(*white, f64::from);
                for (at, expected) in numbers.iter().enumerate() {
                    let (pixel, channel) = (at / count, at % count);
                    let found = f64::from(found.values[channel * height * width + pixel]);
                    let expected = expected / white;
                    let near = 1e-6 * expected.abs().max(1.0);
                    assert!(
                        (found - expected).abs() < near,
                        "{name}: {found} {expected}"
                    );
                }
            }
        }
    });
}

/// Grey becomes colour by repetition, colour grey by Pillow's weights, and alpha is left out.
#[test]
fn channels_that_a_file_lacks_are_made_where_that_is_meant() {
    with_cases(|tensors, _| {
        let of = |name: &str, count| decoded(name, file(tensors, name), own(count, None));
        let grey = of("grey-16.png", 1).unwrap();
        let repeated = of("grey-16.png", 3).unwrap();
        assert_eq!(repeated.values, grey.values.repeat(3));
        let colours = of("rgb-16.png", 3).unwrap();
        let luma = of("rgb-16.png", 1).unwrap();
        let plane = luma.values.len();
        for (at, found) in luma.values.iter().enumerate() {
            let [r, g, b] = [0, 1, 2].map(|c| f64::from(colours.values[c * plane + at]));
            let expected = (299.0 * r + 587.0 * g + 114.0 * b) / 1000.0;
            assert!((f64::from(*found) - expected).abs() < 1e-6);
        }
        let all = of("rgba-16.png", 4).unwrap();
        assert_eq!(
            of("rgba-16.png", 3).unwrap().values,
            all.values[..3 * plane]
        );
        for (name, found, expected) in [("rgb-16.tif", 3, 4), ("five-16.tif", 5, 3)] {
            let error = of(name, expected).unwrap_err();
            assert!(error.is_bad_file());
            let said =
                format!("{found} channels, where the network takes {expected}; leave it out");
            assert!(error.to_string().contains(&said), "{error}");
        }
        let dark = file(tensors, "grey-12-in-16.tif");
        let error = decode_bytes(Path::new("dark.tif"), dark, &DecodeOptions::default());
        let said = "give --channels 1 --white 4095";
        assert!(error.unwrap_err().to_string().contains(said));
    });
}

/// What people are shown of a picture of 8 bits is that picture.
#[test]
fn people_are_shown_the_first_channels() {
    let image = waves(31, 22);
    let png = encode(image.clone(), ImageFormat::Png);
    let shown = |bytes: &[u8], count| {
        let options = DecodeOptions {
            channels: Some(own(count, None)),
            ..DecodeOptions::default()
        };
        decode_bytes(Path::new("x"), bytes, &options).unwrap()
    };
    assert_eq!(shown(&png, 3), image);
    let grey = DynamicImage::from(image.clone()).into_luma8();
    let png = encode(grey.clone(), ImageFormat::Png);
    assert_eq!(shown(&png, 1), DynamicImage::from(grey).into_rgb8());
    with_cases(|tensors, _| {
        let name = "five-16.tif";
        let five = decoded(name, file(tensors, name), own(5, None)).unwrap();
        let found = shown(file(tensors, name), 5);
        let plane = five.height * five.width;
        let pixel = found.get_pixel(3, 2);
        let at = 2 * five.width + 3;
        let expected = [0, 1, 2].map(|c| (255.0 * five.values[c * plane + at]).round() as u8);
        assert_eq!(pixel.0, expected);
    });
}

/// Orientations against those of the crate `image`, on files that say them.
#[test]
fn pictures_stand_as_their_exif_says() {
    let image = waves(9, 6);
    for value in 1..=8 {
        let mut expected = DynamicImage::from(image.clone());
        expected.apply_orientation(Orientation::from_exif(value).unwrap());
        let found = turned(&image, value);
        assert_eq!(found, expected.into_rgb8(), "orientation {value}");
    }
}

fn turned(image: &RgbImage, orientation: u8) -> RgbImage {
    // A chunk eXIf behind the header: a TIFF directory of the one entry.
    let png = encode(image.clone(), ImageFormat::Png);
    let mut exif = b"eXIfMM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut chunk = ((exif.len() - 4) as u32).to_be_bytes().to_vec();
    chunk.extend(&exif);
    let mut crc = flate2::Crc::new();
    crc.update(&exif);
    chunk.extend(crc.sum().to_be_bytes());
    let bytes = [&png[..33], &chunk, &png[33..]].concat();
    let options = DecodeOptions {
        channels: Some(own(3, None)),
        ..DecodeOptions::default()
    };
    decode_bytes(Path::new("x.png"), &bytes, &options).unwrap()
}

/// White is a number of the file, also where a decoder spreads these over the range of a type.
#[test]
fn white_is_a_number_of_the_file() {
    let near = |found: &[f32], expected: &[f32]| {
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs());
        assert_eq!(found.len(), expected.len());
        assert!(off.fold(0.0, f32::max) < 1e-6, "{found:?} {expected:?}");
    };
    let pgm = [&b"P5 3 1 4095\n"[..], &[0, 0, 8, 0, 15, 255]].concat();
    let fractions = [0.0, 2048.0 / 4095.0, 1.0];
    for white in [None, Some(4095)] {
        let found = decoded("x.pgm", &pgm, own(1, white)).unwrap();
        near(&found.values, &fractions);
    }
    // The largest number that a file says its own may be is no limit of their type.
    for white in [1024, 8191] {
        let found = decoded("x.pgm", &pgm, own(1, Some(white))).unwrap();
        near(&found.values, &fractions.map(|v| v * 4095.0 / white as f32));
    }
    for (depth, bytes, numbers) in [
        (png::BitDepth::Four, &[0x0f, 0x70][..], [0.0, 15.0, 7.0]),
        (png::BitDepth::Two, &[0b00_11_01_00], [0.0, 3.0, 1.0]),
        (png::BitDepth::One, &[0b0110_0000], [0.0, 1.0, 1.0]),
    ] {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, 3, 1);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(depth);
        let mut writer = encoder.write_header().unwrap();
        writer.write_image_data(bytes).unwrap();
        writer.finish().unwrap();
        let most = (1_u32 << depth as u32) - 1;
        let found = decoded("x.png", &file, own(1, Some(most))).unwrap();
        near(&found.values, &numbers.map(|v| v / most as f32));
        let error = decoded("x.png", &file, own(1, Some(256))).unwrap_err();
        assert!(
            error.to_string().contains("end at 255, and white is 256"),
            "{error}"
        );
        let found = decoded("x.png", &file, own(1, None)).unwrap();
        near(&found.values, &numbers.map(|v| v / most as f32));
    }
}

/// A lone sample that is called RGB, and alpha where white is zero.
#[test]
fn odd_tiffs_are_taken_by_their_samples() {
    with_cases(|tensors, _| {
        let of_kind = |name: &str, photometric: u8| {
            let mut bytes = file(tensors, name).to_vec();
            // Tag 262: one number of 16 bits.
            let entry = [6, 1, 3, 0, 1, 0, 0, 0];
            let at = bytes.windows(8).position(|found| found == entry).unwrap();
            bytes[at + 8] = photometric;
            bytes
        };
        let plain = decoded("x", file(tensors, "grey-16.tif"), own(1, None)).unwrap();
        let colour = of_kind("grey-16.tif", 2);
        assert_eq!(decoded("x", &colour, own(1, None)).unwrap(), plain);
        let inverted = decoded("x", &of_kind("grey-16.tif", 0), own(1, None)).unwrap();
        for (a, b) in inverted.values.iter().zip(&plain.values) {
            assert!((a - (1.0 - b)).abs() < 1e-6);
        }
        let name = "five-16.tif";
        let plain = decoded(name, file(tensors, name), own(5, None)).unwrap();
        let inverted = decoded(name, &of_kind(name, 0), own(5, None)).unwrap();
        let plane = plain.width * plain.height;
        assert_eq!(inverted.values[plane..], plain.values[plane..]);
        assert!((inverted.values[3] - (1.0 - plain.values[3])).abs() < 1e-6);
    });
}

/// Changed at random and cut off, files are read or refused.
#[test]
fn damaged_files_are_errors() {
    with_cases(|tensors, cases| {
        let mut draws = SampleRng::for_sample(5, 0, 0, 0);
        for name in cases.files.keys() {
            let whole = file(tensors, name);
            for _ in 0..60 {
                let mut bytes = whole.to_vec();
                for _ in 0..1 + draws.below(3) {
                    let at = draws.below(bytes.len());
                    bytes[at] = draws.below(256) as u8;
                }
                bytes.truncate(bytes.len() - draws.below(2) * draws.below(bytes.len()));
                match decoded(name, &bytes, own(1 + draws.below(8), None)) {
                    Ok(image) => assert!(image.values.iter().all(|value| value.is_finite())),
                    Err(error) => {
                        assert!(error.is_bad_file(), "{error}");
                        let is_panic = matches!(error, Error::DecoderPanicked { .. });
                        assert!(!is_panic, "{name}: {error}");
                    }
                }
            }
        }
        // A picture of many channels may have fewer pixels.
        let small = DecodeOptions {
            max_pixels: 8 * 11 * 13 / 4 - 1,
            ..DecodeOptions::default()
        };
        let name = "eight-16-deflated.tif";
        let bytes = file(tensors, name);
        let error = decode_channels(Path::new(name), bytes, own(8, None), &small).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    });
}

/// Alpha that was multiplied into the colours is divided out, as Pillow does.
#[test]
fn premultiplied_alpha_is_divided_out() {
    with_cases(|tensors, _| {
        let name = "rgba-16.tif";
        let plain = decoded(name, file(tensors, name), own(4, None)).unwrap();
        let mut bytes = file(tensors, name).to_vec();
        // Tag 338, what the fourth sample is: plain alpha becomes one that was multiplied in.
        let entry = [0x52, 1, 3, 0, 1, 0, 0, 0, 2, 0];
        let at = bytes.windows(10).position(|found| found == entry).unwrap();
        bytes[at + 8] = 1;
        let divided = decoded(name, &bytes, own(3, None)).unwrap();
        let plane = plain.width * plain.height;
        let (colors, alpha) = plain.values.split_at(3 * plane);
        for (at, (found, color)) in divided.values.iter().zip(colors).enumerate() {
            let alpha = alpha[at % plane];
            let expected = if alpha > 0.0 {
                (color / alpha).min(1.0)
            } else {
                *color
            };
            assert!((found - expected).abs() < 1e-5, "{found} {expected}");
        }
    });
}

//! Every kind of file that a real folder holds.

use std::path::Path;

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use rekindle_imagefolder::rng::{SampleRng, Stream};
use rekindle_imagefolder::{DecodeOptions, Error, decode_bytes, decode_file};
use tempfile::tempdir;

use crate::made::{encode, flat_jpeg, jpeg_with_orientation, picture, png_claiming, write};

fn decode(bytes: &[u8]) -> Result<RgbImage, Error> {
    decode_bytes(
        Path::new("some/photo.jpg"),
        bytes,
        &DecodeOptions::default(),
    )
}

#[test]
fn lossless_formats_come_back_whatever_the_name_says() {
    let original = picture(17, 11, 3);
    for format in [
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
        ImageFormat::Pnm,
        ImageFormat::WebP,
    ] {
        let bytes = encode(original.clone(), format);
        assert_eq!(decode(&bytes).unwrap(), original, "{format:?}");
    }
    let jpeg = decode(&encode(original.clone(), ImageFormat::Jpeg)).unwrap();
    assert_eq!(jpeg.dimensions(), original.dimensions());
    assert_eq!(
        decode(&encode(original, ImageFormat::Gif))
            .unwrap()
            .dimensions(),
        (17, 11)
    );
}

#[test]
fn grey_alpha_and_16_bit_become_rgb8_as_pillow_does_it() {
    let grey = ImageBuffer::from_fn(5, 4, |x, y| Luma([(40 * x + y) as u8]));
    let rgb = decode(&encode(DynamicImage::ImageLuma8(grey), ImageFormat::Png)).unwrap();
    assert_eq!(rgb.get_pixel(3, 2).0, [122; 3]);

    // Alpha is dropped, not blended: a transparent pixel keeps its colour.
    let rgba = ImageBuffer::from_pixel(5, 4, Rgba([10, 200, 30, 0]));
    let rgb = decode(&encode(DynamicImage::ImageRgba8(rgba), ImageFormat::Png)).unwrap();
    assert_eq!(rgb.get_pixel(0, 0).0, [10, 200, 30]);
    let grey_alpha = ImageBuffer::from_pixel(5, 4, LumaA([77, 3]));
    let rgb = decode(&encode(
        DynamicImage::ImageLumaA8(grey_alpha),
        ImageFormat::Png,
    ))
    .unwrap();
    assert_eq!(rgb.get_pixel(4, 3).0, [77; 3]);

    // The high byte, where rounding would give 19 for the first.
    let deep = ImageBuffer::from_pixel(5, 4, Rgb([0x12ff_u16, 0xc8f0, 0xffff]));
    for format in [ImageFormat::Png, ImageFormat::Tiff] {
        let rgb = decode(&encode(DynamicImage::ImageRgb16(deep.clone()), format)).unwrap();
        assert_eq!(rgb.get_pixel(2, 2).0, [0x12, 0xc8, 0xff]);
    }
    let deep = ImageBuffer::from_pixel(5, 4, Luma([0x80ff_u16]));
    let rgb = decode(&encode(DynamicImage::ImageLuma16(deep), ImageFormat::Png)).unwrap();
    assert_eq!(rgb.get_pixel(2, 2).0, [0x80; 3]);
}

#[test]
fn grey_cmyk_and_ycck_jpegs_become_rgb8() {
    let near = |bytes: &[u8], expected: [u8; 3]| {
        let image = decode(bytes).unwrap();
        assert_eq!(image.dimensions(), (16, 16));
        for pixel in image.pixels() {
            let off = pixel
                .0
                .iter()
                .zip(expected)
                .map(|(a, b)| a.abs_diff(b))
                .max()
                .unwrap();
            assert!(off <= 2, "{:?} for {expected:?}", pixel.0);
        }
    };
    near(&flat_jpeg(&[90], 2, None), [90; 3]);
    near(&flat_jpeg(&[100, 128, 128], 2, None), [100; 3]);
    // Adobe stores 255 - ink: cyan 255 - 55 = 200 and so on; light is 240 / 255.
    let expected = [55, 155, 235].map(|v: u32| (v * 240 / 255) as u8);
    near(&flat_jpeg(&[55, 155, 235, 240], 2, Some(0)), expected);
    // Without the marker the same: Pillow goes by Adobe's convention, always.
    near(&flat_jpeg(&[55, 155, 235, 240], 2, None), expected);
    // YCCK: no chroma, so C = M = Y. Y = 60 there means CMY stored as 255 - 60 = 195.
    near(
        &flat_jpeg(&[60, 128, 128, 240], 2, Some(2)),
        [(195 * 240_u32 / 255) as u8; 3],
    );
}

#[test]
fn orientation_is_applied_and_can_be_left_off() {
    let (w, h) = (48, 32);
    // Blocks of 16 in six colours survive JPEG.
    let stored = RgbImage::from_fn(w, h, |x, y| {
        Rgb([(x / 16 * 100 + 20) as u8, (y / 16 * 150 + 30) as u8, 60])
    });
    for orientation in 1..=8_u8 {
        let jpeg = jpeg_with_orientation(&stored, orientation);
        let shown = decode(&jpeg).unwrap();
        // Where the EXIF standard puts the stored pixel (x, y).
        let place = |x: u32, y: u32| match orientation {
            1 => (x, y),
            2 => (w - 1 - x, y),
            3 => (w - 1 - x, h - 1 - y),
            4 => (x, h - 1 - y),
            5 => (y, x),
            6 => (h - 1 - y, x),
            7 => (h - 1 - y, w - 1 - x),
            _ => (y, w - 1 - x),
        };
        assert_eq!(
            shown.dimensions(),
            if orientation < 5 { (w, h) } else { (h, w) }
        );
        for (x, y) in [(8, 8), (24, 8), (40, 8), (8, 24), (24, 24), (40, 24)] {
            let (at_x, at_y) = place(x, y);
            let (a, b) = (stored.get_pixel(x, y).0, shown.get_pixel(at_x, at_y).0);
            assert!(
                a.iter().zip(b).all(|(a, b)| a.abs_diff(b) < 25),
                "{orientation}: {a:?} {b:?}"
            );
        }
        let options = DecodeOptions {
            apply_orientation: false,
            ..DecodeOptions::default()
        };
        let raw = decode_bytes(Path::new("x"), &jpeg, &options).unwrap();
        assert_eq!(raw.dimensions(), (w, h));
    }
    // Nonsense in the tag leaves the image alone.
    assert_eq!(
        decode(&jpeg_with_orientation(&stored, 77))
            .unwrap()
            .dimensions(),
        (w, h)
    );
}

#[test]
fn files_that_are_no_image() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("Käfer 虫.jpg");
    let options = DecodeOptions::default();
    assert!(matches!(
        decode_file(&path, &options),
        Err(Error::Read { .. })
    ));
    write(&path, b"");
    assert!(matches!(
        decode_file(&path, &options),
        Err(Error::EmptyFile { .. })
    ));
    write(&path, b"<!DOCTYPE html><title>404</title>");
    let error = decode_file(&path, &options).unwrap_err();
    assert!(matches!(error, Error::NotAnImage { .. }));
    assert!(
        error.to_string().contains("Käfer 虫.jpg") && error.is_bad_file(),
        "{error}"
    );
    write(&path, &encode(picture(9, 9, 1), ImageFormat::Png));
    assert_eq!(decode_file(&path, &options).unwrap().dimensions(), (9, 9));
}

#[test]
fn truncated_files_are_refused_at_every_length() {
    let photo = picture(70, 50, 5);
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Pnm,
        ImageFormat::WebP,
        ImageFormat::Tiff,
    ] {
        let bytes = encode(photo.clone(), format);
        for part in 1..20 {
            let cut = &bytes[..bytes.len() * part / 20];
            let error = decode(cut).expect_err(&format!("{format:?} cut to {part}/20"));
            assert!(error.is_bad_file());
            if format == ImageFormat::Jpeg || (format == ImageFormat::Png && part > 3) {
                assert!(
                    matches!(error, Error::Truncated { .. }),
                    "{format:?} {part}: {error}"
                );
            }
        }
    }
    // A JPEG that lacks the end-of-image marker alone: Pillow refuses it too.
    let jpeg = encode(photo, ImageFormat::Jpeg);
    assert!(matches!(
        decode(&jpeg[..jpeg.len() - 2]),
        Err(Error::Truncated { .. })
    ));
    // Bytes behind the end do no harm.
    assert!(decode(&[jpeg, vec![0; 100]].concat()).is_ok());
}

#[test]
fn sizes_from_one_pixel_to_absurd() {
    for format in [
        ImageFormat::Png,
        ImageFormat::Jpeg,
        ImageFormat::WebP,
        ImageFormat::Tiff,
    ] {
        assert_eq!(
            decode(&encode(picture(1, 1, 1), format))
                .unwrap()
                .dimensions(),
            (1, 1)
        );
    }
    let mut jpeg = encode(picture(8, 8, 0), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff, 0xdc, 0xff, 0xdc]);
    let too_large: [(&str, Vec<u8>); 4] = [
        ("png", png_claiming(100_000, 100_000)),
        ("png of 20,000", png_claiming(20_000, 20_000)),
        ("pnm", b"P6\n100000 100000\n255\nabc".to_vec()),
        ("jpeg", jpeg),
    ];
    for (name, bytes) in too_large {
        let error = decode(&bytes).unwrap_err();
        assert!(matches!(error, Error::TooLarge { .. }), "{name}: {error}");
    }
    let options = DecodeOptions {
        max_pixels: 100,
        ..DecodeOptions::default()
    };
    let small = encode(picture(10, 11, 0), ImageFormat::Png);
    let error = decode_bytes(Path::new("x"), &small, &options).unwrap_err();
    assert!(matches!(
        error,
        Error::TooLarge {
            width: 10,
            height: 11,
            max_pixels: 100,
            ..
        }
    ));
}

#[test]
fn damaged_bytes_never_escape_as_a_panic() {
    let photo = picture(33, 21, 9);
    let mut rng = SampleRng::keyed(1, Stream::User, &[]);
    let options = DecodeOptions {
        max_pixels: 1 << 20,
        ..DecodeOptions::default()
    };
    for format in [
        ImageFormat::Jpeg,
        ImageFormat::Png,
        ImageFormat::Bmp,
        ImageFormat::Pnm,
        ImageFormat::WebP,
        ImageFormat::Tiff,
        ImageFormat::Gif,
    ] {
        let bytes = encode(photo.clone(), format);
        for _ in 0..400 {
            let mut damaged = bytes.clone();
            for _ in 0..=rng.below(8) {
                let at = rng.below(damaged.len());
                damaged[at] = rng.bits() as u8;
            }
            if let Err(error) = decode_bytes(Path::new("x"), &damaged, &options) {
                assert!(error.is_bad_file(), "{error}");
            }
        }
    }
}

//! Files made for the tests.

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use rekindle_imagefolder::rng::{SampleRng, Stream};

/// A picture whose pixels all differ from their neighbours'.
pub fn picture(width: u32, height: u32, salt: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([
            (x * 7 + salt * 31) as u8,
            (y * 5 + salt) as u8,
            ((x + y) * 3 + salt * 11) as u8,
        ])
    })
}

/// Slopes, steps and a fine grid; the same as `drawing` in `tests/reference/pixels.py`.
pub fn drawing(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let step = if (x / 9 + y / 7) % 2 == 0 { 220 } else { 35 };
        Rgb([(x * 5 + y * 2) as u8, step, (x * y / 3) as u8])
    })
}

/// Waves of a few cycles, as smooth as a photograph.
pub fn waves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave = |a: f64, b: f64| {
            let (across, down) = ((f64::from(x) * a).sin(), (f64::from(y) * b).cos());
            (128.0 + 100.0 * across * down) as u8
        };
        Rgb([wave(0.09, 0.05), wave(0.04, 0.11), wave(0.07, 0.03)])
    })
}

pub fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub fn write(path: impl AsRef<Path>, bytes: &[u8]) {
    fs::create_dir_all(path.as_ref().parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub fn write_png(path: impl AsRef<Path>, salt: u32) {
    write(path, &encode(picture(12, 9, salt), ImageFormat::Png));
}

/// A JPEG with an EXIF block that holds this orientation.
pub fn jpeg_with_orientation(image: &RgbImage, orientation: u8) -> Vec<u8> {
    oriented(encode(image.clone(), ImageFormat::Jpeg), orientation)
}

/// A JPEG of one colour with any number of components, written by hand: quantisation by one, four
/// bits for each size of a DC difference, one bit for "no AC coefficients".
pub fn flat_jpeg(components: &[u8], blocks: u16, adobe_transform: Option<u8>) -> Vec<u8> {
    let mut jpeg = vec![0xff, 0xd8];
    if let Some(transform) = adobe_transform {
        jpeg.extend_from_slice(&[0xff, 0xee, 0, 14]);
        jpeg.extend_from_slice(b"Adobe\0\x64\0\0\0\0");
        jpeg.push(transform);
    }
    jpeg.extend_from_slice(&[0xff, 0xdb, 0, 67, 0]);
    jpeg.extend_from_slice(&[1; 64]);
    let n = components.len() as u8;
    jpeg.extend_from_slice(&[0xff, 0xc0, 0, 8 + 3 * n, 8]);
    jpeg.extend_from_slice(&(8 * blocks).to_be_bytes());
    jpeg.extend_from_slice(&(8 * blocks).to_be_bytes());
    jpeg.push(n);
    for id in 1..=n {
        jpeg.extend_from_slice(&[id, 0x11, 0]);
    }
    jpeg.extend_from_slice(&[
        0xff,
        0xc4,
        0,
        19 + 12,
        0x00,
        0,
        0,
        0,
        12,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    jpeg.extend_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    jpeg.extend_from_slice(&[
        0xff,
        0xc4,
        0,
        19 + 1,
        0x10,
        1,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ]);
    jpeg.extend_from_slice(&[0xff, 0xda, 0, 6 + 2 * n, n]);
    for id in 1..=n {
        jpeg.extend_from_slice(&[id, 0x00]);
    }
    jpeg.extend_from_slice(&[0, 63, 0]);

    let mut bits = String::new();
    for block in 0..u32::from(blocks) * u32::from(blocks) {
        for value in components {
            let dc = if block == 0 {
                8 * (i32::from(*value) - 128)
            } else {
                0
            };
            let size = 32 - dc.unsigned_abs().leading_zeros();
            bits += &format!("{size:04b}");
            if size > 0 {
                let coded = if dc > 0 { dc } else { dc + (1 << size) - 1 };
                bits += &format!("{coded:0width$b}", width = size as usize);
            }
            bits.push('0');
        }
    }
    push_bits(&mut jpeg, &mut bits);
    jpeg.extend_from_slice(&[0xff, 0xd9]);
    jpeg
}

/// A PNG whose header claims this size, with a right checksum and little data.
pub fn png_claiming(width: u32, height: u32) -> Vec<u8> {
    let mut png = encode(picture(4, 4, 0), ImageFormat::Png);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = !0u32;
    for byte in &png[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                crc >> 1 ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    png[29..33].copy_from_slice(&(!crc).to_be_bytes());
    png
}

/// A baseline JPEG of smooth random content: `sampling` is the luma's (across, down), `restart` the
/// MCUs between restart markers (0: none). All AC codes have eight bits, all DC codes four.
pub fn coded_jpeg(
    (width, height): (u16, u16),
    sampling: (u8, u8),
    restart: u16,
    salt: u64,
) -> Vec<u8> {
    let mut rng = SampleRng::keyed(salt, Stream::User, &[]);
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    jpeg.extend_from_slice(&[8; 64]);
    jpeg.extend_from_slice(&[0xff, 0xc0, 0, 17, 8]);
    jpeg.extend_from_slice(&height.to_be_bytes());
    jpeg.extend_from_slice(&width.to_be_bytes());
    let luma = sampling.0 << 4 | sampling.1;
    jpeg.extend_from_slice(&[3, 1, luma, 0, 2, 0x11, 0, 3, 0x11, 0]);
    jpeg.extend_from_slice(&[0xff, 0xc4, 0, 19 + 12, 0x00, 0, 0, 0, 12]);
    jpeg.extend_from_slice(&[0; 12]);
    jpeg.extend_from_slice(&[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
    // Symbols are run * 16 + size; 0 ends the block.
    let symbols: Vec<u8> = (0..16)
        .flat_map(|run| [run << 4 | 1, run << 4 | 2])
        .collect();
    jpeg.extend_from_slice(&[0xff, 0xc4, 0, 19 + 33, 0x10, 0, 0, 0, 0, 0, 0, 0, 33]);
    jpeg.extend_from_slice(&[0; 8]);
    jpeg.push(0);
    jpeg.extend_from_slice(&symbols);
    if restart > 0 {
        jpeg.extend_from_slice(&[0xff, 0xdd, 0, 4]);
        jpeg.extend_from_slice(&restart.to_be_bytes());
    }
    jpeg.extend_from_slice(&[0xff, 0xda, 0, 12, 3, 1, 0, 2, 0, 3, 0, 0, 63, 0]);

    let mcus = |side: u16, blocks: u8| u64::from(side).div_ceil(8 * u64::from(blocks));
    let total = mcus(width, sampling.0) * mcus(height, sampling.1);
    let mut bits = String::new();
    let mut level = [0_i32; 3];
    for mcu in 0..total {
        if restart > 0 && mcu > 0 && mcu % u64::from(restart) == 0 {
            push_bits(&mut jpeg, &mut bits);
            let count = mcu / u64::from(restart) - 1;
            jpeg.extend_from_slice(&[0xff, 0xd0 + (count % 8) as u8]);
            level = [0; 3];
        }
        for (component, level) in level.iter_mut().enumerate() {
            let blocks = if component == 0 {
                sampling.0 * sampling.1
            } else {
                1
            };
            for _ in 0..blocks {
                // Towards a random level, so that nothing runs out of range.
                let target = rng.below(120) as i32 - 60;
                let step = (target - *level) / 2;
                *level += step;
                let size = 32 - step.unsigned_abs().leading_zeros();
                bits += &format!("{size:04b}");
                push_value(&mut bits, step, size);
                let mut at = 1;
                for _ in 0..rng.below(12) {
                    let run = rng.below(6);
                    let value = [-3, -2, -1, 1, 2, 3][rng.below(6)];
                    if at + run > 63 {
                        break;
                    }
                    let size = 32 - i32::unsigned_abs(value).leading_zeros();
                    let code = 1 + 2 * run + size as usize - 1;
                    bits += &format!("{code:08b}");
                    push_value(&mut bits, value, size);
                    at += run + 1;
                }
                if at <= 63 {
                    bits += "00000000";
                }
            }
        }
    }
    push_bits(&mut jpeg, &mut bits);
    jpeg.extend_from_slice(&[0xff, 0xd9]);
    jpeg
}

fn push_value(bits: &mut String, value: i32, size: u32) {
    if size > 0 {
        let coded = if value > 0 {
            value
        } else {
            value + (1 << size) - 1
        };
        *bits += &format!("{coded:0width$b}", width = size as usize);
    }
}

fn push_bits(jpeg: &mut Vec<u8>, bits: &mut String) {
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    for byte in bits.as_bytes().chunks(8) {
        let byte = u8::from_str_radix(std::str::from_utf8(byte).unwrap(), 2).unwrap();
        jpeg.push(byte);
        if byte == 0xff {
            jpeg.push(0);
        }
    }
    bits.clear();
}

/// Puts an EXIF block with this orientation into a JPEG.
pub fn oriented(mut jpeg: Vec<u8>, orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend_from_slice(&[orientation, 0, 0, 0, 0, 0, 0, 0]);
    let mut segment = vec![0xff, 0xe1];
    segment.extend_from_slice(&(exif.len() as u16 + 2).to_be_bytes());
    segment.extend_from_slice(&exif);
    jpeg.splice(2..2, segment);
    jpeg
}

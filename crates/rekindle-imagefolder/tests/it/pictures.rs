//! Small pictures of many kinds against Pillow's pixels (`tests/reference/make_pictures.py`).

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use rekindle_imagefolder::{DecodeOptions, decode_bytes};
use safetensors::SafeTensors;

/// Read by Pillow, refused here with a reason that says this.
const REFUSED: [(&str, &str); 11] = [
    ("arithmetic.jpg", "an arithmetic-coded JPEG"),
    ("float.pfm", "no known image format"),
    // Pillow cuts off at 255, which makes them white.
    ("grey-12-in-16.tif", "whose values end at 3575"),
    ("grey-12-in-16-big-endian.tif", "whose values end at 3575"),
    ("grey-12.tif", "whose values end at 3575"),
    ("grey-16-white-is-zero.tif", "grey (white is zero)"),
    ("group3.tif", "Fax3"),
    ("jpeg-cmyk.tif", "CMYK, compressed as JPEG"),
    ("lab.tif", "L*a*b*"),
    ("rgb-tiled-planar.tif", "a plane for each sample"),
    ("ycbcr.tif", "YCbCr"),
];

/// Read otherwise than by Pillow 13: like another picture.
const OTHERWISE: [(&str, &str); 15] = [
    // Pillow cuts grey of 16 bits off at 255; its high byte is taken here, as Pillow does with alpha.
    ("grey-1023.pgm", "grey-alpha-16.png"),
    ("grey-256.pgm", "grey-alpha-16.png"),
    ("grey-65535.pgm", "grey-alpha-16.png"),
    ("text-grey-1023.pgm", "grey-alpha-16.png"),
    ("text-grey-256.pgm", "grey-alpha-16.png"),
    ("text-grey-65535.pgm", "grey-alpha-16.png"),
    ("grey-16.png", "grey-alpha-16.png"),
    ("grey-16-transparent.png", "grey-alpha-16.png"),
    ("grey-16.tif", "grey-alpha-16.png"),
    ("grey-16-big-endian.tif", "grey-alpha-16.png"),
    ("grey-16-tiled.tif", "grey-alpha-16.png"),
    ("predictor-16.tif", "grey-alpha-16.png"),
    // Pillow mixes high and low bytes.
    ("rgb-planar-16.tif", "rgb-16.png"),
    // Refused by Pillow, with nothing ambiguous in them.
    ("end-missing-a-byte.webp", "lossless.webp"),
    ("rgba-32-swapped.bmp", "rgb.bmp"),
];

#[test]
fn every_kind_is_read_as_pillow_reads_it_or_refused() {
    let file = include_bytes!("../reference/pictures.safetensors.gz");
    let mut bytes = Vec::new();
    GzDecoder::new(&file[..]).read_to_end(&mut bytes).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let metadata = metadata.metadata().clone().unwrap();
    let pixels: BTreeMap<String, String> = serde_json::from_str(&metadata["pixels"]).unwrap();
    let refused: BTreeMap<String, String> = serde_json::from_str(&metadata["refused"]).unwrap();
    let mut wrong = Vec::new();
    let names = pixels.keys().chain(refused.keys());
    for name in names {
        let file = tensors.tensor(name).unwrap();
        let found = decode_bytes(Path::new(name), file.data(), &DecodeOptions::default());
        let reason = REFUSED.iter().find(|(n, _)| n == name);
        let source = OTHERWISE.iter().find(|(n, _)| n == name);
        let expected = source.map_or(pixels.get(name), |(_, source)| pixels.get(*source));
        match (found, expected, reason) {
            (Err(error), Some(_), Some((_, reason))) if error.to_string().contains(reason) => {}
            (Err(error), None, None) if error.is_bad_file() => {}
            (Ok(found), Some(expected), None) => {
                let expected = tensors.tensor(expected).unwrap();
                let (width, height) = found.dimensions();
                if expected.shape() != [height as usize, width as usize, 3] {
                    wrong.push(format!(
                        "{name}: {width} x {height}, {:?}",
                        expected.shape()
                    ));
                    continue;
                }
                let off = |(a, b): (&u8, &u8)| f64::from(a.abs_diff(*b));
                let off: Vec<_> = found
                    .as_raw()
                    .iter()
                    .zip(expected.data())
                    .map(off)
                    .collect();
                let most = off.iter().copied().fold(0.0, f64::max);
                let mean = off.iter().sum::<f64>() / off.len() as f64;
                let (allowed, allowed_mean) = allowed(name);
                if most > allowed || mean > allowed_mean {
                    let (a, b) = (&found.as_raw()[..3], &expected.data()[..3]);
                    wrong.push(format!(
                        "{name}: off by {most}, {mean:.3} on average; {a:?} {b:?}"
                    ));
                }
            }
            (found, expected, _) => {
                let found = found
                    .map(|image| image.dimensions())
                    .map_err(|error| error.to_string());
                let expected = expected.or(refused.get(name));
                wrong.push(format!("{name}: {found:?}, Pillow {expected:?}"));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// The largest difference of a sample, and that of all on average.
fn allowed(name: &str) -> (f64, f64) {
    match name {
        // Another inverse transform, and up to two conversions behind it.
        name if name.starts_with("tiny") => (2.0, 0.4),
        name if name.ends_with(".jpg") || name.starts_with("jpeg") => (3.0, 0.07),
        // Roundings of numbers of other ranges to 255.
        name if name.ends_with(".pgm") || name.ends_with(".ppm") => (1.0, 0.3),
        "rgb-555.bmp" | "rgb-565.bmp" => (1.0, 0.6),
        _ => (0.0, 0.0),
    }
}

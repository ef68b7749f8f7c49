//! Measures of pictures against Pillow's luma and NumPy; `tests/reference/audit.json` holds theirs.

use image::{Rgb, RgbImage};
use rekindle_imagefolder::Looks;
use serde_json::Value;
use test_support::reference_path;

/// As `drawing` in `tests/reference/audit.py`.
fn drawing(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([
            (x * 7 + y * 13) % 256,
            x * y / 3 % 256,
            (x * x + 5 * y) % 200,
        ]
        .map(|v| v as u8))
    })
}

#[test]
fn light_and_sharpness_agree_with_pillow_and_numpy() {
    let text = std::fs::read(reference_path("audit.json")).unwrap();
    let known: Value = serde_json::from_slice(&text).unwrap();
    let known = known["looks"].as_array().unwrap();
    assert_eq!(known.len(), 2);
    for known in known {
        let side = |at: usize| known["size"][at].as_u64().unwrap() as u32;
        let looks = Looks::of(&drawing(side(0), side(1)));
        for (name, found) in [
            ("shadows", looks.shadows),
            ("lights", looks.lights),
            ("contrast", looks.contrast),
            ("sharpness", looks.sharpness),
        ] {
            let wanted = known[name].as_f64().unwrap();
            assert!(
                (f64::from(found) / wanted - 1.0).abs() < 1e-5,
                "{name}: {found} {wanted}"
            );
        }
    }
}

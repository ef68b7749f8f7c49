//! The operations of TrivialAugment and RandAugment, with torchvision's ranges.

use image::{Rgb, RgbImage};

use super::color;
use crate::rng::SampleRng;

/// Number of strengths that a range is divided into.
const BINS: u32 = 31;

/// One augmentation with its strength.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AugmentOp {
    /// Nothing.
    Identity,
    /// Columns per row.
    ShearX(f64),
    /// Rows per column.
    ShearY(f64),
    /// Pixels to the right.
    TranslateX(i32),
    /// Pixels down.
    TranslateY(i32),
    /// Degrees counter-clockwise about the centre.
    Rotate(f64),
    /// Factor minus one.
    Brightness(f64),
    /// Factor minus one.
    Color(f64),
    /// Factor minus one.
    Contrast(f64),
    /// Factor minus one.
    Sharpness(f64),
    /// Bits kept.
    Posterize(u32),
    /// Threshold above which values are inverted.
    Solarize(f64),
    /// Stretches each channel to the whole range.
    AutoContrast,
    /// Flattens each channel's histogram.
    Equalize,
}

/// The strongest setting of each operation.
struct Ranges {
    shear: f64,
    translate_x: f64,
    translate_y: f64,
    rotate: f64,
    enhance: f64,
    posterize: f64,
}

impl AugmentOp {
    /// Makes the draw of TrivialAugmentWide: operation, strength and sign, each uniform.
    pub fn trivial(rng: &mut SampleRng) -> Self {
        let wide = Ranges {
            shear: 0.99,
            translate_x: 32.0,
            translate_y: 32.0,
            rotate: 135.0,
            enhance: 0.99,
            posterize: 6.0,
        };
        let operation = rng.below(14);
        let bin = rng.below(BINS as usize) as u32;
        Self::choose(operation, bin, rng.chance(0.5), &wide)
    }

    /// Makes one draw of RandAugment at strength `magnitude` (0..=30) for an image of that size.
    pub fn rand_augment(magnitude: u32, width: u32, height: u32, rng: &mut SampleRng) -> Self {
        let ranges = Ranges {
            shear: 0.3,
            translate_x: 150.0 / 331.0 * f64::from(width),
            translate_y: 150.0 / 331.0 * f64::from(height),
            rotate: 30.0,
            enhance: 0.9,
            posterize: 4.0,
        };
        let operation = rng.below(14);
        Self::choose(operation, magnitude.min(BINS - 1), rng.chance(0.5), &ranges)
    }

    fn choose(operation: usize, bin: u32, negative: bool, ranges: &Ranges) -> Self {
        let strength = f64::from(bin) / f64::from(BINS - 1);
        let signed = |most: f64| {
            if negative {
                -most * strength
            } else {
                most * strength
            }
        };
        match operation {
            0 => AugmentOp::Identity,
            1 => AugmentOp::ShearX(signed(ranges.shear)),
            2 => AugmentOp::ShearY(signed(ranges.shear)),
            3 => AugmentOp::TranslateX(signed(ranges.translate_x) as i32),
            4 => AugmentOp::TranslateY(signed(ranges.translate_y) as i32),
            5 => AugmentOp::Rotate(signed(ranges.rotate)),
            6 => AugmentOp::Brightness(signed(ranges.enhance)),
            7 => AugmentOp::Color(signed(ranges.enhance)),
            8 => AugmentOp::Contrast(signed(ranges.enhance)),
            9 => AugmentOp::Sharpness(signed(ranges.enhance)),
            10 => AugmentOp::Posterize(8 - (strength * ranges.posterize).round_ties_even() as u32),
            11 => AugmentOp::Solarize(255.0 * (1.0 - strength)),
            12 => AugmentOp::AutoContrast,
            _ => AugmentOp::Equalize,
        }
    }

    /// Applies it; what comes in from outside is black.
    pub fn apply(self, image: &mut RgbImage) {
        let factor = |v: f64| (1.0 + v) as f32;
        match self {
            AugmentOp::Identity => {}
            AugmentOp::ShearX(v) => affine(image, [1.0, v, 0.0, 0.0, 1.0, 0.0]),
            AugmentOp::ShearY(v) => affine(image, [1.0, 0.0, 0.0, v, 1.0, 0.0]),
            AugmentOp::TranslateX(v) => affine(image, [1.0, 0.0, f64::from(-v), 0.0, 1.0, 0.0]),
            AugmentOp::TranslateY(v) => affine(image, [1.0, 0.0, 0.0, 0.0, 1.0, f64::from(-v)]),
            AugmentOp::Rotate(degrees) => rotate(image, degrees),
            AugmentOp::Brightness(v) => color::brightness(image, factor(v)),
            AugmentOp::Color(v) => color::saturation(image, factor(v)),
            AugmentOp::Contrast(v) => color::contrast(image, factor(v)),
            AugmentOp::Sharpness(v) => color::sharpness(image, factor(v)),
            AugmentOp::Posterize(bits) => color::posterize(image, bits),
            AugmentOp::Solarize(threshold) => color::solarize(image, threshold),
            AugmentOp::AutoContrast => color::autocontrast(image),
            AugmentOp::Equalize => color::equalize(image),
        }
    }
}

fn rotate(image: &mut RgbImage, degrees: f64) {
    let (sin, cos) = (-degrees.to_radians()).sin_cos();
    let (x, y) = (
        f64::from(image.width()) / 2.0,
        f64::from(image.height()) / 2.0,
    );
    affine(
        image,
        [
            cos,
            sin,
            x - cos * x - sin * y,
            -sin,
            cos,
            y + sin * x - cos * y,
        ],
    );
}

/// Output pixel (x, y) is the input pixel at (a x + b y + c, d x + e y + f), taken at centres.
fn affine(image: &mut RgbImage, [a, b, c, d, e, f]: [f64; 6]) {
    let source = image.clone();
    let (width, height) = (f64::from(source.width()), f64::from(source.height()));
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let (x, y) = (f64::from(x) + 0.5, f64::from(y) + 0.5);
        let (from_x, from_y) = (a * x + b * y + c, d * x + e * y + f);
        let inside = (0.0..width).contains(&from_x) && (0.0..height).contains(&from_y);
        *pixel = if inside {
            *source.get_pixel(from_x as u32, from_y as u32)
        } else {
            Rgb([0; 3])
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Stream;

    fn picture() -> RgbImage {
        RgbImage::from_fn(6, 4, |x, y| Rgb([(10 * x + y + 1) as u8, 7, 9]))
    }

    #[test]
    fn geometry_on_pixels_that_can_be_counted() {
        let original = picture();
        let mut image = original.clone();
        AugmentOp::TranslateX(2).apply(&mut image);
        assert_eq!(image.get_pixel(2, 1), original.get_pixel(0, 1));
        assert_eq!(image.get_pixel(1, 1).0, [0; 3]);

        image = original.clone();
        AugmentOp::TranslateY(-1).apply(&mut image);
        assert_eq!(image.get_pixel(3, 0), original.get_pixel(3, 1));

        image = original.clone();
        AugmentOp::Rotate(180.0).apply(&mut image);
        assert_eq!(image.get_pixel(0, 0), original.get_pixel(5, 3));

        // 90 degrees counter-clockwise: the right column becomes the top row.
        image = RgbImage::from_fn(4, 4, |x, y| Rgb([(10 * x + y + 1) as u8, 7, 9]));
        let square = image.clone();
        AugmentOp::Rotate(90.0).apply(&mut image);
        assert_eq!(image.get_pixel(0, 0), square.get_pixel(3, 0));
        assert_eq!(image.get_pixel(3, 0), square.get_pixel(3, 3));

        // Output row y takes its pixels y + 0.5 columns further right (shear 1).
        image = original.clone();
        AugmentOp::ShearX(1.0).apply(&mut image);
        assert_eq!(image.get_pixel(0, 2), original.get_pixel(3, 2));
    }

    #[test]
    fn every_operation_is_drawn_with_the_same_probability() {
        let mut rng = SampleRng::keyed(3, Stream::User, &[]);
        let n = 28_000;
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..n {
            let text = format!("{:?}", AugmentOp::trivial(&mut rng));
            let name = text.split('(').next().unwrap_or_default().to_string();
            *counts.entry(name).or_insert(0u32) += 1;
        }
        assert_eq!(counts.len(), 14);
        assert!(
            counts.values().all(|c| (1_800..2_200).contains(c)),
            "{counts:?}"
        );
    }

    #[test]
    fn strengths_span_torchvisions_ranges() {
        let mut rng = SampleRng::keyed(5, Stream::User, &[]);
        let (mut rotate, mut bits) = (0.0_f64, 8);
        for _ in 0..20_000 {
            match AugmentOp::trivial(&mut rng) {
                AugmentOp::Rotate(v) => rotate = rotate.max(v.abs()),
                AugmentOp::Posterize(v) => bits = bits.min(v),
                AugmentOp::TranslateX(v) => assert!(v.abs() <= 32),
                AugmentOp::ShearX(v) => assert!(v.abs() <= 0.99),
                _ => {}
            }
        }
        assert_eq!((rotate, bits), (135.0, 2));
        for _ in 0..200 {
            match AugmentOp::rand_augment(9, 331, 331, &mut rng) {
                AugmentOp::Rotate(v) => assert!((v.abs() - 9.0).abs() < 1e-9),
                AugmentOp::TranslateX(v) => assert_eq!(v.abs(), 45),
                AugmentOp::Solarize(v) => assert!((v - 178.5).abs() < 1e-9),
                AugmentOp::Posterize(v) => assert_eq!(v, 7),
                _ => {}
            }
        }
    }
}

//! Simple measures of a picture: how large, how bright, how sharp.

use image::RgbImage;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::decode::{DecodeOptions, decode_file};
use crate::folder::{ImageFolder, Sample};

/// Pixels along the longer side of the copy on which sharpness is measured, so that it means the same for all sizes.
const SHARPNESS_SIDE: u32 = 256;

/// Pixels along each side of the sketch.
const SKETCH_SIDE: u32 = 16;

/// What can be said of a picture without knowing what it shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Looks {
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// The luma below which 5 % of the pixels are, 0 to 1.
    pub shadows: f32,
    /// The luma below which 99 % of the pixels are, 0 to 1.
    pub lights: f32,
    /// Standard deviation of the luma, 0 to 0.5.
    pub contrast: f32,
    /// Variance of the Laplacian of the luma (0 to 255) of a copy whose longer side has at most 256 pixels: few tens in a blurred picture,
    /// hundreds and more in a sharp one (Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy").
    pub sharpness: f32,
    /// Mean luma of 16 x 16 cells, row by row, minus their mean and of length 1; zeros in a picture of one colour.
    #[serde(skip)]
    pub sketch: Vec<f32>,
}

impl Looks {
    /// Measures a decoded picture.
    pub fn of(image: &RgbImage) -> Self {
        let luma = Luma::of(image);
        let mut histogram = [0usize; 256];
        luma.values
            .iter()
            .for_each(|value| histogram[usize::from(*value)] += 1);
        let variance = variance(luma.values.iter().map(|value| f64::from(*value)));
        let (width, height) = image.dimensions();
        let longer = width.max(height);
        let small = match longer > SHARPNESS_SIDE {
            true => {
                let side = |side: u32| (side * SHARPNESS_SIDE).div_ceil(longer).max(1);
                Luma::of(&image::imageops::thumbnail(
                    image,
                    side(width),
                    side(height),
                ))
            }
            false => luma.clone(),
        };
        Self {
            width,
            height,
            shadows: percentile(&histogram, 0.05),
            lights: percentile(&histogram, 0.99),
            contrast: (variance.sqrt() / 255.0) as f32,
            sharpness: small.laplacian_variance() as f32,
            sketch: sketch(image),
        }
    }

    /// Compares the sketches of two pictures: their correlation, -1 to 1, near 1 for copies of one picture in another size,
    /// compression or brightness; 0 where one has a single colour.
    pub fn correlation(&self, other: &Self) -> f32 {
        self.sketch
            .iter()
            .zip(&other.sketch)
            .map(|(a, b)| a * b)
            .sum()
    }
}

/// Decodes and measures every file of a folder on all processors; of a file that can't be decoded, the reason.
pub fn looks(folder: &ImageFolder, options: &DecodeOptions) -> Vec<Result<Looks, String>> {
    let of = |sample: &Sample| {
        let image = decode_file(&sample.path, options).map_err(|error| error.to_string())?;
        Ok(Looks::of(&image))
    };
    folder.samples().par_iter().map(of).collect()
}

/// Luma as Pillow's `convert("L")` computes it.
#[derive(Clone)]
struct Luma {
    width: usize,
    values: Vec<u8>,
}

impl Luma {
    fn of(image: &RgbImage) -> Self {
        let of = |pixel: &[u8]| {
            let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(u32::from);
            ((r * 19_595 + g * 38_470 + b * 7_471 + 0x8000) >> 16) as u8
        };
        Self {
            width: image.width() as usize,
            values: image.as_raw().chunks_exact(3).map(of).collect(),
        }
    }

    /// Variance of four times each inner pixel minus its four neighbours; 0 where there is no inner pixel.
    fn laplacian_variance(&self) -> f64 {
        let width = self.width;
        let height = self.values.len() / width.max(1);
        let at = |x: usize, y: usize| f64::from(self.values[y * width + x]);
        let inner = (1..height.saturating_sub(1))
            .flat_map(|y| (1..width.saturating_sub(1)).map(move |x| (x, y)));
        let edges = inner.map(|(x, y)| {
            at(x - 1, y) + at(x + 1, y) + at(x, y - 1) + at(x, y + 1) - 4.0 * at(x, y)
        });
        variance(edges)
    }
}

fn variance(values: impl Iterator<Item = f64>) -> f64 {
    let (mut count, mut sum, mut squares) = (0.0f64, 0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    let mean = sum / count.max(1.0);
    (squares / count.max(1.0) - mean * mean).max(0.0)
}

/// The smallest luma that at least a share of the pixels don't exceed.
fn percentile(histogram: &[usize; 256], share: f64) -> f32 {
    let wanted = (histogram.iter().sum::<usize>() as f64 * share).ceil() as usize;
    let mut seen = 0;
    let found = histogram.iter().position(|count| {
        seen += count;
        seen >= wanted.max(1)
    });
    found.unwrap_or(0) as f32 / 255.0
}

fn sketch(image: &RgbImage) -> Vec<f32> {
    let small = Luma::of(&image::imageops::thumbnail(image, SKETCH_SIDE, SKETCH_SIDE));
    let values: Vec<f32> = small.values.iter().map(|value| f32::from(*value)).collect();
    let mean = values.iter().sum::<f32>() / values.len().max(1) as f32;
    let length = values
        .iter()
        .map(|v| (v - mean) * (v - mean))
        .sum::<f32>()
        .sqrt();
    let scale = if length > 0.0 { 1.0 / length } else { 0.0 };
    values
        .into_iter()
        .map(|value| (value - mean) * scale)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::Rgb;

    fn checks(side: u32, cell: u32) -> RgbImage {
        RgbImage::from_fn(side, side, |x, y| {
            let value = if (x / cell + y / cell).is_multiple_of(2) {
                200
            } else {
                40
            };
            Rgb([value, value, value])
        })
    }

    #[test]
    fn dark_bright_plain_and_sharp_pictures_differ_as_they_should() {
        let sharp = Looks::of(&checks(64, 4));
        let soft = Looks::of(&image::imageops::blur(&checks(64, 4), 3.0));
        assert!(
            sharp.sharpness > 20.0 * soft.sharpness,
            "{sharp:?} {soft:?}"
        );
        assert!((sharp.contrast - 80.0 / 255.0).abs() < 1e-3);
        assert_eq!(
            [sharp.shadows, sharp.lights].map(|v| (v * 255.0).round()),
            [40.0, 200.0]
        );
        let plain = Looks::of(&RgbImage::from_pixel(5, 3, Rgb([0, 0, 255])));
        assert_eq!(
            (plain.width, plain.height, plain.contrast, plain.sharpness),
            (5, 3, 0.0, 0.0)
        );
        assert!((plain.lights - 29.0 / 255.0).abs() < 1e-6); // 0.114 of full blue.
        assert_eq!(plain.correlation(&sharp), 0.0);
        let _ = Looks::of(&RgbImage::new(1, 1));
        let _ = Looks::of(&RgbImage::new(3000, 1));
    }

    #[test]
    fn a_copy_in_another_size_and_brightness_has_the_same_sketch() {
        let picture =
            RgbImage::from_fn(160, 120, |x, y| Rgb([x as u8, y as u8, (x * y / 99) as u8]));
        let copy = image::imageops::thumbnail(&image::imageops::brighten(&picture, 10), 100, 75);
        let (picture, copy) = (Looks::of(&picture), Looks::of(&copy));
        assert!(picture.correlation(&copy) > 0.999);
        assert!(picture.correlation(&Looks::of(&checks(64, 16))) < 0.5);
    }
}

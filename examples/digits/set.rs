//! Sets of digits in gzipped idx files.

use std::io::Read;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::imageops::{self, FilterType};
use image::{GrayImage, Luma};
use rand::RngExt;
use rand::rngs::Xoshiro256PlusPlus;
use rekindle::trainer::feed::Batch;
use rekindle::trainer::loss::Targets;
use rekindle::transfer::Entry;

use crate::Failure;

/// Pixels along a side, whatever the file has.
pub const SIZE: usize = 28;
const PIXELS: usize = SIZE * SIZE;

/// Digits of 28 x 28 pixels, ink 1 on paper 0.
pub struct Digits {
    pixels: Vec<f32>,
    pub labels: Vec<usize>,
}

/// Digits as the files have them, ink 1 on paper 0.
pub struct RawDigits {
    pub pixels: Vec<f32>,
    pub height: usize,
    pub width: usize,
    pub labels: Vec<usize>,
}

impl RawDigits {
    pub fn read(folder: &Path, part: &str) -> Result<Self, Failure> {
        let images = unpack(&folder.join(format!("{part}-images-idx3-ubyte.gz")))?;
        let labels = unpack(&folder.join(format!("{part}-labels-idx1-ubyte.gz")))?;
        let number = |at: usize| {
            let bytes = images
                .get(at..at + 4)
                .and_then(|bytes| bytes.try_into().ok());
            bytes.map(u32::from_be_bytes).ok_or("a cut idx file")
        };
        let (height, width) = (number(8)? as usize, number(12)? as usize);
        let pixels: Vec<f32> = images
            .iter()
            .skip(16)
            .map(|pixel| f32::from(*pixel) / 255.0)
            .collect();
        let labels: Vec<usize> = labels
            .iter()
            .skip(8)
            .map(|label| usize::from(*label))
            .collect();
        if labels.len() * height * width != pixels.len() || labels.iter().any(|label| *label > 9) {
            return Err(
                format!("{}: images and labels of {part} disagree", folder.display()).into(),
            );
        }
        Ok(Self {
            pixels,
            height,
            width,
            labels,
        })
    }
}

impl Digits {
    pub fn read(folder: &Path, part: &str) -> Result<Self, Failure> {
        let RawDigits {
            pixels: raw,
            height,
            width,
            labels,
        } = RawDigits::read(folder, part)?;
        let mut pixels = Vec::new();
        for digit in raw.chunks_exact((height * width).max(1)) {
            let digit = GrayImage::from_fn(width as u32, height as u32, |x, y| {
                Luma([(digit[y as usize * width + x as usize] * 255.0).round() as u8])
            });
            let digit = imageops::resize(&digit, SIZE as u32, SIZE as u32, FilterType::Triangle);
            pixels.extend(digit.pixels().map(|pixel| f32::from(pixel.0[0]) / 255.0));
        }
        Ok(Self { pixels, labels })
    }

    pub fn part(&self, start: usize, end: usize) -> Self {
        Self {
            pixels: self.pixels[start * PIXELS..end * PIXELS].to_vec(),
            labels: self.labels[start..end].to_vec(),
        }
    }

    pub fn batch(&self, count: usize, draws: &mut Xoshiro256PlusPlus, device: &Device) -> Batch {
        let any = |_| draws.random_range(0..self.labels.len());
        self.of(&(0..count).map(any).collect::<Vec<_>>(), device)
    }

    pub fn of(&self, rows: &[usize], device: &Device) -> Batch {
        let digit = |row: &usize| self.pixels[row * PIXELS..(row + 1) * PIXELS].to_vec();
        let values: Vec<f32> = rows.iter().flat_map(digit).collect();
        let shape = [rows.len(), 1, SIZE, SIZE];
        Batch {
            x: Tensor::from_data(TensorData::new(values, shape), device),
            start: Entry::IMAGES,
            targets: Targets {
                labels: rows.iter().map(|row| self.labels[*row]).collect(),
                ..Targets::default()
            },
            indices: rows.to_vec(),
            number: 0,
            skipped: Vec::new(),
        }
    }
}

fn unpack(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut bytes = Vec::new();
    flate2::read::GzDecoder::new(file).read_to_end(&mut bytes)?;
    if bytes.len() < 16 {
        return Err(format!("{} is no idx file", path.display()).into());
    }
    Ok(bytes)
}

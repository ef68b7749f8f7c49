//! Omniglot's drawings: reading, and what training varies about them.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};
use image::imageops::{self, FilterType};
use rand::rngs::Xoshiro256PlusPlus;
use rand::{RngExt, SeedableRng};
use rayon::prelude::*;

use crate::Failure;

const SIZE: u32 = 28;
const PIXELS: usize = (SIZE * SIZE) as usize;

/// Drawings of 28 x 28 pixels, ink 1 on paper 0.
pub struct Characters {
    pixels: Vec<f32>,
    /// Class of each drawing.
    pub labels: Vec<usize>,
}

impl Characters {
    /// An archive with a folder a character.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let file = std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        let mut archive = zip::ZipArchive::new(file)?;
        let mut folders: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
        for index in 0..archive.len() {
            let mut entry = archive.by_index(index)?;
            let name = entry.name()?.into_owned();
            if let Some((folder, _)) = name.rsplit_once('/')
                && name.ends_with(".png")
            {
                let folder = folder.to_string();
                let mut bytes = Vec::new();
                entry.read_to_end(&mut bytes)?;
                folders.entry(folder).or_default().push(bytes);
            }
        }
        let files: Vec<(usize, Vec<u8>)> = folders
            .into_values()
            .enumerate()
            .flat_map(|(label, files)| files.into_iter().map(move |file| (label, file)))
            .collect();
        let decode = |(_, bytes): &(usize, Vec<u8>)| {
            let drawing = image::load_from_memory(bytes)?.to_luma8();
            let small = imageops::resize(&drawing, SIZE, SIZE, FilterType::Triangle);
            let ink = small
                .pixels()
                .map(|pixel| 1.0 - f32::from(pixel.0[0]) / 255.0);
            Ok(ink.collect::<Vec<f32>>())
        };
        let decoded = files.par_iter().map(decode);
        let decoded = decoded.collect::<Result<Vec<_>, image::ImageError>>()?;
        Ok(Self {
            pixels: decoded.concat(),
            labels: files.iter().map(|(label, _)| *label).collect(),
        })
    }

    fn drawing(&self, row: usize) -> &[f32] {
        &self.pixels[row * PIXELS..(row + 1) * PIXELS]
    }

    /// Each character turned by 0, 90, 180 and 270 degrees: four times as many classes.
    pub fn with_rotations(self) -> Self {
        let classes = self.labels.iter().max().map_or(0, |largest| largest + 1);
        let size = SIZE as usize;
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for quarter in 0..4 {
            for (row, label) in self.labels.iter().enumerate() {
                let mut drawing = self.drawing(row).to_vec();
                for _ in 0..quarter {
                    let turned = |at: usize| drawing[(size - 1 - at % size) * size + at / size];
                    drawing = (0..PIXELS).map(turned).collect();
                }
                pixels.extend(drawing);
                labels.push(quarter * classes + label);
            }
        }
        Self { pixels, labels }
    }

    /// Drawings `[rows, 1, 28, 28]`.
    pub fn batch(&self, rows: &[usize], device: &Device) -> Tensor<4> {
        let drawings = rows.iter().map(|row| self.drawing(*row));
        stack(&drawings.collect::<Vec<_>>().concat(), device)
    }

    /// Like [`batch`](Self::batch), each drawing turned by up to 15 degrees, sheared and scaled by up to 15 % and moved by up
    /// to two pixels; a function of the seed, the episode and the place in the batch.
    pub fn jittered(&self, rows: &[usize], draw: [u64; 2], device: &Device) -> Tensor<4> {
        let jitter = |(place, row): (usize, &usize)| {
            let mut seed = [0; 32];
            for (bytes, number) in seed.chunks_mut(8).zip([draw[0], draw[1], place as u64, 1]) {
                bytes.copy_from_slice(&number.to_le_bytes());
            }
            Jitter::draw(&mut Xoshiro256PlusPlus::from_seed(seed)).apply(self.drawing(*row))
        };
        let drawings = rows.par_iter().enumerate().map(jitter);
        stack(&drawings.collect::<Vec<_>>().concat(), device)
    }
}

fn stack(pixels: &[f32], device: &Device) -> Tensor<4> {
    let size = SIZE as usize;
    Tensor::from_data(
        TensorData::new(pixels.to_vec(), [pixels.len() / PIXELS, 1, size, size]),
        device,
    )
}

/// Where a pixel of the new drawing comes from, measured from the middle.
struct Jitter {
    linear: [f32; 4],
    offset: [f32; 2],
}

impl Jitter {
    fn draw(draws: &mut Xoshiro256PlusPlus) -> Self {
        let mut upto = |limit: f32| draws.random_range(-limit..limit);
        let (sin, cos) = upto(15.0).to_radians().sin_cos();
        let (shear, wide, high) = (upto(0.15), 1.0 + upto(0.15), 1.0 + upto(0.15));
        Self {
            linear: [
                wide * cos,
                high * (shear * cos - sin),
                wide * sin,
                high * (shear * sin + cos),
            ],
            offset: [upto(2.0), upto(2.0)],
        }
    }

    fn apply(&self, drawing: &[f32]) -> Vec<f32> {
        let (size, middle) = (SIZE as usize, (SIZE - 1) as f32 / 2.0);
        let ink = |x: f32, y: f32| {
            let inside = x >= 0.0 && y >= 0.0 && x < size as f32 && y < size as f32;
            if inside {
                drawing[y as usize * size + x as usize]
            } else {
                0.0
            }
        };
        let pixel = |at: usize| {
            let (x, y) = ((at % size) as f32 - middle, (at / size) as f32 - middle);
            let [a, b, c, d] = self.linear;
            let from_x = a * x + b * y + self.offset[0] + middle;
            let from_y = c * x + d * y + self.offset[1] + middle;
            let (left, top) = (from_x.floor(), from_y.floor());
            let (right, down) = (from_x - left, from_y - top);
            let above = ink(left, top) * (1.0 - right) + ink(left + 1.0, top) * right;
            let below = ink(left, top + 1.0) * (1.0 - right) + ink(left + 1.0, top + 1.0) * right;
            above * (1.0 - down) + below * down
        };
        (0..PIXELS).map(pixel).collect()
    }
}

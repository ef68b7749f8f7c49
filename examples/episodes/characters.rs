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

    /// Like [`batch`](Self::batch) for an episode whose rows show these classes. All drawings of a class are slanted, stretched
    /// and perhaps mirrored alike, which makes a new character of it, and each is moved a little by itself; a function of the
    /// seed and the episode.
    pub fn varied(
        &self,
        rows: &[usize],
        classes: &[usize],
        draw: [u64; 2],
        device: &Device,
    ) -> Tensor<4> {
        let vary = |(place, row): (usize, &usize)| {
            let of_class = Affine::of_character(&mut draws(draw, 1, classes[place]));
            let own = Affine::of_drawing(&mut draws(draw, 2, place));
            of_class.after(&own).apply(self.drawing(*row))
        };
        let drawings = rows.par_iter().enumerate().map(vary);
        stack(&drawings.collect::<Vec<_>>().concat(), device)
    }
}

fn draws([seed, episode]: [u64; 2], purpose: u64, number: usize) -> Xoshiro256PlusPlus {
    let mut key = [0; 32];
    for (bytes, part) in key
        .chunks_mut(8)
        .zip([seed, episode, purpose, number as u64])
    {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    Xoshiro256PlusPlus::from_seed(key)
}

fn stack(pixels: &[f32], device: &Device) -> Tensor<4> {
    let size = SIZE as usize;
    Tensor::from_data(
        TensorData::new(pixels.to_vec(), [pixels.len() / PIXELS, 1, size, size]),
        device,
    )
}

/// Where a pixel of the new drawing comes from, measured from the middle.
struct Affine {
    linear: [f32; 4],
    offset: [f32; 2],
}

impl Affine {
    /// Turned by up to 15 degrees, slanted and stretched by up to 0.3, mirrored or not.
    fn of_character(draws: &mut Xoshiro256PlusPlus) -> Self {
        let mirror = if draws.random_bool(0.5) { -1.0 } else { 1.0 };
        Self::draw(draws, 15.0, 0.3, 0.0, mirror)
    }

    /// Turned by up to 8 degrees, slanted and stretched by up to 0.1, moved by up to two pixels.
    fn of_drawing(draws: &mut Xoshiro256PlusPlus) -> Self {
        Self::draw(draws, 8.0, 0.1, 2.0, 1.0)
    }

    fn draw(
        draws: &mut Xoshiro256PlusPlus,
        degrees: f32,
        stretch: f32,
        pixels: f32,
        mirror: f32,
    ) -> Self {
        let mut upto = |limit: f32| draws.random_range(-limit..=limit);
        let (sin, cos) = upto(degrees).to_radians().sin_cos();
        let (slant, wide, high) = (
            upto(stretch),
            mirror * (1.0 + upto(stretch)),
            1.0 + upto(stretch),
        );
        Self {
            linear: [
                wide * cos,
                high * (slant * cos - sin),
                wide * sin,
                high * (slant * sin + cos),
            ],
            offset: [upto(pixels), upto(pixels)],
        }
    }

    /// First `other`, then this one, as places of pixels are looked up.
    fn after(&self, other: &Self) -> Self {
        let [a, b, c, d] = self.linear;
        let [e, f, g, h] = other.linear;
        let [x, y] = other.offset;
        Self {
            linear: [a * e + b * g, a * f + b * h, c * e + d * g, c * f + d * h],
            offset: [
                a * x + b * y + self.offset[0],
                c * x + d * y + self.offset[1],
            ],
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

//! Running a pipeline: what is drawn before an image is decoded, transforms of 8-bit pixels, and the way into floats.

use std::borrow::Cow;
use std::cell::RefCell;

use fast_image_resize::Resizer;
use image::{RgbImage, imageops};
use rekindle_preprocess::Interpolation;

use super::auto::AugmentOp;
use super::crop::{CropBox, center_crop, padded};
use super::pipeline::Pipeline;
use super::resize::{Resize, contained_size, scaled_size};
use super::{Transform, color, erase};
use crate::decode::{Need, Place};
use crate::error::Error;
use crate::planes::FloatImage;
use crate::rng::SampleRng;

thread_local! {
    /// The resizer's buffers, kept from image to image.
    pub(super) static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

impl Pipeline {
    /// Draws what the first transform needs to know of an image of this size.
    pub(crate) fn start(&self, width: u32, height: u32, rng: &mut SampleRng) -> Start {
        match (self.steps().first(), self.steps().get(1)) {
            (
                Some(Transform::RandomResizedCrop {
                    size,
                    scale,
                    ratio,
                    interpolation,
                }),
                _,
            ) => {
                let part = CropBox::random_resized(width, height, *scale, *ratio, rng);
                let resize = Resize::of_part(part, (*size, *size), *interpolation);
                Start {
                    taken: 1,
                    need: Need {
                        area: part,
                        scale: resize.reduction(),
                    },
                    resize: Some(resize),
                }
            }
            (Some(first), second) => match crop_of_resized(first, second, width, height) {
                Some(resize) => Start {
                    taken: 2,
                    need: Need {
                        area: resize.area,
                        scale: 1,
                    },
                    resize: Some(resize),
                },
                None => Start::whole(width, height),
            },
            (None, _) => Start::whole(width, height),
        }
    }

    /// Applies the pipeline like [`apply`](Self::apply), to a part of an image that holds what `start` needs.
    pub(crate) fn apply_from(
        &self,
        start: Start,
        pixels: &RgbImage,
        place: Place,
        rng: &mut SampleRng,
    ) -> FloatImage {
        let ran = self.run_on_pixels(start, pixels, place, rng);
        let (width, height) = ran.pixels.dimensions();
        let (width, height) = (width as usize, height as usize);
        let mut values = vec![0.0; 3 * width * height];
        self.run_on_floats(&ran, rng, &mut values);
        FloatImage {
            values,
            height,
            width,
        }
    }

    /// Applies the pipeline like [`apply_to_pixels`](Self::apply_to_pixels), to a part of an image.
    pub(crate) fn apply_to_pixels_from(
        &self,
        start: Start,
        pixels: &RgbImage,
        place: Place,
        rng: &mut SampleRng,
    ) -> RgbImage {
        let ran = self.run_on_pixels(start, pixels, place, rng);
        let mut pixels = ran.pixels.into_owned();
        if ran.mirrored {
            imageops::flip_horizontal_in_place(&mut pixels);
        }
        pixels
    }

    /// Applies the pipeline like [`apply_into`](Self::apply_into), to a part of an image.
    pub(crate) fn apply_into_from(
        &self,
        start: Start,
        pixels: &RgbImage,
        place: Place,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let ran = self.run_on_pixels(start, pixels, place, rng);
        if ran.pixels.as_raw().len() != out.len() {
            return Err(Error::VariableSize);
        }
        self.run_on_floats(&ran, rng, out);
        Ok(())
    }

    /// Runs the transforms of 8-bit pixels.
    fn run_on_pixels<'a>(
        &self,
        start: Start,
        pixels: &'a RgbImage,
        place: Place,
        rng: &mut SampleRng,
    ) -> Ran<'a> {
        RESIZER.with_borrow_mut(|resizer| {
            let mut pixels = match start.resize {
                Some(resize) => Cow::Owned(resize.run(pixels, place, resizer)),
                None => Cow::Borrowed(pixels),
            };
            let mut position = start.taken;
            let mut mirrored = false;
            while let Some(transform) = self.0.get(position)
                && !transform.works_on_floats()
            {
                if let Transform::RandomHorizontalFlip { p } = transform
                    && self
                        .0
                        .get(position + 1)
                        .is_none_or(Transform::works_on_floats)
                {
                    mirrored = rng.chance(*p);
                    position += 1;
                    break;
                }
                let (width, height) = pixels.dimensions();
                let cropped = crop_of_resized(transform, self.0.get(position + 1), width, height);
                position += 1 + usize::from(cropped.is_some());
                match cropped {
                    Some(resize) => {
                        pixels = Cow::Owned(resize.run(&pixels, Place::WHOLE, resizer));
                    }
                    None => run_one(transform, &mut pixels, rng, resizer),
                }
            }
            Ran {
                pixels,
                mirrored,
                position,
            }
        })
    }

    fn run_on_floats(&self, ran: &Ran<'_>, rng: &mut SampleRng, out: &mut [f32]) {
        let (mean, std) = self.normalization();
        let pixels = &*ran.pixels;
        write_planes(pixels, ran.mirrored, mean, std, out);
        for transform in &self.0[ran.position..] {
            if let Transform::RandomErasing {
                p,
                scale,
                ratio,
                fill,
            } = transform
                && rng.chance(*p)
            {
                let size = (pixels.height() as usize, pixels.width() as usize);
                erase::erase(out, size, *scale, *ratio, *fill, rng);
            }
        }
    }
}

/// Result of the transforms that work on 8-bit pixels.
struct Ran<'a> {
    pixels: Cow<'a, RgbImage>,
    /// Left and right are still to be exchanged: cheaper on the way to floats.
    mirrored: bool,
    /// Position of the first transform that works on floats.
    position: usize,
}

/// First step of a pipeline on an image of known size.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start {
    /// Transforms that `resize` stands for.
    pub(super) taken: usize,
    pub(super) resize: Option<Resize>,
    /// Pixels that they need.
    pub(crate) need: Need,
}

impl Start {
    fn whole(width: u32, height: u32) -> Self {
        Self {
            taken: 0,
            resize: None,
            need: Need {
                area: CropBox::whole(width, height),
                scale: 1,
            },
        }
    }
}

/// `Resize` followed by `CenterCrop`, computing only the pixels that the crop keeps.
pub(super) fn crop_of_resized(
    resize: &Transform,
    crop: Option<&Transform>,
    width: u32,
    height: u32,
) -> Option<Resize> {
    let Transform::Resize {
        size,
        interpolation,
    } = resize
    else {
        return None;
    };
    let Some(Transform::CenterCrop { size: crop }) = crop else {
        return None;
    };
    let full = scaled_size(width, height, *size);
    if full.0 < *crop || full.1 < *crop || *interpolation == Interpolation::Nearest {
        return None;
    }
    let window = CropBox::center(full.0, full.1, *crop);
    let resize = Resize::of_window((width, height), full, window, *interpolation);
    Some(resize)
}

fn run_one(
    transform: &Transform,
    pixels: &mut Cow<'_, RgbImage>,
    rng: &mut SampleRng,
    resizer: &mut Resizer,
) {
    let (width, height) = pixels.dimensions();
    let all = CropBox::whole(width, height);
    let mut resize = |pixels: &mut Cow<'_, RgbImage>, from, to, interpolation| {
        let resize = Resize::of_part(from, to, interpolation);
        *pixels = Cow::Owned(resize.run(pixels, Place::WHOLE, resizer));
    };
    match transform {
        Transform::Resize {
            size,
            interpolation,
        } => {
            let to = scaled_size(width, height, *size);
            resize(pixels, all, to, *interpolation);
        }
        Transform::ResizeExact {
            height,
            width,
            interpolation,
        } => resize(pixels, all, (*width, *height), *interpolation),
        Transform::Letterbox {
            size,
            fill,
            interpolation,
        } => {
            let to = contained_size(width, height, *size);
            resize(pixels, all, to, *interpolation);
            if to != (*size, *size) {
                *pixels = Cow::Owned(padded(pixels, *size, *fill));
            }
        }
        Transform::CenterCrop { size } => *pixels = Cow::Owned(center_crop(pixels, *size)),
        Transform::RandomResizedCrop {
            size,
            scale,
            ratio,
            interpolation,
        } => {
            let part = CropBox::random_resized(width, height, *scale, *ratio, rng);
            resize(pixels, part, (*size, *size), *interpolation);
        }
        Transform::RandomHorizontalFlip { p } if rng.chance(*p) => {
            imageops::flip_horizontal_in_place(pixels.to_mut());
        }
        Transform::RandomVerticalFlip { p } if rng.chance(*p) => {
            imageops::flip_vertical_in_place(pixels.to_mut());
        }
        Transform::ColorJitter {
            brightness,
            contrast,
            saturation,
            hue,
        } => {
            color::jitter(
                pixels.to_mut(),
                [*brightness, *contrast, *saturation, *hue],
                rng,
            );
        }
        Transform::Custom(custom) => {
            let taken = std::mem::take(pixels.to_mut());
            *pixels = Cow::Owned(custom.apply(taken, rng));
        }
        Transform::TrivialAugment => AugmentOp::trivial(rng).apply(pixels.to_mut()),
        Transform::RandAugment {
            operations,
            magnitude,
        } => {
            for _ in 0..*operations {
                AugmentOp::rand_augment(*magnitude, width, height, rng).apply(pixels.to_mut());
            }
        }
        Transform::Channels(_)
        | Transform::RandomHorizontalFlip { .. }
        | Transform::RandomVerticalFlip { .. }
        | Transform::Normalize { .. }
        | Transform::RandomErasing { .. } => {}
    }
}

/// `(v / 255 - mean) / std` into planes, mirrored left and right or not. A table of the 256 values
/// per channel keeps divisions out of the loop.
fn write_planes(pixels: &RgbImage, mirrored: bool, mean: [f32; 3], std: [f32; 3], out: &mut [f32]) {
    let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|v| (v as f32 / 255.0 - mean[channel]) / std[channel])
    });
    let look_up = |channel: usize, pixel: &[u8]| tables[channel][usize::from(pixel[channel])];
    let width = (pixels.width() as usize).max(1);
    let plane = out.len() / 3;
    let (red, rest) = out.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    let planes = red
        .chunks_exact_mut(width)
        .zip(green.chunks_exact_mut(width))
        .zip(blue.chunks_exact_mut(width));
    for (row, ((red, green), blue)) in pixels.as_raw().chunks_exact(3 * width).zip(planes) {
        let places = red.iter_mut().zip(green).zip(blue);
        let set = |(pixel, ((r, g), b)): (&[u8], ((&mut f32, &mut f32), &mut f32))| {
            *r = look_up(0, pixel);
            *g = look_up(1, pixel);
            *b = look_up(2, pixel);
        };
        if mirrored {
            row.chunks_exact(3).rev().zip(places).for_each(set);
        } else {
            row.chunks_exact(3).zip(places).for_each(set);
        }
    }
}

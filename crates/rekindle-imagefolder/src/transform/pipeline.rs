//! A list of transforms, and running it.

use std::borrow::Cow;
use std::cell::RefCell;

use fast_image_resize::Resizer;
use image::{RgbImage, imageops};
use serde::{Deserialize, Serialize};

use super::auto::AugmentOp;
use super::crop::{CropBox, center_crop};
use super::resize::{Interpolation, resize_part, resize_window, scaled_size};
use super::{Transform, color, erase};
use crate::error::Error;
use crate::rng::SampleRng;

thread_local! {
    /// The resizer's buffers, kept from image to image.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Transforms in order.
///
/// ```
/// use rekindle_imagefolder::{IMAGENET_MEAN, IMAGENET_STD, Pipeline, Transform};
///
/// // The two pipelines of the tutorial and of torchvision's ImageNet reference:
/// let train = Pipeline::imagenet_train(224, IMAGENET_MEAN, IMAGENET_STD);
/// let eval = Pipeline::imagenet_eval(256, 224, IMAGENET_MEAN, IMAGENET_STD);
/// assert_eq!(train.output_size(), eval.output_size());
///
/// // One of your own:
/// let gentle = Pipeline::new([
///     Transform::Resize { size: 256, interpolation: Default::default() },
///     Transform::CenterCrop { size: 224 },
///     Transform::TrivialAugment,
///     Transform::Normalize { mean: IMAGENET_MEAN, std: IMAGENET_STD },
/// ]);
/// gentle.validate()?;
/// # Ok::<(), rekindle_imagefolder::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pipeline(pub Vec<Transform>);

/// An image as the network takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct FloatImage {
    /// Planes of red, green and blue: `[3, height, width]`.
    pub values: Vec<f32>,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl Pipeline {
    /// A pipeline of these transforms.
    pub fn new(transforms: impl IntoIterator<Item = Transform>) -> Self {
        Self(transforms.into_iter().collect())
    }

    /// `RandomResizedCrop(size)`, `RandomHorizontalFlip`, `Normalize`.
    pub fn imagenet_train(size: u32, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self::new([
            Transform::RandomResizedCrop {
                size,
                scale: (0.08, 1.0),
                ratio: (3.0 / 4.0, 4.0 / 3.0),
                interpolation: Interpolation::Bilinear,
            },
            Transform::RandomHorizontalFlip { p: 0.5 },
            Transform::Normalize { mean, std },
        ])
    }

    /// `Resize(resize)`, `CenterCrop(crop)`, `Normalize`.
    pub fn imagenet_eval(resize: u32, crop: u32, mean: [f32; 3], std: [f32; 3]) -> Self {
        Self::new([
            Transform::Resize {
                size: resize,
                interpolation: Interpolation::Bilinear,
            },
            Transform::CenterCrop { size: crop },
            Transform::Normalize { mean, std },
        ])
    }

    /// Checks every transform's numbers and the order.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidTransform`].
    pub fn validate(&self) -> Result<(), Error> {
        let mut floats = false;
        for (position, transform) in self.0.iter().enumerate() {
            transform.validate(position)?;
            let wrong = |reason: &str| {
                let reason = reason.to_string();
                Err(Error::InvalidTransform {
                    position,
                    name: transform.name(),
                    reason,
                })
            };
            if floats && !transform.works_on_floats() {
                return wrong("works on 8-bit pixels; move it before normalize and random_erasing");
            }
            if floats && matches!(transform, Transform::Normalize { .. }) {
                return wrong("must come once, and before random_erasing");
            }
            floats |= transform.works_on_floats();
        }
        Ok(())
    }

    /// The size `(height, width)` that every image ends up with; `None` if it varies.
    pub fn output_size(&self) -> Option<(usize, usize)> {
        self.0.iter().fold(None, |size, transform| match transform {
            Transform::Resize { size: shorter, .. } => {
                let (height, width) = size?;
                let (width, height) = scaled_size(width as u32, height as u32, *shorter);
                Some((height as usize, width as usize))
            }
            Transform::ResizeExact { height, width, .. } => {
                Some((*height as usize, *width as usize))
            }
            Transform::CenterCrop { size } | Transform::RandomResizedCrop { size, .. } => {
                Some((*size as usize, *size as usize))
            }
            _ => size,
        })
    }

    /// Whether two calls on one image may give different results.
    pub fn is_random(&self) -> bool {
        self.0.iter().any(Transform::is_random)
    }

    /// Mean and standard deviation of the `Normalize` in it; (0, 1) if there is none.
    pub fn normalization(&self) -> ([f32; 3], [f32; 3]) {
        self.0
            .iter()
            .find_map(|transform| match transform {
                Transform::Normalize { mean, std } => Some((*mean, *std)),
                _ => None,
            })
            .unwrap_or(([0.0; 3], [1.0; 3]))
    }

    /// Runs the whole pipeline. Without `Normalize` the values are scaled to \[0, 1\].
    pub fn apply(&self, image: &RgbImage, rng: &mut SampleRng) -> FloatImage {
        let (pixels, rest) = self.run_on_pixels(image, rng);
        let (width, height) = (pixels.width() as usize, pixels.height() as usize);
        let mut values = vec![0.0; 3 * width * height];
        self.run_on_floats(&pixels, rest, rng, &mut values);
        FloatImage {
            values,
            height,
            width,
        }
    }

    /// Runs the transforms of 8-bit pixels alone: what the network will see, fit for people.
    pub fn apply_to_pixels(&self, image: &RgbImage, rng: &mut SampleRng) -> RgbImage {
        self.run_on_pixels(image, rng).0.into_owned()
    }

    /// Runs the whole pipeline into `out`, which holds `[3, height, width]` values.
    ///
    /// # Errors
    ///
    /// [`Error::VariableSize`] where the result has another size than `out`.
    pub fn apply_into(
        &self,
        image: &RgbImage,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let (pixels, rest) = self.run_on_pixels(image, rng);
        if pixels.as_raw().len() != out.len() {
            return Err(Error::VariableSize);
        }
        self.run_on_floats(&pixels, rest, rng, out);
        Ok(())
    }

    /// Returns the pixels, and the position of the first transform that works on floats.
    fn run_on_pixels<'a>(
        &self,
        image: &'a RgbImage,
        rng: &mut SampleRng,
    ) -> (Cow<'a, RgbImage>, usize) {
        RESIZER.with_borrow_mut(|resizer| {
            let mut pixels = Cow::Borrowed(image);
            let mut position = 0;
            while let Some(transform) = self.0.get(position)
                && !transform.works_on_floats()
            {
                let cropped =
                    crop_of_resized(transform, self.0.get(position + 1), &pixels, resizer);
                position += 1 + usize::from(cropped.is_some());
                match cropped {
                    Some(cropped) => pixels = Cow::Owned(cropped),
                    None => run_one(transform, &mut pixels, rng, resizer),
                }
            }
            (pixels, position)
        })
    }

    fn run_on_floats(&self, pixels: &RgbImage, from: usize, rng: &mut SampleRng, out: &mut [f32]) {
        let (mean, std) = self.normalization();
        write_planes(pixels, mean, std, out);
        for transform in &self.0[from..] {
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

/// `Resize` followed by `CenterCrop`, computing only the pixels that the crop keeps.
fn crop_of_resized(
    resize: &Transform,
    crop: Option<&Transform>,
    image: &RgbImage,
    resizer: &mut Resizer,
) -> Option<RgbImage> {
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
    let full = scaled_size(image.width(), image.height(), *size);
    if full.0 < *crop || full.1 < *crop || *interpolation == Interpolation::Nearest {
        return None;
    }
    let window = CropBox::center(full.0, full.1, *crop);
    Some(resize_window(image, full, window, *interpolation, resizer))
}

fn run_one(
    transform: &Transform,
    pixels: &mut Cow<'_, RgbImage>,
    rng: &mut SampleRng,
    resizer: &mut Resizer,
) {
    let (width, height) = pixels.dimensions();
    match transform {
        Transform::Resize {
            size,
            interpolation,
        } => {
            let to = scaled_size(width, height, *size);
            let all = CropBox::whole(pixels);
            *pixels = Cow::Owned(resize_part(pixels, all, to, *interpolation, resizer));
        }
        Transform::ResizeExact {
            height,
            width,
            interpolation,
        } => {
            let all = CropBox::whole(pixels);
            let to = (*width, *height);
            *pixels = Cow::Owned(resize_part(pixels, all, to, *interpolation, resizer));
        }
        Transform::CenterCrop { size } => *pixels = Cow::Owned(center_crop(pixels, *size)),
        Transform::RandomResizedCrop {
            size,
            scale,
            ratio,
            interpolation,
        } => {
            let part = CropBox::random_resized(width, height, *scale, *ratio, rng);
            let to = (*size, *size);
            *pixels = Cow::Owned(resize_part(pixels, part, to, *interpolation, resizer));
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
        Transform::TrivialAugment => AugmentOp::trivial(rng).apply(pixels.to_mut()),
        Transform::RandAugment {
            operations,
            magnitude,
        } => {
            for _ in 0..*operations {
                AugmentOp::rand_augment(*magnitude, width, height, rng).apply(pixels.to_mut());
            }
        }
        Transform::RandomHorizontalFlip { .. }
        | Transform::RandomVerticalFlip { .. }
        | Transform::Normalize { .. }
        | Transform::RandomErasing { .. } => {}
    }
}

/// `(v / 255 - mean) / std` into planes. A table of the 256 values per channel keeps divisions out
/// of the loop.
fn write_planes(pixels: &RgbImage, mean: [f32; 3], std: [f32; 3], out: &mut [f32]) {
    let tables: [[f32; 256]; 3] = std::array::from_fn(|channel| {
        std::array::from_fn(|v| (v as f32 / 255.0 - mean[channel]) / std[channel])
    });
    let plane = out.len() / 3;
    let (red, rest) = out.split_at_mut(plane);
    let (green, blue) = rest.split_at_mut(plane);
    let planes = red.iter_mut().zip(green).zip(blue);
    for (pixel, ((r, g), b)) in pixels.as_raw().chunks_exact(3).zip(planes) {
        *r = tables[0][usize::from(pixel[0])];
        *g = tables[1][usize::from(pixel[1])];
        *b = tables[2][usize::from(pixel[2])];
    }
}

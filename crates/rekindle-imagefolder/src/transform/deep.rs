//! Running a pipeline on pictures at the depth of their files: resizing, crops and flips on floating-point planes.

use fast_image_resize::Resizer;

use super::crop::{CropBox, padding};
use super::pipeline::Pipeline;
use super::resize::{Resize, contained_size, scaled_size};
use super::run::{RESIZER, Start, crop_of_resized};
use super::{Transform, erase};
use crate::error::Error;
use crate::planes::FloatImage;
use crate::rng::SampleRng;

impl Pipeline {
    /// Runs the whole pipeline on a whole picture. Draws of random numbers are those of 8-bit pictures.
    pub(crate) fn apply_deep(
        &self,
        start: Start,
        image: &FloatImage,
        rng: &mut SampleRng,
    ) -> FloatImage {
        let mut image = self.transformed(start, image, rng);
        let (mean, std) = self.normalization();
        let of_each = |rgb| {
            self.channels()
                .map_or(Vec::from(rgb), |own| own.values(rgb))
        };
        let plane = (image.height * image.width).max(1);
        let planes = image.values.chunks_exact_mut(plane);
        for ((plane, mean), std) in planes.zip(of_each(mean)).zip(of_each(std)) {
            plane
                .iter_mut()
                .for_each(|value| *value = (*value - mean) / std);
        }
        for transform in self.steps() {
            if let Transform::RandomErasing {
                p,
                scale,
                ratio,
                fill,
            } = transform
                && rng.chance(*p)
            {
                let size = (image.height, image.width);
                erase::erase(&mut image.values, size, *scale, *ratio, *fill, rng);
            }
        }
        image
    }

    /// Runs the pipeline like [`apply_deep`](Self::apply_deep) into `out`, which holds `[channels, height, width]` values.
    pub(crate) fn apply_deep_into(
        &self,
        start: Start,
        image: &FloatImage,
        rng: &mut SampleRng,
        out: &mut [f32],
    ) -> Result<(), Error> {
        let applied = self.apply_deep(start, image, rng);
        if applied.values.len() != out.len() {
            return Err(Error::VariableSize);
        }
        out.copy_from_slice(&applied.values);
        Ok(())
    }

    /// Runs the transforms before normalisation.
    pub(crate) fn transformed(
        &self,
        start: Start,
        image: &FloatImage,
        rng: &mut SampleRng,
    ) -> FloatImage {
        RESIZER.with_borrow_mut(|resizer| {
            let mut image = match start.resize {
                Some(resize) => resize.run_planes(image, resizer),
                None => image.clone(),
            };
            let steps = self.steps();
            let mut position = start.taken;
            while let Some(transform) = steps.get(position)
                && !transform.works_on_floats()
            {
                let (width, height) = (image.width as u32, image.height as u32);
                let cropped = crop_of_resized(transform, steps.get(position + 1), width, height);
                position += 1 + usize::from(cropped.is_some());
                image = match cropped {
                    Some(resize) => resize.run_planes(&image, resizer),
                    None => self.run_one(transform, image, rng, resizer),
                };
            }
            image
        })
    }

    fn run_one(
        &self,
        transform: &Transform,
        image: FloatImage,
        rng: &mut SampleRng,
        resizer: &mut Resizer,
    ) -> FloatImage {
        let (width, height) = (image.width as u32, image.height as u32);
        let all = CropBox::whole(width, height);
        let mut resized = |image: &FloatImage, from, to, interpolation| {
            Resize::of_part(from, to, interpolation).run_planes(image, resizer)
        };
        match transform {
            Transform::Resize {
                size,
                interpolation,
            } => {
                let to = scaled_size(width, height, *size);
                resized(&image, all, to, *interpolation)
            }
            Transform::ResizeExact {
                height,
                width,
                interpolation,
            } => resized(&image, all, (*width, *height), *interpolation),
            Transform::Letterbox {
                size,
                fill,
                interpolation,
            } => {
                let to = contained_size(width, height, *size);
                let image = resized(&image, all, to, *interpolation);
                let offset = |side: u32| padding(side, *size);
                let fill = fill.map(|value| f32::from(value) / 255.0);
                let fill = self
                    .channels()
                    .map_or(Vec::from(fill), |own| own.values(fill));
                let side = *size as usize;
                image.placed((side, side), (offset(to.1), offset(to.0)), &fill)
            }
            Transform::CenterCrop { size } => center_crop(&image, *size),
            Transform::RandomResizedCrop {
                size,
                scale,
                ratio,
                interpolation,
            } => {
                let part = CropBox::random_resized(width, height, *scale, *ratio, rng);
                resized(&image, part, (*size, *size), *interpolation)
            }
            Transform::RandomHorizontalFlip { p } if rng.chance(*p) => image.mirrored(),
            Transform::RandomVerticalFlip { p } if rng.chance(*p) => image.upside_down(),
            // The others are on colours of 8 bits, which no pipeline of other channels has.
            _ => image,
        }
    }
}

fn center_crop(image: &FloatImage, size: u32) -> FloatImage {
    let (width, height) = (image.width as u32, image.height as u32);
    if width >= size && height >= size {
        return image.part(CropBox::center(width, height, size));
    }
    let offset = |side: u32| (size.saturating_sub(side) / 2) as usize;
    let whole = (height.max(size) as usize, width.max(size) as usize);
    let black = vec![0.0; image.channels()];
    let padded = image.placed(whole, (offset(height), offset(width)), &black);
    center_crop(&padded, size)
}

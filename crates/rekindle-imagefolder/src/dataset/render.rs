//! Decodes images, hashes what they are decoded from, and takes them through the pipeline.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use image::RgbImage;
use rayon::prelude::*;
use rekindle_preprocess::Channels;

use super::{ImageDataset, Source};
use crate::cache::Decoded;
use crate::content::ContentHash;
use crate::decode::{Need, Place, decode_channels, decode_part_of_bytes, decode_rgb, read};
use crate::error::Error;
use crate::formats::native::of_rgb;
use crate::picture::Picture;
use crate::planes::FloatImage;
use crate::rng::SampleRng;
use crate::transform::Start;

impl ImageDataset {
    /// Hashes what an image is decoded from: its file, or its size and pixels where there is no file. Of an image that
    /// is held in memory, the file as it was when it was decoded.
    ///
    /// # Errors
    ///
    /// [`Error::Read`], and those of drawing.
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn content(&self, index: usize) -> Result<ContentHash, Error> {
        let place = self.place(index);
        if let Some(hash) = self.cache.as_ref().and_then(|cache| cache.content(place)) {
            return Ok(hash);
        }
        match &self.source {
            Source::Files { paths, .. } => Ok(ContentHash::of(&read(&paths[place])?)),
            Source::Memory(images) => Ok(ContentHash::of_picture(&images[place])),
            Source::Drawn(_) => Ok(ContentHash::of_picture(&self.decode(index)?.image)),
        }
    }

    /// The [`content`](Self::content) of every image, in order, on all processors.
    pub fn contents(&self) -> Vec<Result<ContentHash, Error>> {
        self.contents_of(0..self.len())
    }

    /// The [`content`](Self::content) of some images, in order, on all processors.
    ///
    /// # Panics
    ///
    /// If an index is not below `len()`.
    pub fn contents_of(&self, indices: Range<usize>) -> Vec<Result<ContentHash, Error>> {
        indices
            .into_par_iter()
            .map(|index| self.content(index))
            .collect()
    }

    /// The decoded image, before any transform; of other channels than RGB, what people are shown.
    ///
    /// # Errors
    ///
    /// Those of [`decode_file`](crate::decode_file).
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn decoded(&self, index: usize) -> Result<Arc<RgbImage>, Error> {
        Ok(self.decode(index)?.image.shown())
    }

    /// The decoded image, and what it was decoded from where the cache wants to know.
    fn decode(&self, index: usize) -> Result<Decoded, Error> {
        let index = self.place(index);
        if let Some(held) = self.cache.as_ref().and_then(|cache| cache.get(index)) {
            return Ok(held);
        }
        let (image, content) = match &self.source {
            Source::Memory(images) => {
                return Ok(Decoded {
                    image: images[index].clone(),
                    content: None,
                });
            }
            Source::Files { paths, .. } => {
                let path = &paths[index];
                let bytes = read(path)?;
                let is_hashed = self.cache.as_ref().is_some_and(|c| c.wants_hashes());
                let content = is_hashed.then(|| ContentHash::of(&bytes));
                (self.decode_file(path, &bytes)?, content)
            }
            Source::Drawn(draw) => {
                let image = Picture::Rgb(Arc::new(draw(index)?));
                let is_hashed = self.cache.as_ref().is_some_and(|c| c.wants_hashes());
                let content = is_hashed.then(|| ContentHash::of_picture(&image));
                (image, content)
            }
        };
        let decoded = Decoded { image, content };
        if let Some(cache) = &self.cache {
            cache.offer(index, &decoded);
        }
        Ok(decoded)
    }

    fn decode_file(&self, path: &Path, bytes: &[u8]) -> Result<Picture, Error> {
        Ok(match self.channels() {
            Some(channels) => {
                let image = decode_channels(path, bytes, channels, &self.decode)?;
                Picture::Deep(Arc::new(image))
            }
            None => Picture::Rgb(Arc::new(decode_rgb(path, bytes, &self.decode)?)),
        })
    }

    /// The image through the pipeline. The result is a function of the arguments alone.
    ///
    /// # Errors
    ///
    /// As [`decoded`](Self::decoded).
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn render(
        &self,
        index: usize,
        seed: u64,
        epoch: u64,
        view: u64,
    ) -> Result<FloatImage, Error> {
        let mut rng = SampleRng::for_sample(seed, epoch, index as u64, view);
        let pipeline = &self.pipeline;
        if let Some(channels) = self.channels() {
            let apply = |start, image: &_, rng: &mut _| pipeline.apply_deep(start, image, rng);
            return Ok(self.with_planes(index, channels, &mut rng, false, apply)?.0);
        }
        let apply =
            |start, pixels: &_, place, rng: &mut _| pipeline.apply_from(start, pixels, place, rng);
        Ok(self.with_pixels(index, &mut rng, false, apply)?.0)
    }

    /// As [`render`](Self::render), without normalisation: what to show to people.
    ///
    /// # Errors
    ///
    /// As [`decoded`](Self::decoded).
    ///
    /// # Panics
    ///
    /// If `index >= len()`.
    pub fn render_pixels(
        &self,
        index: usize,
        seed: u64,
        epoch: u64,
        view: u64,
    ) -> Result<RgbImage, Error> {
        let mut rng = SampleRng::for_sample(seed, epoch, index as u64, view);
        let pipeline = &self.pipeline;
        if let Some(channels) = self.channels() {
            let apply = |start, image: &_, rng: &mut _| pipeline.transformed(start, image, rng);
            let (image, _) = self.with_planes(index, channels, &mut rng, false, apply)?;
            return Ok(image.shown());
        }
        let apply = |start, pixels: &_, place, rng: &mut _| {
            pipeline.apply_to_pixels_from(start, pixels, place, rng)
        };
        Ok(self.with_pixels(index, &mut rng, false, apply)?.0)
    }

    /// As [`render`](Self::render), straight into a batch's buffer; where `hash` is set, with the hash of what was decoded.
    pub(crate) fn render_into(
        &self,
        index: usize,
        rng: &mut SampleRng,
        hash: bool,
        out: &mut [f32],
    ) -> Result<Option<ContentHash>, Error> {
        let pipeline = &self.pipeline;
        if let Some(channels) = self.channels() {
            let apply =
                |start, image: &_, rng: &mut _| pipeline.apply_deep_into(start, image, rng, out);
            let (applied, content) = self.with_planes(index, channels, rng, hash, apply)?;
            return applied.map(|()| content);
        }
        let apply = |start, pixels: &_, place, rng: &mut _| {
            pipeline.apply_into_from(start, pixels, place, rng, out)
        };
        let (applied, content) = self.with_pixels(index, rng, hash, apply)?;
        applied.map(|()| content)
    }

    /// Draws how the pipeline begins, and gives at least the pixels that this needs.
    fn with_pixels<T>(
        &self,
        index: usize,
        rng: &mut SampleRng,
        hash: bool,
        go_on: impl FnOnce(Start, &RgbImage, Place, &mut SampleRng) -> T,
    ) -> Result<(T, Option<ContentHash>), Error> {
        let Some(path) = self.path_to_decode_in_part(index) else {
            let (image, content) = self.held(index, hash)?;
            let image = image.shown();
            let start = self.pipeline.start(image.width(), image.height(), rng);
            return Ok((go_on(start, &image, Place::WHOLE, rng), content));
        };
        let bytes = read(path)?;
        let content = hash.then(|| ContentHash::of(&bytes));
        // What is in the cache must not decide about what an image looks like.
        let may_reduce = self.may_reduce();
        let mut begun = None;
        let (pixels, place) =
            decode_part_of_bytes(path, &bytes, &self.decode, &mut |width, height| {
                let start = begun.get_or_insert_with(|| self.pipeline.start(width, height, rng));
                Need {
                    scale: if may_reduce { start.need.scale } else { 1 },
                    ..start.need
                }
            })?;
        let start =
            begun.unwrap_or_else(|| self.pipeline.start(pixels.width(), pixels.height(), rng));
        Ok((go_on(start, &pixels, place, rng), content))
    }

    /// Draws how the pipeline begins on a picture of other channels, which is decoded as a whole.
    fn with_planes<T>(
        &self,
        index: usize,
        channels: Channels,
        rng: &mut SampleRng,
        hash: bool,
        go_on: impl FnOnce(Start, &FloatImage, &mut SampleRng) -> T,
    ) -> Result<(T, Option<ContentHash>), Error> {
        let (picture, content) = self.held(index, hash)?;
        let image = match picture {
            Picture::Deep(image) => image,
            Picture::Rgb(image) => Arc::new(of_rgb(&image, channels)?),
        };
        let (width, height) = (image.width as u32, image.height as u32);
        let start = self.pipeline.start(width, height, rng);
        Ok((go_on(start, &image, rng), content))
    }

    /// The decoded picture and, where `hash` is set, the hash of what it was decoded from.
    fn held(&self, index: usize, hash: bool) -> Result<(Picture, Option<ContentHash>), Error> {
        match hash {
            true => self.hashed(index),
            false => Ok((self.decode(index)?.image, None)),
        }
    }

    fn hashed(&self, index: usize) -> Result<(Picture, Option<ContentHash>), Error> {
        // Has the cache hash what it is going to hold, and let go of what it holds unhashed.
        let place = self.place(index);
        let held = self.cache.as_ref().and_then(|cache| cache.content(place));
        let decoded = self.decode(index)?;
        let content = held.or(decoded.content);
        let content = content.unwrap_or_else(|| ContentHash::of_picture(&decoded.image));
        Ok((decoded.image, Some(content)))
    }

    /// Returns true if a JPEG may be decoded at a fraction of its size.
    pub(super) fn may_reduce(&self) -> bool {
        self.decode.reduced_scale && self.cache.is_none()
    }

    /// The file of an image that is not in memory and is not going to be.
    fn path_to_decode_in_part(&self, index: usize) -> Option<&Path> {
        let index = self.place(index);
        match (&self.source, &self.cache) {
            (Source::Files { paths, .. }, None) => Some(&paths[index]),
            (Source::Files { paths, .. }, Some(cache)) if cache.is_closed_to(index) => {
                Some(&paths[index])
            }
            _ => None,
        }
    }
}

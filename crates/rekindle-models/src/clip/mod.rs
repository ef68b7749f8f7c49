//! CLIP (Radford et al. 2021, <https://arxiv.org/abs/2103.00020>): images and texts in one space, under open_clip's names,
//! which are OpenAI's, and Hugging Face's.
//!
//! The image tower is a network like the others, whose features are the embedding: it is trained, frozen, cached and exported
//! like them. With the text tower beside it, [`Clip`] says which of several sentences fits an image, so that classes need no
//! images to learn from. Take it where names say what the classes are, and where pictures are few and far from ImageNet's.
//!
//! | model | parameters, image and text | multiply-adds, image | images |
//! |---|---|---|---|
//! | `open_clip/ViT-B-32` | 87.8 M, 63.4 M | 4.41 G | 224 pixels |
//! | `open_clip/ViT-B-16` | 86.2 M, 63.4 M | 17.56 G | 224 pixels |
//!
//! `ViT-B-32-quickgelu` and `ViT-B-16-quickgelu` have the same tensors and compute `x * sigmoid(1.702 x)` where the others
//! have GELU. OpenAI's own weights need them, those of LAION don't. In a file, this is decided as [`Activations`] says.
//! Towers of other widths and depths, such as ViT-L/14, are recognised by their shapes; image towers of more than 1024 channels
//! are not, since their heads have other sizes than 64, which no tensor tells.
//!
//! ```no_run
//! use burn::tensor::{Device, Tensor};
//! use rekindle_models::clip::Clip;
//!
//! let clip = Clip::open("open_clip_model.safetensors", &Device::flex())?;
//! let images = Tensor::zeros([1, 3, 224, 224], &Device::flex());
//! // "a photo of an ant", as the tokenizer gives it.
//! let text = clip.text.encode(&[vec![49406, 320, 1125, 539, 550, 773, 49407]])?;
//! let logits = clip.logits(clip.encode_images(images), text);
//! assert_eq!(logits.dims(), [1, 1]);
//! # Ok::<(), rekindle_models::Error>(())
//! ```

mod blocks;
mod image;
mod names;
mod text;
#[cfg(feature = "tokenizer")]
mod tokenizer;

use std::path::Path;

use burn::prelude::*;
use rekindle_nn::{Graph, Network};
use rekindle_preprocess::{Interpolation, Preprocess, ResizeMode};
use rekindle_weights::{Checkpoint, Error as WeightsError, LoadOptions, read};

use crate::{Error, Pretrained};

pub(crate) use blocks::HEAD;
pub use image::{ImageTower, vit_b_16, vit_b_16_quickgelu, vit_b_32, vit_b_32_quickgelu};
pub use names::Activations;
pub(crate) use names::Layout;
pub use text::{TextEncoder, TextTower};
#[cfg(feature = "tokenizer")]
pub use tokenizer::Tokenizer;

/// Preprocessing of every CLIP with inputs of 224 pixels.
pub const PREPROCESS: Preprocess = Preprocess {
    resize: 224,
    crop: 224,
    mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
    std: [0.268_629_54, 0.261_302_6, 0.275_777_1],
    interpolation: Interpolation::Bicubic,
    mode: ResizeMode::Crop,
    channels: None,
};

/// Tells whether a description is that of an image tower, of whatever size.
pub(crate) fn is_image_tower(graph: &Graph) -> bool {
    let first = graph.tensors().first();
    first.is_some_and(|tensor| tensor.name == "class_embedding")
}

/// Both towers.
#[derive(Clone, Debug)]
pub struct Clip {
    /// The image tower, with its preprocessing.
    pub image: Pretrained,
    /// The text tower.
    pub text: TextEncoder,
    /// Factor that turns cosines into logits: the exponential of the file's `logit_scale`.
    pub logit_scale: f32,
}

impl Clip {
    /// Reads a file of weights that holds both towers.
    ///
    /// # Errors
    ///
    /// Those of [`Pretrained::open`] for the image tower; the same for the text tower, and
    /// [`MissingTensor`](WeightsError::MissingTensor) where there is no `logit_scale`.
    pub fn open(path: impl AsRef<Path>, device: &Device) -> Result<Self, Error> {
        Self::open_with(path, None, &LoadOptions::default(), device)
    }

    /// Reads a file as [`open`](Self::open) does. `architecture`, such as `ViT-B-32-quickgelu`, stands for what the file says
    /// of its architecture, and `options` tell the image tower's place in a file of several.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with(
        path: impl AsRef<Path>,
        architecture: Option<&str>,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, Error> {
        let path = path.as_ref();
        let mut checkpoint = read(path)?;
        if let Some(architecture) = architecture {
            let key = "architecture".to_string();
            checkpoint.metadata.insert(key, architecture.to_string());
        }
        let image = Pretrained::from_checkpoint(&mut checkpoint, options, device)?;
        if !is_image_tower(image.model.graph()) {
            return Err(Error::NoClip {
                path: path.to_path_buf(),
                found: image.architecture,
            });
        }
        let activations = Activations::of(&checkpoint);
        let text = TextEncoder::read(&checkpoint, activations, &LoadOptions::default(), device)?;
        let logit_scale = logit_scale(&checkpoint)?;
        if image.model.num_features() != text.num_features() {
            return Err(Error::Towers {
                path: path.to_path_buf(),
                image: image.model.num_features(),
                text: text.num_features(),
            });
        }
        Ok(Self {
            image,
            text,
            logit_scale,
        })
    }

    /// Computes embeddings `[batch, features]` of length 1 of preprocessed images `[batch, 3, height, width]`.
    pub fn encode_images(&self, images: Tensor<4>) -> Tensor<2> {
        encode_images(&self.image.model, images)
    }

    /// Computes logits `[images, texts]` of embeddings of length 1.
    pub fn logits(&self, images: Tensor<2>, texts: Tensor<2>) -> Tensor<2> {
        images.matmul(texts.transpose()) * self.logit_scale
    }
}

/// Computes embeddings of length 1 by an image tower, whatever classifier it has.
pub fn encode_images(network: &Network, images: Tensor<4>) -> Tensor<2> {
    normalise(network.pool(network.forward_features(images)))
}

/// Scales rows to length 1; open_clip's `normalize=True`.
pub fn normalise(rows: Tensor<2>) -> Tensor<2> {
    let length = (rows.clone() * rows.clone()).sum_dim(1).sqrt();
    rows / length.clamp_min(1e-12)
}

/// Reads the exponential of the one number that files keep beside the towers.
fn logit_scale(checkpoint: &Checkpoint) -> Result<f32, WeightsError> {
    const NAME: &str = "logit_scale";
    let is_it = |name: &&String| {
        let rest = name.strip_suffix(NAME);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let name = checkpoint.tensors.keys().find(is_it);
    let values = checkpoint.read_f32(name.map_or(NAME, String::as_str))?;
    Ok(values.first().copied().unwrap_or_default().exp())
}

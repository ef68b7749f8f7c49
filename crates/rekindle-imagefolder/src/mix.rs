//! Mixing images of one batch: MixUp and CutMix.

use rand_distr::{Beta, Distribution};
use serde::{Deserialize, Serialize};

use crate::batch::HostBatch;
use crate::error::Error;
use crate::rng::{SampleRng, Stream};

/// A way to mix the images of a batch. Each image's partner is the one before it (torchvision's
/// choice: the order is random already), and one ratio holds for the whole batch. Targets become
/// the same mixture of one-hot vectors, or of those that the images have.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "snake_case", deny_unknown_fields)]
pub enum Mix {
    /// `ratio * image + (1 - ratio) * partner` (Zhang et al., 2018).
    MixUp {
        /// The ratio is Beta(alpha, alpha); above 0. ImageNet recipes use 0.2.
        alpha: f64,
    },
    /// A rectangle of the partner, `1 - ratio` of the area, clipped at the border (Yun et al.,
    /// 2019). Targets follow the area that was really replaced.
    CutMix {
        /// The ratio is Beta(alpha, alpha); above 0. ImageNet recipes use 1.
        alpha: f64,
    },
    /// One of the two for each batch, with equal probability.
    Either {
        /// MixUp's alpha.
        mixup_alpha: f64,
        /// CutMix's alpha.
        cutmix_alpha: f64,
    },
}

impl Mix {
    /// Checks the parameters.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`].
    pub fn validate(&self) -> Result<(), Error> {
        let alphas = match *self {
            Mix::MixUp { alpha } | Mix::CutMix { alpha } => [alpha, alpha],
            Mix::Either {
                mixup_alpha,
                cutmix_alpha,
            } => [mixup_alpha, cutmix_alpha],
        };
        for alpha in alphas {
            beta(alpha)?;
        }
        Ok(())
    }

    /// Mixes a batch; the draws belong to (seed, epoch, the batch's number).
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for a bad alpha, or images without a label below `classes`.
    pub fn apply(
        &self,
        batch: &mut HostBatch,
        classes: usize,
        seed: u64,
        epoch: u64,
    ) -> Result<(), Error> {
        let mut rng = SampleRng::keyed(seed, Stream::Mix, &[epoch, batch.number as u64]);
        let ratio = match *self {
            Mix::MixUp { alpha } => blend(batch, beta(alpha)?.sample(&mut rng)),
            Mix::CutMix { alpha } => paste(batch, beta(alpha)?.sample(&mut rng), &mut rng),
            Mix::Either {
                mixup_alpha,
                cutmix_alpha,
            } => {
                if rng.chance(0.5) {
                    blend(batch, beta(mixup_alpha)?.sample(&mut rng))
                } else {
                    paste(batch, beta(cutmix_alpha)?.sample(&mut rng), &mut rng)
                }
            }
        };
        batch.soft_targets = Some(match batch.soft_targets.take() {
            Some(targets) => mixed_rows(&targets, batch.len(), ratio as f32),
            None => mixed_targets(&batch.labels, classes, ratio as f32)?,
        });
        Ok(())
    }
}

fn beta(alpha: f64) -> Result<Beta<f64>, Error> {
    Beta::new(alpha, alpha).map_err(|_| Error::InvalidOption {
        option: "mix",
        reason: format!("alpha is {alpha}, expected a finite number above 0"),
    })
}

/// Applies MixUp and returns the ratio.
fn blend(batch: &mut HostBatch, ratio: f64) -> f64 {
    let own = ratio as f32;
    each_pair(batch, |image, partner| {
        for (value, other) in image.iter_mut().zip(partner) {
            *value = own * *value + (1.0 - own) * other;
        }
    });
    ratio
}

/// Applies CutMix and returns the share of the area that images keep.
fn paste(batch: &mut HostBatch, ratio: f64, rng: &mut SampleRng) -> f64 {
    let (height, width) = (batch.height, batch.width);
    let (x, y) = (rng.below(width), rng.below(height));
    let half = 0.5 * (1.0 - ratio).max(0.0).sqrt();
    let (half_w, half_h) = (
        (half * width as f64) as usize,
        (half * height as f64) as usize,
    );
    let columns = x.saturating_sub(half_w)..(x + half_w).min(width);
    let rows = y.saturating_sub(half_h)..(y + half_h).min(height);
    each_pair(batch, |image, partner| {
        for plane in 0..image.len() / (height * width).max(1) {
            for row in rows.clone() {
                let start = (plane * height + row) * width;
                let span = start + columns.start..start + columns.end;
                image[span.clone()].copy_from_slice(&partner[span]);
            }
        }
    });
    1.0 - (columns.len() * rows.len()) as f64 / (width * height) as f64
}

/// Calls `mix` on every image with its partner as it was before any mixing.
fn each_pair(batch: &mut HostBatch, mix: impl Fn(&mut [f32], &[f32])) {
    let length = batch.channels() * batch.height * batch.width;
    let n = batch.len();
    if n == 0 || length == 0 {
        return;
    }
    // From the last to the first, so that a partner is still unmixed; the first one's partner is
    // the last, which is kept.
    let last = batch.images[(n - 1) * length..].to_vec();
    for position in (1..n).rev() {
        let (before, from) = batch.images.split_at_mut(position * length);
        mix(&mut from[..length], &before[(position - 1) * length..]);
    }
    mix(&mut batch.images[..length], &last);
}

fn mixed_targets(labels: &[i64], classes: usize, own: f32) -> Result<Vec<f32>, Error> {
    let mut targets = vec![0.0; labels.len() * classes];
    for position in 0..labels.len() {
        let partner = if position == 0 {
            labels.len() - 1
        } else {
            position - 1
        };
        for (label, share) in [(labels[position], own), (labels[partner], 1.0 - own)] {
            let class = usize::try_from(label).ok().filter(|class| *class < classes);
            let Some(class) = class else {
                return Err(Error::InvalidOption {
                    option: "mix",
                    reason: format!("needs labels, and one is {label} with {classes} classes"),
                });
            };
            targets[position * classes + class] += share;
        }
    }
    Ok(targets)
}

/// Targets that images have already, mixed as the images are.
fn mixed_rows(targets: &[f32], images: usize, own: f32) -> Vec<f32> {
    let width = targets.len() / images.max(1);
    let value = |at: usize| {
        let partner = match at < width {
            true => at + (images - 1) * width,
            false => at - width,
        };
        own * targets[at] + (1.0 - own) * targets[partner]
    };
    (0..targets.len()).map(value).collect()
}

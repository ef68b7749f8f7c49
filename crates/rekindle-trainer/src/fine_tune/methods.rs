//! Ways to train a network, to be tried against each other.

use rekindle_imagefolder::{AugmentPolicy, Augmentation, OnBadFile, Pipeline, Task};
use rekindle_models::{Preprocess, Pretrained};
use rekindle_transfer::Strategy;
use serde::{Deserialize, Serialize};

use super::Fit;
use crate::optimizer::Optimizer;
use crate::{Anneal, Loss, Recipe, Schedule};

/// Images of a step.
pub(super) const BATCH: usize = 16;

/// Size of the pictures that a network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Scale {
    /// As the weights ask for.
    Whole,
    /// Smaller, in use as well as in training.
    Reduced,
}

/// Settings that distinguish one training from another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Method {
    /// Size of the pictures that the network is for.
    pub scale: Scale,
    /// Side of the pictures that are learnt from.
    pub size: usize,
    /// The head's learning rate at its highest.
    pub rate: f64,
    /// Reason for trying it.
    pub why: &'static str,
}

/// The backbone's rate over the head's.
const BACKBONE: f64 = 0.1;

/// Steps that a trial can make from which on the fast rate is tried first: in few, a network only loses what the probe knows.
const MANY_STEPS: f64 = 100.0;

/// Passes of whole pictures that a trial can make below which smaller ones are tried first, for which there are twice as
/// many.
const FEW_PASSES: f64 = 10.0;

/// The side of small pictures that a network for whole ones learns from, as a share of these.
const SMALL: f64 = 0.72;

/// Sides of smaller pictures are multiples of this.
const MULTIPLE: usize = 32;

/// Pictures that can be made smaller at all.
const LEAST_SIZE: usize = 128;

impl Method {
    /// Returns every way to train `pretrained`, the first one to be tried first, where a trial has the time for so
    /// many passes over `images` whole pictures. `reduced` is the side of reduced pictures, where these are worth a try.
    pub fn all(
        pretrained: &Pretrained,
        reduced: Option<usize>,
        passes: f64,
        images: usize,
    ) -> Vec<Self> {
        let (full, small) = (pretrained.preprocess.crop, side(pretrained, SMALL));
        let mut methods = Self::in_order(full, small, passes, images);
        if let Some(size) = reduced {
            let passes = passes * (full as f64 / size as f64).powi(2);
            let first = Self::in_order(size, None, passes, images)[0];
            methods.insert(
                0,
                Self {
                    scale: Scale::Reduced,
                    ..first
                },
            );
        }
        methods
    }

    fn in_order(full: usize, small: Option<usize>, passes: f64, images: usize) -> Vec<Self> {
        let small = small.filter(|_| passes < FEW_PASSES);
        let times = if small.is_some() { 2.0 } else { 1.0 };
        let fast = Self {
            scale: Scale::Whole,
            size: small.unwrap_or(full),
            rate: 3e-3,
            why: "there is time to learn much",
        };
        let gentle = Self {
            rate: 1e-3,
            why: "gentle, near to what the source knows",
            ..fast
        };
        match times * passes * images as f64 / BATCH as f64 >= MANY_STEPS {
            true => vec![fast, gentle],
            false => vec![gentle, fast],
        }
    }

    /// Returns the gentle method, with pictures as they are in use.
    pub fn of_whole_pictures(pretrained: &Pretrained) -> Self {
        Self {
            scale: Scale::Whole,
            size: pretrained.preprocess.crop,
            rate: 1e-3,
            why: "",
        }
    }

    /// Returns the time per image relative to that of another method.
    pub fn cost(self, than: Self) -> f64 {
        let side = self.size as f64 / than.size.max(1) as f64;
        side * side
    }

    /// Returns the same way at so many times the rate.
    pub fn at(self, factor: f64) -> Self {
        Self {
            rate: factor * self.rate,
            ..self
        }
    }

    /// Returns the strategy: everything learns, with the source's own batch statistics. A batch of a few
    /// enlarged parts of pictures has other statistics than the pictures in use, and what is trained under
    /// them does worse on these.
    pub fn strategy() -> Strategy {
        Strategy::FixedStatistics {
            backbone_rate: BACKBONE,
        }
    }

    /// Returns the augmentation: random parts of a picture, mirrored where that means the same.
    pub fn augmentation(&self, preprocess: &Preprocess, mirror: bool) -> Pipeline {
        let augmentation = Augmentation {
            policy: AugmentPolicy::Light,
            flip: if mirror { 0.5 } else { 0.0 },
        };
        augmentation.pipeline(&Preprocess {
            crop: self.size,
            ..preprocess.clone()
        })
    }

    /// Returns the recipe.
    pub fn recipe(&self, choices: &Fit<'_>, task: Task) -> Recipe {
        let recipe = Recipe {
            batch_size: BATCH,
            optimizer: Optimizer::AdamW { weight_decay: 0.01 },
            learning_rate: self.rate,
            schedule: Schedule::OneCycle {
                pct_start: 0.25,
                div_factor: 25.0,
                final_div_factor: 1e3,
                anneal: Anneal::Cosine,
                three_phase: false,
            },
            label_smoothing: 0.1,
            workers: choices.workers,
            on_bad_file: OnBadFile::Skip,
            seed: choices.seed,
            ..Recipe::tutorial()
        };
        let mut recipe = recipe.for_task(task);
        if task == Task::Ordinal {
            // Trials are compared with the probe by their log loss.
            recipe.loss = Some(Loss::CrossEntropy);
        }
        if task == Task::MultiLabel {
            // Thresholds are chosen on probabilities as they are.
            recipe.label_smoothing = 0.0;
        }
        recipe
    }
}

/// Returns the side of pictures of about `share` of the whole ones' side, for a network that takes any.
pub(super) fn side(pretrained: &Pretrained, share: f64) -> Option<usize> {
    let full = pretrained.preprocess.crop;
    let side = (share * full as f64) as usize / MULTIPLE * MULTIPLE;
    let graph = pretrained.model.graph();
    let takes_any = graph.native_size().is_none() && graph.shapes(side, side).is_ok();
    (takes_any && full >= LEAST_SIZE).then_some(side)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(small: Option<usize>, passes: f64, images: usize) -> (usize, f64) {
        let method = Method::in_order(224, small, passes, images)[0];
        (method.size, method.rate)
    }

    #[test]
    fn the_less_time_the_smaller_the_pictures_and_the_rate() {
        assert_eq!(first(Some(160), 30.0, 300), (224, 3e-3));
        assert_eq!(first(Some(160), 5.0, 300), (160, 3e-3));
        assert_eq!(first(Some(160), 2.0, 300), (160, 1e-3));
        assert_eq!(first(Some(160), 12.0, 100), (224, 1e-3));
        // A network that takes one size alone.
        assert_eq!(first(None, 5.0, 300), (224, 1e-3));
    }

    #[test]
    fn an_image_costs_what_its_area_is() {
        let [whole, small] = [200, 100].map(|size| Method {
            scale: Scale::Whole,
            size,
            rate: 1e-3,
            why: "",
        });
        assert_eq!((small.cost(whole), whole.cost(small)), (0.25, 4.0));
        assert_eq!(small.at(0.5).rate, 5e-4);
    }
}

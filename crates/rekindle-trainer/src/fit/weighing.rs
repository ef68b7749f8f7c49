//! How much each class counts.

use std::sync::Arc;

use rekindle_files::names::printable;
use rekindle_imagefolder::{ImageDataset, Task};

use crate::recipe::require;
use crate::{Recipe, TrainerError, text};

/// Class names shown in an error.
const SHOWN: usize = 12;

/// Returns the weight of each class in the loss, where the recipe asks for any; of several labels, how much yes counts against
/// no.
///
/// # Errors
///
/// [`TrainerError::InvalidRecipe`] for the weight of a class that there is not, and weights that are all 0.
pub(super) fn class_weights(
    recipe: &Recipe,
    train: &ImageDataset,
) -> Result<Option<Arc<[f32]>>, TrainerError> {
    if recipe.balance_classes {
        return Ok(Some(counting_weights(train).into()));
    }
    if recipe.class_weights.is_empty() {
        return Ok(None);
    }
    let classes = train.classes();
    recipe.check_classes(classes)?;
    let weights: Vec<f32> = classes
        .iter()
        .map(|class| {
            recipe
                .class_weights
                .get(class)
                .map_or(1.0, |weight| *weight as f32)
        })
        .collect();
    require(
        weights.iter().any(|weight| *weight > 0.0),
        "class_weights",
        "0 for every class",
        "a weight above 0 for one at least",
    )?;
    Ok(Some(weights.into()))
}

impl Recipe {
    /// Checks that [`class_weights`](Self::class_weights) names none but these classes.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidRecipe`] for a name that is not among them; the error lists them.
    pub fn check_classes(&self, classes: &[String]) -> Result<(), TrainerError> {
        let unknown = self
            .class_weights
            .keys()
            .find(|name| !classes.contains(name));
        let found = unknown.map_or_else(String::new, |name| {
            format!(
                "a weight for {}, where the classes are {}",
                printable(name),
                text::listed(classes, SHOWN)
            )
        });
        let expected = "weights for classes of the data";
        require(unknown.is_none(), "class_weights", found, expected)
    }
}

/// Returns weights by which all classes count the same; of several labels, yes as much as no.
fn counting_weights(train: &ImageDataset) -> Vec<f32> {
    if train.task() != Task::MultiLabel {
        return train.class_weights();
    }
    let images = train.len();
    let weight = |with: usize| (images - with) as f32 / with.max(1) as f32;
    train.class_counts().into_iter().map(weight).collect()
}

/// Returns the share of each class, with one image more of each so that none is 0.
pub(super) fn class_shares(counts: &[usize]) -> Arc<[f32]> {
    let all: usize = counts.iter().map(|count| count + 1).sum();
    counts
        .iter()
        .map(|count| (count + 1) as f32 / all as f32)
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use image::RgbImage;
    use rekindle_imagefolder::Pipeline;

    use super::*;

    fn train() -> ImageDataset {
        let labels = [0, 0, 0, 1, 2].map(Some).to_vec();
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        let images = vec![RgbImage::new(1, 1); 5];
        ImageDataset::from_images(images, labels, classes, Pipeline::default()).unwrap()
    }

    fn recipe(weights: &[(&str, f64)]) -> Recipe {
        let named = weights
            .iter()
            .map(|(name, weight)| (name.to_string(), *weight));
        Recipe {
            class_weights: named.collect(),
            ..Recipe::default()
        }
    }

    #[test]
    fn named_classes_weigh_what_is_said_and_others_one() {
        let found = class_weights(&recipe(&[("c", 2.5), ("a", 0.0)]), &train()).unwrap();
        assert_eq!(found.unwrap()[..], [0.0, 1.0, 2.5]);
        assert!(class_weights(&recipe(&[]), &train()).unwrap().is_none());
        for wrong in [&[("d", 1.0)][..], &[("a", 0.0), ("b", 0.0), ("c", 0.0)]] {
            assert!(class_weights(&recipe(wrong), &train()).is_err());
        }
        let typo = recipe(&[("d", 1.0)]).check_classes(train().classes());
        let said = typo.unwrap_err().to_string();
        assert!(
            said.contains("a weight for d, where the classes are a, b, c"),
            "{said}"
        );
        assert!(recipe(&[("a", -1.0)]).validate().is_err());
        let both = Recipe {
            balance_classes: true,
            ..recipe(&[("a", 2.0)])
        };
        assert!(both.validate().is_err());
    }
}

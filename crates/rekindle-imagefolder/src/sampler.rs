//! Decides the order in which images are visited.

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::rng::{SampleRng, Stream};

/// The order of an epoch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampler {
    /// The data set's own order.
    #[default]
    Sequential,
    /// Every image once, in an order drawn anew for each epoch.
    Shuffled,
    /// Every class equally often on average: a class is drawn uniformly, then that class's next
    /// image in a shuffled round. Images of small classes repeat, those of large ones wait for a
    /// later epoch.
    Balanced {
        /// Images per epoch (default: as many as the dataset has).
        samples: Option<usize>,
    },
    /// The given images, in the given order, in every epoch.
    Indices(Vec<usize>),
}

impl Sampler {
    /// Returns the indices of one epoch, a function of the arguments alone.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidOption`] for an index beyond the dataset, or a balanced order without labels.
    pub fn order(
        &self,
        labels: &[Option<usize>],
        seed: u64,
        epoch: u64,
    ) -> Result<Vec<usize>, Error> {
        let mut rng = SampleRng::keyed(seed, Stream::Order, &[epoch]);
        match self {
            Sampler::Sequential => Ok((0..labels.len()).collect()),
            Sampler::Shuffled => {
                let mut order: Vec<usize> = (0..labels.len()).collect();
                rng.shuffle(&mut order);
                Ok(order)
            }
            Sampler::Balanced { samples } => {
                balanced(labels, samples.unwrap_or(labels.len()), &mut rng)
            }
            Sampler::Indices(indices) => match indices.iter().find(|i| **i >= labels.len()) {
                None => Ok(indices.clone()),
                Some(index) => Err(Error::InvalidOption {
                    option: "sampler",
                    reason: format!("index {index} with {} images", labels.len()),
                }),
            },
        }
    }

    /// Images per epoch of a dataset of `images`.
    pub fn len(&self, images: usize) -> usize {
        match self {
            Sampler::Sequential | Sampler::Shuffled => images,
            Sampler::Balanced { samples } => samples.unwrap_or(images),
            Sampler::Indices(indices) => indices.len(),
        }
    }
}

fn balanced(
    labels: &[Option<usize>],
    samples: usize,
    rng: &mut SampleRng,
) -> Result<Vec<usize>, Error> {
    let classes = labels.iter().flatten().max().map_or(0, |last| last + 1);
    let mut rounds = vec![(Vec::new(), 0); classes];
    for (index, label) in labels.iter().enumerate() {
        let Some(label) = label else {
            return Err(Error::InvalidOption {
                option: "sampler",
                reason: format!("balanced needs labels, and image {index} has none"),
            });
        };
        rounds[*label].0.push(index);
    }
    rounds.retain(|(images, _)| !images.is_empty());
    if rounds.is_empty() {
        return Ok(Vec::new());
    }
    for (images, _) in &mut rounds {
        rng.shuffle(images);
    }
    let order = (0..samples).map(|_| {
        let class = rng.below(rounds.len());
        let (images, next) = &mut rounds[class];
        if *next == images.len() {
            rng.shuffle(images);
            *next = 0;
        }
        *next += 1;
        images[*next - 1]
    });
    Ok(order.collect())
}

/// Loss weights inversely proportional to class sizes: `images / (classes * count)`, over the
/// classes that have images, so that the mean weight over images is 1. An empty class gets 0.
pub fn class_weights(counts: &[usize]) -> Vec<f32> {
    let images: usize = counts.iter().sum();
    let classes = counts.iter().filter(|count| **count > 0).count();
    counts
        .iter()
        .map(|count| {
            if *count == 0 {
                0.0
            } else {
                images as f32 / (classes * count) as f32
            }
        })
        .collect()
}

//! Draws the masks of dropout layers in training.

use std::sync::{Arc, Mutex, PoisonError};

use burn::prelude::*;
use burn::tensor::{Distribution, TensorData};

use crate::random::mixed;

/// Source of masks: a seed that clones share, or the device's own generator before one is set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Draws(Arc<Mutex<Option<u64>>>);

impl Draws {
    /// Makes all masks from here on a function of `seed`, of the node and of the place.
    pub fn seed(&self, seed: u64) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(seed);
    }

    /// Draws a mask: 0 for a share of the places, and 1 over the share that is kept for the others.
    pub fn mask<const D: usize>(
        &self,
        node: usize,
        shape: [usize; D],
        kept: f64,
        device: &Device,
    ) -> Tensor<D> {
        let seed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(seed) = seed else {
            let mask = Tensor::random(shape, Distribution::Bernoulli(kept), device);
            return mask.mul_scalar(1.0 / kept);
        };
        let of_node = mixed(seed ^ mixed(node as u64));
        let factor = |place: usize| {
            // The upper 53 bits, as a number below 1.
            let bits = mixed(of_node.wrapping_add(place as u64)) >> 11;
            match (bits as f64) < kept * (1u64 << 53) as f64 {
                true => (1.0 / kept) as f32,
                false => 0.0,
            }
        };
        let factors: Vec<f32> = (0..shape.iter().product()).map(factor).collect();
        Tensor::from_data(TensorData::new(factors, shape), device)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn masks_are_functions_of_seed_node_and_place() {
        let device = Device::flex();
        let values = |seed, node| -> Vec<f32> {
            let draws = Draws::default();
            draws.seed(seed);
            let mask = draws.mask(node, [40, 50], 0.8, &device);
            mask.into_data().iter().collect()
        };
        let first = values(1, 3);
        assert_eq!(first, values(1, 3));
        assert_ne!(first, values(2, 3));
        assert_ne!(first, values(1, 4));
        let kept = first.iter().filter(|value| **value > 0.0).count();
        // Five standard deviations of a binomial distribution: sqrt(2000 * 0.8 * 0.2) is 18.
        assert!(kept.abs_diff(1600) < 90, "{kept}");
        assert!(first.iter().all(|value| *value == 0.0 || *value == 1.25));
    }
}

//! Random erasing of normalised images.

use rand_distr::{Distribution, StandardNormal};

use super::Fill;
use crate::rng::SampleRng;

/// Overwrites a random rectangle of a `[3, height, width]` image, as torchvision chooses it: ten
/// tries, and none if no rectangle fits.
pub(crate) fn erase(
    values: &mut [f32],
    (height, width): (usize, usize),
    scale: (f64, f64),
    ratio: (f64, f64),
    fill: Fill,
    rng: &mut SampleRng,
) {
    let area = (height * width) as f64;
    for _ in 0..10 {
        let target = area * rng.uniform(scale.0, scale.1);
        let aspect = rng.uniform(ratio.0.ln(), ratio.1.ln()).exp();
        // torchvision's ratio is height / width here.
        let h = (target * aspect).sqrt().round_ties_even() as usize;
        let w = (target / aspect).sqrt().round_ties_even() as usize;
        if h >= height || w >= width {
            continue;
        }
        let top = rng.below(height - h + 1);
        let left = rng.below(width - w + 1);
        for (channel, plane) in values.chunks_exact_mut(height * width).enumerate() {
            for row in plane.chunks_exact_mut(width).skip(top).take(h) {
                for value in &mut row[left..left + w] {
                    *value = match fill {
                        Fill::Constant(values) => values[channel.min(2)],
                        Fill::Noise => StandardNormal.sample(rng),
                    };
                }
            }
        }
        return;
    }
}

//! Computes Grad-CAM maps: the regions of a picture that speak for a class.

use burn::module::Module;
use burn::prelude::*;
use rekindle_transfer::backbone::{TokenGrid, check_channels};
use rekindle_transfer::tuning::apply;
use rekindle_transfer::{Backbone, Classifier, Plan};

use crate::TrainerError;

/// Shows how much each place of the last stage's feature map speaks for a class (Grad-CAM, Selvaraju et al. 2017,
/// <https://arxiv.org/abs/1610.02391>).
///
/// The gradient is that of the class's *margin*: its logit `z_c` less the mean of the others,
///
/// ```text
/// m_c = z_c - (sum of z_j over j != c) / (classes - 1)
/// ```
///
/// A softmax gives the same probabilities when one vector is added to every class's weights, so that a logit alone
/// says nothing of what an answer comes from: what speaks for "bee" may be written into the bees' row, or with the other
/// sign into that of the ants. The margin is the same in both. With two classes it is the difference of the logits, with
/// many nearly the centred logit. A head with a single output has no other class; there the margin is the logit itself,
/// whose counterpart is 0, as a sigmoid takes it.
///
/// In a vision transformer, what the last stage gives for a patch is read by nobody where a class token is: there, the map is
/// that of the tokens in front of the last stage, whose blocks carry it into the class token.
#[derive(Clone, Debug, PartialEq)]
pub struct GradCam {
    /// Rows: the image's height over the network's stride, 7 for 224 pixels, or over a patch's side.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// `[height, width]`, row-major, at least 0: the feature maps, each weighted by the mean of the margin's
    /// gradient over it, summed, and cut off below 0.
    pub values: Vec<f32>,
}

impl GradCam {
    /// Computes the maps of `images` `[n, channels, height, width]` (on a device without autodiff), each for its class in
    /// `classes`.
    ///
    /// The graph of the backward pass begins behind the map, so this costs hardly more than a forward pass.
    ///
    /// # Errors
    ///
    /// Images that don't fit the network, and [`TrainerError::InvalidPredictions`] where there is not one class an
    /// image, or a class that the classifier doesn't have.
    pub fn of<B: Backbone>(
        classifier: &Classifier<B>,
        images: Tensor<4>,
        classes: &[usize],
    ) -> Result<Vec<Self>, TrainerError> {
        check(classifier, &images, classes)?;
        let device = images.device();
        let evaluated = classifier.valid();
        check_channels(&evaluated.backbone, &images)?;
        let stages = evaluated.backbone.stage_names().len();
        let [_, _, height, width] = images.dims();
        let grid = evaluated.backbone.token_grid([height, width]);
        let cut = match grid {
            Some(_) => stages.saturating_sub(1).max(1),
            None => stages,
        };
        let maps = evaluated.backbone.forward_stages(0, cut, images);

        let trained = classifier.clone().to_device(&device.autodiff()).train();
        // A normalisation in the pooling goes by its running statistics, as in evaluation.
        let trained = apply(trained, &Plan::frozen(stages, stages));
        let tracked = Tensor::from_inner(maps.clone()).require_grad();
        let pooled = trained.backbone.pool_stages(cut, tracked.clone());
        let logits = trained.head.forward(pooled);
        // Images don't mix in pooling and head, so one backward pass serves all.
        let grads = (logits.clone() * margin(classes, logits.dims(), &logits.device()))
            .sum()
            .backward();
        // Nothing where the pooling doesn't depend on the map.
        let gradient = tracked.grad(&grads).unwrap_or_else(|| maps.zeros_like());
        Ok(match grid {
            Some(grid) => weighted(in_place(maps, grid), in_place(gradient, grid)),
            None => weighted(maps, gradient),
        })
    }

    /// Stretches the map over a picture, bilinearly, and scales it so that its largest value is 1: row-major
    /// `[height, width]`. All 0 where nothing speaks for the class.
    pub fn over(&self, width: usize, height: usize) -> Vec<f32> {
        let most = self.values.iter().copied().fold(0.0, f32::max);
        let scale = if most > 0.0 { 1.0 / most } else { 0.0 };
        let columns: Vec<_> = (0..width)
            .map(|x| neighbours(x, width, self.width))
            .collect();
        let mut stretched = Vec::with_capacity(width * height);
        for y in 0..height {
            let (top, bottom, down) = neighbours(y, height, self.height);
            for &(left, right, along) in &columns {
                let at = |row: usize, column: usize| self.values[row * self.width + column];
                let upper = at(top, left) * (1.0 - along) + at(top, right) * along;
                let lower = at(bottom, left) * (1.0 - along) + at(bottom, right) * along;
                stretched.push(scale * (upper * (1.0 - down) + lower * down));
            }
        }
        stretched
    }
}

fn check<B: Backbone>(
    classifier: &Classifier<B>,
    images: &Tensor<4>,
    classes: &[usize],
) -> Result<(), TrainerError> {
    let count = classifier.num_classes();
    let invalid =
        |found: String, expected: String| Err(TrainerError::InvalidPredictions { found, expected });
    if images.dims()[0] != classes.len() {
        return invalid(
            format!("{} classes to explain", classes.len()),
            format!("{}, one for each image", images.dims()[0]),
        );
    }
    match classes.iter().find(|class| **class >= count) {
        Some(class) => invalid(
            format!("class {class}"),
            format!("a class from 0 to {}", count.saturating_sub(1)),
        ),
        None => Ok(()),
    }
}

/// Returns the factors `[n, classes]` for the logits that make their sum that of the margins.
fn margin(classes: &[usize], [images, count]: [usize; 2], device: &Device) -> Tensor<2> {
    let others = -1.0 / count.saturating_sub(1).max(1) as f32;
    let mut factors = vec![others; images * count];
    for (row, class) in classes.iter().enumerate() {
        factors[row * count + class] = 1.0;
    }
    Tensor::from_data(TensorData::new(factors, [images, count]), device)
}

/// Puts tokens `[n, channels, 1, tokens]` where their patches lie, `[n, channels, rows, columns]`.
fn in_place(tokens: Tensor<4>, grid: TokenGrid) -> Tensor<4> {
    let TokenGrid {
        prefix,
        rows,
        columns,
    } = grid;
    let [images, channels, ..] = tokens.dims();
    let patches = tokens.narrow(3, prefix, rows * columns);
    patches.reshape([images, channels, rows, columns])
}

/// `maps` and `gradient` are `[n, channels, height, width]`.
fn weighted(maps: Tensor<4>, gradient: Tensor<4>) -> Vec<GradCam> {
    let [_, _, height, width] = maps.dims();
    let weights = gradient.mean_dim(3).mean_dim(2);
    let cams = (maps * weights).sum_dim(1).clamp_min(0.0);
    let values: Vec<f32> = cams.into_data().iter::<f32>().collect();
    values
        .chunks_exact((height * width).max(1))
        .map(|values| GradCam {
            height,
            width,
            values: values.to_vec(),
        })
        .collect()
}

/// Returns the two source pixels around the centre of pixel `at`, and how far it lies from the first to the second.
fn neighbours(at: usize, size: usize, source: usize) -> (usize, usize, f32) {
    let place = (at as f32 + 0.5) * source as f32 / size as f32 - 0.5;
    let place = place.clamp(0.0, source as f32 - 1.0);
    let first = place.floor() as usize;
    (first, (first + 1).min(source - 1), place - first as f32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_map_is_stretched_from_centre_to_centre() {
        let cam = GradCam {
            height: 1,
            width: 2,
            values: vec![0.0, 4.0],
        };
        let row = cam.over(4, 1);
        // Centres of the two values lie at 1 and 3 of 4; in between it is a straight line.
        assert_eq!(row, [0.0, 0.25, 0.75, 1.0]);
        assert_eq!(cam.over(2, 3), [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
    }

    #[test]
    fn nothing_stays_nothing() {
        let cam = GradCam {
            height: 2,
            width: 2,
            values: vec![0.0; 4],
        };
        assert_eq!(cam.over(3, 3), [0.0; 9]);
    }
}

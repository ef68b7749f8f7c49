//! DELTA: feature maps that stay near those of the source.

use burn::prelude::*;
use burn::tensor::TensorData;

use crate::TransferError;

/// Computes half the mean over a batch of the squared distance between feature maps and the source's, channels
/// weighted, `[1]`: `1/2 mean_n sum_c weights_c |x_nc - x0_nc|^2 / (height * width)` (the behavioural penalty of
/// DELTA; Li et al. 2019, <https://arxiv.org/abs/1901.09229>).
///
/// `maps` and `source` are `[n, channels, height, width]` of the same images through the network that learns and through
/// the pretrained one, which gets no gradient. Where L2-SP holds weights, this holds what they do; it costs a second
/// forward pass. `weights`, one per channel and at least 0, say which channels matter ([`channel_weights`]); all
/// count the same where there are none.
///
/// It hurts where the target needs features that the source lacks.
///
/// # Errors
///
/// [`TransferError`] for an empty batch, maps of different shapes, or another number of weights.
pub fn feature_map_penalty(
    maps: Tensor<4>,
    source: Tensor<4>,
    weights: Option<&[f32]>,
) -> Result<Tensor<1>, TransferError> {
    let shape = maps.dims();
    let [n, channels, height, width] = shape;
    if shape != source.dims() {
        return Err(TransferError::WrongLength {
            what: "the source's feature maps",
            found: source.dims().iter().product(),
            expected: shape.iter().product(),
        });
    }
    if shape.contains(&0) {
        return Err(TransferError::Degenerate {
            method: "DELTA",
            reason: format!("feature maps of shape {shape:?}; none may be empty"),
        });
    }
    let mut squares = (maps - source.detach()).square();
    if let Some(weights) = weights {
        if weights.len() != channels {
            return Err(TransferError::WrongLength {
                what: "weights of channels",
                found: weights.len(),
                expected: channels,
            });
        }
        let data = TensorData::new(weights.to_vec(), [1, channels, 1, 1]);
        let weights = Tensor::from_data(data, &squares.device());
        squares = squares * weights;
    }
    let scale = 2.0 * (n * height * width) as f64;
    Ok(squares.sum().div_scalar(scale))
}

/// Computes the importance of each channel: the softmax of how much the loss of a classifier on the source's
/// features grows when the channel is removed (DELTA's supervised attention), times the number of channels,
/// so that the mean is 1.
///
/// `losses` has one value per channel, each with that channel set to 0; `temperature` (above 0) divides them. Equal losses give
/// equal weights.
///
/// # Errors
///
/// [`TransferError`] without channels, for a loss that is no finite number, or a temperature that isn't above 0.
pub fn channel_weights(losses: &[f64], temperature: f64) -> Result<Vec<f32>, TransferError> {
    let degenerate = |reason: String| TransferError::Degenerate {
        method: "DELTA",
        reason,
    };
    if losses.is_empty() || losses.iter().any(|loss| !loss.is_finite()) {
        return Err(degenerate(
            "losses of channels must be finite, at least one".into(),
        ));
    }
    if !(temperature.is_finite() && temperature > 0.0) {
        return Err(degenerate(format!(
            "temperature {temperature}; expected above 0"
        )));
    }
    let largest = losses.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = losses
        .iter()
        .map(|loss| ((loss - largest) / temperature).exp())
        .collect();
    let scale = losses.len() as f64 / powers.iter().sum::<f64>();
    Ok(powers.iter().map(|power| (power * scale) as f32).collect())
}

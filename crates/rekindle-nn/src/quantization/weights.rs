//! Weights in bytes.

use super::ranges::Rounding;
use crate::graph::{TensorKind, TensorSpec};

/// The largest byte of a weight.
const MOST: f32 = 127.0;

/// The largest whole number that a bias may become; half as much is left for the sum that it is added to.
const MOST_OF_BIAS: f64 = (1u32 << 30) as f64;

/// A layer's weight in signed bytes, a scale for each of its outputs, and its bias in units of those products.
#[derive(Clone, Debug)]
pub(crate) struct QuantizedWeights {
    pub weight: Vec<i8>,
    pub scales: Vec<f32>,
    /// The dimension that the scales are of.
    pub axis: usize,
    /// None for layers without bias, and for those whose bias stays `f32`.
    pub bias: Option<Vec<i32>>,
    pub bias_scales: Vec<f32>,
}

impl QuantizedWeights {
    /// Rounds weights `spec` and, where the layer takes bytes, the bias.
    pub fn new(
        spec: &TensorSpec,
        values: &[f32],
        bias: Option<&[f32]>,
        input: Option<Rounding>,
    ) -> Self {
        let axis = usize::from(spec.kind == TensorKind::PlainMatrix);
        let channels = spec.shape[axis];
        let inner: usize = spec.shape[axis + 1..].iter().product();
        let channel = |place: usize| place / inner % channels;
        let mut largest = vec![0f32; channels];
        for (place, value) in values.iter().enumerate() {
            let most = &mut largest[channel(place)];
            *most = most.max(value.abs());
        }
        let bias = bias.zip(input);
        let scales = largest.iter().enumerate().map(|(channel, largest)| {
            let least = bias.map_or(0.0, |(bias, input)| {
                f64::from(bias[channel].abs()) / f64::from(input.scale) / MOST_OF_BIAS
            });
            let scale = (largest / MOST).max(least as f32);
            if scale < f32::MIN_POSITIVE {
                1.0
            } else {
                scale
            }
        });
        let scales: Vec<f32> = scales.collect();
        let round = |(place, value): (usize, &f32)| {
            (value / scales[channel(place)])
                .round_ties_even()
                .clamp(-MOST, MOST) as i8
        };
        let weight = values.iter().enumerate().map(round).collect();
        let bias_scales: Vec<f32> = match bias {
            Some((_, input)) => scales.iter().map(|scale| scale * input.scale).collect(),
            None => Vec::new(),
        };
        let bias = bias.map(|(bias, _)| {
            let pairs = bias.iter().zip(&bias_scales);
            pairs
                .map(|(bias, scale)| {
                    (f64::from(*bias) / f64::from(*scale)).round_ties_even() as i32
                })
                .collect()
        });
        Self {
            weight,
            scales,
            axis,
            bias,
            bias_scales,
        }
    }

    /// Returns what the bytes stand for, in the layout of `spec`.
    pub fn weight_values(&self, spec: &TensorSpec) -> Vec<f32> {
        let inner: usize = spec.shape[self.axis + 1..].iter().product();
        let value = |(place, byte): (usize, &i8)| {
            f32::from(*byte) * self.scales[place / inner % self.scales.len()]
        };
        self.weight.iter().enumerate().map(value).collect()
    }

    /// Returns what the whole numbers of the bias stand for.
    pub fn bias_values(&self) -> Option<Vec<f32>> {
        let pairs = self.bias.as_ref()?.iter().zip(&self.bias_scales);
        Some(pairs.map(|(bias, scale)| *bias as f32 * scale).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;

    fn spec(kind: TensorKind, shape: &[usize]) -> TensorSpec {
        TensorSpec {
            name: "weight".into(),
            shape: shape.to_vec(),
            kind,
            init: Init::Constant(0.0),
        }
    }

    #[test]
    fn each_output_has_a_scale_of_its_own() {
        let values = [1.0f32, -2.0, 0.5, 100.0, -50.0, 10.0];
        let input = Rounding::of_range(0.0, 2.55);
        let bias = [0.3f32, -7.0];
        let rows = spec(TensorKind::Matrix, &[2, 3]);
        let found = QuantizedWeights::new(&rows, &values, Some(&bias), Some(input));
        assert_eq!(
            (found.axis, &found.scales),
            (0, &vec![2.0 / 127.0, 100.0 / 127.0])
        );
        assert_eq!(found.weight, [64, -127, 32, 127, -64, 13]);
        let whole = found.bias.clone().unwrap_or_default();
        for (channel, bias) in bias.iter().enumerate() {
            let step = f64::from(found.scales[channel]) * 0.01;
            let expected = (f64::from(*bias) / step).round();
            assert!(
                (f64::from(whole[channel]) - expected).abs() <= 1.0,
                "{whole:?}"
            );
        }
        // The outputs of a plain matrix are its columns.
        let columns = spec(TensorKind::PlainMatrix, &[3, 2]);
        let turned = [1.0f32, 100.0, -2.0, -50.0, 0.5, 10.0];
        let found = QuantizedWeights::new(&columns, &turned, None, None);
        assert_eq!(
            (found.axis, &found.scales),
            (1, &vec![2.0 / 127.0, 100.0 / 127.0])
        );
        assert_eq!(found.weight, [64, 127, -127, -64, 32, 13]);
        for (value, exact) in found.weight_values(&columns).iter().zip(turned) {
            assert!(
                (value - exact).abs() <= 0.5 * 100.0 / 127.0,
                "{value} {exact}"
            );
        }
    }

    /// A channel without weights has a bias nevertheless, whose whole number has to fit into 32 bits.
    #[test]
    fn the_bias_of_a_dead_channel_is_kept() {
        let rows = spec(TensorKind::Matrix, &[2, 2]);
        let input = Rounding::of_range(0.0, 1.0);
        for dead in [0.0, 1e-30] {
            let bias = [3.0f32, -2.0];
            let values = [dead, dead, 1.0, 1.0];
            let found = QuantizedWeights::new(&rows, &values, Some(&bias), Some(input));
            for (value, exact) in found.bias_values().unwrap_or_default().iter().zip(bias) {
                assert!((value - exact).abs() < 1e-2, "{dead}: {value} {exact}");
            }
        }
    }
}

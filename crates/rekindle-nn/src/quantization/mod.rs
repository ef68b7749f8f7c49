//! Static quantization after training: a network whose weights and activations are rounded to bytes, for files that other
//! programs run in integers.

mod fold;
mod plan;
mod ranges;
mod weights;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::prelude::*;
use thiserror::Error;

use self::fold::Folded;
use self::plan::Plan;
use self::ranges::Observed;
pub use self::ranges::RangeRule;
pub(crate) use self::ranges::Rounding;
pub(crate) use self::weights::QuantizedWeights;
use crate::GraphError;
use crate::graph::Value;
use crate::network::Network;

/// Reason why a network can't be quantized.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum QuantizationError {
    /// Ranges can't be measured on nothing.
    #[error(
        "there are no images to measure the ranges of activations on; give batches of training images"
    )]
    NoImages,
    /// Weights or activations that bytes have no range for.
    #[error("{what} holds values that are no finite numbers, for which bytes have no range")]
    NotFinite {
        /// The tensor, or the node that gives the values.
        what: String,
    },
    /// The images don't fit the network.
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// A [`Network`] in eight bits, made by [`Network::quantize_static`], to be written as an ONNX file that runtimes compute in
/// integers.
///
/// ```
/// use std::collections::BTreeMap;
///
/// use burn::tensor::{Device, Tensor};
/// use rekindle_nn::{Builder, Conv, Network};
///
/// # #[cfg(feature = "flex")] {
/// let mut b = Builder::new("tiny", 3);
/// let x = b.images();
/// let x = b.stage("stem", |b| {
///     let x = b.conv2d("conv1", x, Conv::new(16, 3).stride(2));
///     b.relu(x)
/// });
/// let x = b.global_pool(x);
/// let device = Device::flex();
/// let network = Network::new(b.finish("fc", x, 2).unwrap(), 42, &device);
///
/// let images = Tensor::<4>::ones([8, 3, 64, 64], &device);
/// let quantized = network.quantize_static(&[images.clone()]).unwrap();
/// assert_eq!(quantized.simulated().forward(images).dims(), [8, 2]);
/// let bytes = quantized.to_onnx(&BTreeMap::new());
/// assert!(bytes.len() > 1000);
/// # }
/// ```
#[derive(Clone)]
pub struct QuantizedNetwork {
    network: Network,
    /// By node.
    weights: BTreeMap<usize, QuantizedWeights>,
    rule: RangeRule,
    errors: [f64; RangeRule::ALL.len()],
    size: [usize; 2],
}

impl Network {
    /// Rounds weights and activations to bytes after training (Jacob et al. 2018, <https://arxiv.org/abs/1712.05877>;
    /// Krishnamoorthi 2018, <https://arxiv.org/abs/1806.08342>).
    ///
    /// Batch normalisation is folded into the convolutions. Their weights and those of linear layers become signed bytes by
    /// one scale per output channel, what they take and give unsigned bytes by one scale and zero point per value. Residual
    /// sums of such values, poolings and concatenations lie between them, so that runtimes fuse these too. Other functions
    /// than ReLU and ReLU6, normalisations, attention, gates of channels and the logits stay `f32`.
    ///
    /// Ranges are measured on `calibration`, batches of training images `[batch, channels, height, width]` as the network is
    /// to see them; a few dozen images are enough. Both [`RangeRule`]s are tried, and that is kept which brings the outputs
    /// for these images nearer to those in `f32`.
    ///
    /// # Errors
    ///
    /// [`QuantizationError`]: for no images, for images that don't fit, and for values that are no finite numbers.
    pub fn quantize_static(
        &self,
        calibration: &[Tensor<4>],
    ) -> Result<QuantizedNetwork, QuantizationError> {
        let first = calibration.first().ok_or(QuantizationError::NoImages)?;
        let [.., height, width] = first.dims();
        let network = self.clone().with_image_size([height, width]);
        for images in calibration {
            network.check(images)?;
        }
        let device = self.device().without_autodiff();
        let folded = Folded::new(&network);
        let tensors = folded.graph.tensors().iter().zip(&folded.values);
        for (spec, values) in tensors {
            if !values.iter().all(|value| value.is_finite()) {
                let what = format!("tensor {}", spec.name);
                return Err(QuantizationError::NotFinite { what });
            }
        }
        let plan = Plan::new(&folded.graph);
        let exact = folded.clone().network(&device)?;
        let (observed, outputs) = observe(&exact, &plan, calibration)?;
        let mut best: Option<QuantizedNetwork> = None;
        let mut errors = [f64::INFINITY; RangeRule::ALL.len()];
        for (at, rule) in RangeRule::ALL.into_iter().enumerate() {
            let roundings = observed
                .iter()
                .map(|(value, observed)| (*value, observed.rounding(rule)))
                .collect();
            let (network, weights) = rounded(&folded, &plan, roundings, &device)?;
            errors[at] = relative_error(&network, calibration, &outputs);
            if errors[at].is_finite() && errors[..at].iter().all(|error| errors[at] < *error) {
                best = Some(QuantizedNetwork {
                    network,
                    weights,
                    rule,
                    errors,
                    size: [height, width],
                });
            }
        }
        let best = best.ok_or_else(|| QuantizationError::NotFinite {
            what: format!("the output of {}", self.graph().name()),
        })?;
        Ok(QuantizedNetwork { errors, ..best })
    }

    /// Rounds a value where the network is one in eight bits.
    pub(crate) fn rounding(&self, value: Value) -> Option<Rounding> {
        self.roundings.as_ref()?.get(&value).copied()
    }
}

impl QuantizedNetwork {
    /// Returns the network as the file computes it, in `f32`: weights have the values of their bytes, and activations are
    /// rounded where the file rounds them. What a runtime computes in integers differs from it where a sum lies on the border
    /// of two bytes.
    pub fn simulated(&self) -> &Network {
        &self.network
    }

    /// Returns the rule that the ranges were chosen by.
    pub fn range_rule(&self) -> RangeRule {
        self.rule
    }

    /// Returns the root of the mean squared error of the outputs for the calibration images, relative to the outputs in `f32`,
    /// with ranges by a rule.
    pub fn calibration_error(&self, rule: RangeRule) -> f64 {
        let at = RangeRule::ALL.iter().position(|known| *known == rule);
        at.map_or(f64::NAN, |at| self.errors[at])
    }

    /// Returns height and width of the calibration images.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.size
    }

    /// Returns a layer's weights in bytes; none for a node that has none.
    pub(crate) fn weights(&self, node: usize) -> Option<&QuantizedWeights> {
        self.weights.get(&node)
    }
}

impl fmt::Debug for QuantizedNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuantizedNetwork")
            .field("name", &self.network.graph().name())
            .field("layers", &self.weights.len())
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

type Outputs = Vec<Vec<f32>>;

/// Measures the values that are to be rounded, and keeps the outputs.
fn observe(
    network: &Network,
    plan: &Plan,
    calibration: &[Tensor<4>],
) -> Result<(BTreeMap<Value, Observed>, Outputs), QuantizationError> {
    let own = plan.sources.iter().enumerate();
    let own = own.filter_map(|(index, source)| source.filter(|value| value.index() == index));
    let mut observed: BTreeMap<Value, Observed> =
        own.map(|value| (value, Observed::new())).collect();
    let wanted: Vec<bool> = (0..plan.sources.len())
        .map(|index| observed.keys().any(|value| value.index() == index))
        .collect();
    let mut wrong = None;
    let mut outputs = Vec::with_capacity(calibration.len());
    for images in calibration {
        let output = network.watch(images.clone(), &wanted, &mut |value, values| {
            if let Some(observed) = observed.get_mut(&value)
                && !observed.widen(values)
            {
                wrong.get_or_insert(value);
            }
        });
        outputs.push(output);
    }
    if let Some(value) = wrong {
        let nodes = network.graph().nodes();
        let what = match value.node() {
            Some(node) => format!("what {} gives for the calibration images", nodes[node].name),
            None => "a calibration image".into(),
        };
        return Err(QuantizationError::NotFinite { what });
    }
    for images in calibration {
        network.watch(images.clone(), &wanted, &mut |value, values| {
            if let Some(observed) = observed.get_mut(&value) {
                observed.count(values);
            }
        });
    }
    Ok((observed, outputs))
}

/// Rounds the weights, and makes the network that rounds its activations.
fn rounded(
    folded: &Folded,
    plan: &Plan,
    own: BTreeMap<Value, Rounding>,
    device: &Device,
) -> Result<(Network, BTreeMap<usize, QuantizedWeights>), GraphError> {
    let sources = plan.sources.iter().enumerate();
    let roundings: BTreeMap<Value, Rounding> = sources
        .filter_map(|(index, source)| {
            let value = index.checked_sub(1).map_or(Value::IMAGES, Value::of_node);
            Some((value, *own.get(&(*source)?)?))
        })
        .collect();
    let mut rounded = folded.clone();
    let mut weights = BTreeMap::new();
    for (index, node) in folded.graph.nodes().iter().enumerate() {
        let Some(layer) = plan.layers[index] else {
            continue;
        };
        let spec = &folded.graph.tensors()[node.tensors[0]];
        let input = match layer {
            plan::Layer::Bytes => roundings.get(&node.inputs[0]).copied(),
            plan::Layer::BytesOfWeights => None,
        };
        let bias = node
            .tensors
            .get(1)
            .map(|tensor| folded.values[*tensor].as_slice());
        let values = &folded.values[node.tensors[0]];
        let quantized = QuantizedWeights::new(spec, values, bias, input);
        rounded.values[node.tensors[0]] = quantized.weight_values(spec);
        if let (Some(values), Some(tensor)) = (quantized.bias_values(), node.tensors.get(1)) {
            rounded.values[*tensor] = values;
        }
        weights.insert(index, quantized);
    }
    let mut network = rounded.network(device)?;
    network.roundings = Some(Arc::new(roundings));
    Ok((network, weights))
}

/// Computes the root of the mean squared difference from `outputs`, relative to these.
fn relative_error(network: &Network, calibration: &[Tensor<4>], outputs: &Outputs) -> f64 {
    let (mut error, mut scale) = (0.0, 0.0);
    for (images, outputs) in calibration.iter().zip(outputs) {
        let found = network.forward(images.clone()).into_data();
        for (found, expected) in found.iter::<f32>().zip(outputs) {
            error += f64::from(found - expected).powi(2);
            scale += f64::from(*expected).powi(2);
        }
    }
    (error / scale.max(f64::MIN_POSITIVE)).sqrt()
}

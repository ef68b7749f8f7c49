//! Networks for images of other channels than they were trained on.

use std::sync::Arc;

use crate::error::GraphError;
use crate::graph::{Graph, Value};
use crate::network::Network;
use crate::op::Op;
use crate::slot::Slot;

/// Computes the weights `[out, channels, height, width]` of a first convolution, row-major, from those for other channels, of
/// `shape`: summed for one channel, else repeated in turn and scaled by the ratio of the counts, as timm adapts a stem. The
/// sum over equal channels stays what it was.
///
/// # Panics
///
/// If `values` are not as many as `shape` says.
pub fn adapt_stem(values: &[f32], shape: [usize; 4], channels: usize) -> Vec<f32> {
    let [out, before, height, width] = shape;
    let window = height * width;
    assert_eq!(values.len(), out * before * window, "weights of {shape:?}");
    let mut adapted = Vec::with_capacity(out * channels * window);
    for filter in values.chunks_exact((before * window).max(1)) {
        if channels == 1 {
            let sums = (0..window).map(|at| filter[at..].iter().step_by(window).sum::<f32>());
            adapted.extend(sums);
            continue;
        }
        let scale = before as f32 / channels as f32;
        for channel in 0..channels {
            let from = channel % before * window;
            adapted.extend(filter[from..from + window].iter().map(|w| w * scale));
        }
    }
    adapted
}

/// The weights of a convolution on the images: their index among the tensors, and their shape before.
type Stem = (usize, [usize; 4]);

impl Graph {
    /// Returns the network for images of other channels, and its first convolutions.
    fn with_in_channels(&self, channels: usize) -> Result<(Self, Vec<Stem>), GraphError> {
        let mut graph = self.clone();
        let mut stems = Vec::new();
        let firsts = graph.nodes.iter_mut();
        for node in firsts.filter(|node| node.inputs.contains(&Value::IMAGES)) {
            let fixed = || GraphError::FixedChannels {
                node: node.name.clone(),
                channels: self.in_channels,
            };
            let weight = *node.tensors.first().ok_or_else(fixed)?;
            let shape = &mut graph.tensors[weight].shape;
            match (&mut node.op, shape.as_mut_slice()) {
                (Op::Conv2d(conv), [out, before, height, width]) if conv.groups == 1 => {
                    stems.push((weight, [*out, *before, *height, *width]));
                    (conv.in_channels, *before) = (channels, channels);
                }
                _ => return Err(fixed()),
            }
        }
        graph.in_channels = channels;
        Ok((graph, stems))
    }
}

impl Network {
    /// Returns the network for images of `channels` channels, whose first convolution has [adapted weights](adapt_stem).
    ///
    /// # Errors
    ///
    /// [`GraphError::FixedChannels`] for a network that does something else with its images first, such as scaling each
    /// channel, and [`GraphError::Zero`].
    pub fn with_in_channels(mut self, channels: usize) -> Result<Self, GraphError> {
        if channels == self.graph.in_channels() {
            return Ok(self);
        }
        if channels == 0 {
            return Err(GraphError::Zero {
                node: self.graph.name().to_string(),
                what: "the number of channels",
            });
        }
        let device = self.device();
        let (graph, stems) = self.graph.with_in_channels(channels)?;
        for (weight, shape) in stems {
            let values = adapt_stem(&self.slots[weight].values(), shape, channels);
            self.slots[weight] = Slot::of_values(&graph.tensors[weight], values, &device);
        }
        self.graph = Arc::new(graph);
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_channels_give_what_they_gave() {
        let values: Vec<f32> = (0..12).map(|i| (i * i % 7) as f32 - 2.0).collect();
        let sums = |values: &[f32], channels: usize| -> Vec<f32> {
            let filters = values.chunks_exact(channels * 2);
            let sum = |filter: &[f32]| [0, 1].map(|at| filter.iter().skip(at).step_by(2).sum());
            filters.flat_map(sum).collect()
        };
        for channels in [1, 2, 3, 6] {
            let adapted = adapt_stem(&values, [2, 3, 1, 2], channels);
            assert_eq!(adapted.len(), 2 * channels * 2);
            if channels % 3 == 0 || channels == 1 {
                let found = sums(&adapted, channels);
                for (found, expected) in found.iter().zip(sums(&values, 3)) {
                    assert!(
                        (found - expected).abs() < 1e-5,
                        "{channels}: {found} {expected}"
                    );
                }
            }
        }
        // Two channels are red and green, as large as three would be.
        let two = adapt_stem(&values, [2, 3, 1, 2], 2);
        assert_eq!(
            two[..4],
            [values[0], values[1], values[2], values[3]].map(|w| w * 1.5)
        );
    }
}

//! The range of pixels that a network takes which scales them itself.

use std::collections::BTreeMap;

use rekindle_nn::{Graph, Node, Op};

/// Key of metadata for the range of pixels that a network takes which scales them itself: [`BYTES`] or [`UNITS`].
pub(crate) const TAKES: &str = "takes";

/// Numbers from 0 to 255.
pub(crate) const BYTES: &str = "bytes";

/// Numbers from 0 to 1.
pub(crate) const UNITS: &str = "units";

/// The least mean or deviation of pixels that are bytes; that of pixels from 0 to 1 is far below.
const OF_BYTES: f32 = 10.0;

/// The largest deviation of pixels from 0 to 1: what is already normalised is scaled by more, if at all.
const MOST_OF_UNITS: f32 = 1.5;

/// Finds the range of the images from the mean and deviation that a network begins by normalising each channel with; none where
/// it doesn't, or where they are those of neither range.
pub(crate) fn taken(graph: &Graph, tensors: &BTreeMap<String, Vec<f32>>) -> Option<&'static str> {
    // The node that gives what is looked at; none for the images.
    let mut at = None;
    let channels = graph.in_channels();
    let (mut factors, mut summands) = (vec![1.0f32; channels], vec![0.0f32; channels]);
    let nodes = graph.nodes();
    while let Some(node) = only_user(nodes, at) {
        let values = |index: usize| {
            let name = &graph.tensors()[*node.tensors.get(index)?].name;
            tensors.get(name).filter(|values| values.len() == channels)
        };
        let is_scale = match &node.op {
            Op::LayerScale { .. } => true,
            Op::Conv2d(conv) => conv.kernel == [1, 1] && conv.groups == conv.in_channels,
            _ => false,
        };
        let Some(weight) = values(0).filter(|_| is_scale) else {
            break;
        };
        let bias = values(1);
        for channel in 0..channels {
            factors[channel] *= weight[channel];
            summands[channel] *= weight[channel];
            summands[channel] += bias.map_or(0.0, |bias| bias[channel]);
        }
        at = nodes.iter().position(|other| std::ptr::eq(other, node));
    }
    let normal: Vec<[f32; 2]> = factors
        .iter()
        .zip(&summands)
        .map(|(factor, summand)| [-summand / factor, (1.0 / factor).abs()])
        .collect();
    let is_bytes = |[mean, deviation]: &[f32; 2]| *mean > OF_BYTES || *deviation > OF_BYTES;
    let is_unit = |[mean, deviation]: &[f32; 2]| {
        (0.0..=1.0).contains(mean)
            && *deviation < MOST_OF_UNITS
            && [*mean, *deviation] != [0.0, 1.0]
    };
    if normal.iter().all(is_bytes) {
        return Some(BYTES);
    }
    normal.iter().all(is_unit).then_some(UNITS)
}

/// Returns the one node that uses what another gives, or the images.
fn only_user(nodes: &[Node], of: Option<usize>) -> Option<&Node> {
    let uses = |node: &&Node| node.inputs.iter().any(|value| value.node() == of);
    let mut users = nodes.iter().filter(uses);
    let user = users.next()?;
    users.next().is_none().then_some(user)
}

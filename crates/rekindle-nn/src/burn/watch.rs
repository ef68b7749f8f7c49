//! A network run node by node, for those who want to see its values.

use std::collections::BTreeMap;

use burn::prelude::*;

use super::{CHECKED, Feature, Live};
use crate::graph::Value;
use crate::network::Network;

impl Network {
    /// Computes the output for images by Burn's operations, and shows `see` each value that `wanted` names by its position.
    pub(crate) fn watch(
        &self,
        images: Tensor<4>,
        wanted: &[bool],
        see: &mut dyn FnMut(Value, &[f32]),
    ) -> Vec<f32> {
        let nodes = self.graph.nodes();
        let mut uses = BTreeMap::<Value, usize>::new();
        for value in nodes.iter().flat_map(|node| &node.inputs) {
            *uses.entry(*value).or_default() += 1;
        }
        let images = Feature::Maps(images);
        if wanted[Value::IMAGES.index()] {
            see(Value::IMAGES, &images.values());
        }
        let mut live = Live {
            features: BTreeMap::from([(Value::IMAGES, images)]),
            uses,
        };
        for (index, node) in nodes.iter().enumerate() {
            let inputs = node.inputs.iter().map(|value| live.take(*value));
            let result = self.compute(index, node, inputs.collect());
            let value = Value::of_node(index);
            if wanted[value.index()] {
                see(value, &result.values());
            }
            live.features.insert(value, result);
        }
        let output = Value::of_node(nodes.len() - 1);
        live.features.remove(&output).expect(CHECKED).values()
    }
}

impl Feature {
    fn values(&self) -> Vec<f32> {
        let data = match self.clone() {
            Self::Rows(x) => x.into_data(),
            x => x.maps().into_data(),
        };
        data.iter::<f32>().collect()
    }

    /// Rounds each number.
    pub(super) fn rounded(self, rounding: crate::quantization::Rounding) -> Self {
        match self {
            Self::Rows(x) => Self::Rows(rounding.apply(x)),
            x => Self::Maps(rounding.apply(x.maps())),
        }
    }
}

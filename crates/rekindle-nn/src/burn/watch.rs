//! Those who look at the values of a network while it runs.

use std::collections::BTreeMap;

use burn::prelude::*;

use super::Feature;
use crate::graph::Value;
use crate::network::Network;
use crate::quantization::Rounding;

/// Sees values on the way, and may put others in their place.
pub(super) trait Watch {
    /// Tells whether it looks at a value. Operations are not computed together across one.
    fn is_seen(&self, value: Value) -> bool;

    /// Takes such a value and returns what others are to read.
    fn see(&mut self, value: Value, x: Feature) -> Feature;
}

/// Looks at nothing.
pub(super) struct Unseen;

impl Watch for Unseen {
    fn is_seen(&self, _: Value) -> bool {
        false
    }

    fn see(&mut self, _: Value, x: Feature) -> Feature {
        x
    }
}

/// Rounds values to what bytes stand for.
pub(super) struct Rounded<'a>(pub &'a BTreeMap<Value, Rounding>);

impl Watch for Rounded<'_> {
    fn is_seen(&self, value: Value) -> bool {
        self.0.contains_key(&value)
    }

    fn see(&mut self, value: Value, x: Feature) -> Feature {
        match (self.0.get(&value), x) {
            (None, x) => x,
            (Some(rounding), Feature::Rows(x)) => Feature::Rows(rounding.apply(x)),
            (Some(rounding), x) => Feature::Maps(rounding.apply(x.maps())),
        }
    }
}

/// Shows the numbers of some values.
struct Shown<'a> {
    is_wanted: &'a [bool],
    to: &'a mut dyn FnMut(Value, &[f32]),
}

impl Watch for Shown<'_> {
    fn is_seen(&self, value: Value) -> bool {
        self.is_wanted[value.index()]
    }

    fn see(&mut self, value: Value, x: Feature) -> Feature {
        (self.to)(value, &numbers(x.clone()));
        x
    }
}

impl Network {
    /// Computes the output for images, and shows `to` the numbers of each value that `is_wanted` names by its position.
    pub(crate) fn watch(
        &self,
        images: Tensor<4>,
        is_wanted: &[bool],
        to: &mut dyn FnMut(Value, &[f32]),
    ) -> Vec<f32> {
        let nodes = 0..self.graph.nodes().len();
        let output = self.run_watched(nodes, Feature::Maps(images), &mut Shown { is_wanted, to });
        numbers(output)
    }
}

fn numbers(x: Feature) -> Vec<f32> {
    let data = match x {
        Feature::Rows(x) => x.into_data(),
        x => x.maps().into_data(),
    };
    data.iter::<f32>().collect()
}

//! Known numbers that are added to channels, or that these are multiplied by.

use super::draft::{State, Weight};
use super::error::Outcome;
use super::reader::Reader;
use super::view::View;

impl Reader<'_> {
    pub(super) fn add_channels(&mut self, view: &View, weight: Weight) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let state = match self.draft.state(view.base).clone() {
            State::Layer {
                of,
                product,
                weight: factors,
                bias: None,
                node,
            } => State::Layer {
                of,
                product,
                weight: factors,
                bias: Some(weight),
                node,
            },
            State::LayerNorm {
                of,
                epsilon,
                weight: factors,
                bias: None,
            } => State::LayerNorm {
                of,
                epsilon,
                weight: factors,
                bias: Some(weight),
            },
            State::Responded {
                of,
                epsilon,
                weight: factors,
                bias: None,
            } => State::Responded {
                of,
                epsilon,
                weight: factors,
                bias: Some(weight),
            },
            State::Affine {
                of,
                weight: factors,
                bias: None,
            } => State::Affine {
                of,
                weight: factors,
                bias: Some(weight),
            },
            _ => State::Affine {
                of: view.base,
                weight: None,
                bias: Some(weight),
            },
        };
        Ok(view.on(self.draft.like(view.base, state)))
    }

    pub(super) fn scale_channels(&mut self, view: &View, weight: Weight) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let weight = Some(weight);
        let state = match self.draft.state(view.base).clone() {
            State::LayerNorm {
                of,
                epsilon,
                weight: None,
                bias: None,
            } => State::LayerNorm {
                of,
                epsilon,
                weight,
                bias: None,
            },
            State::Response {
                of,
                epsilon,
                weight: None,
            } => State::Response {
                of,
                epsilon,
                weight,
            },
            State::Responded {
                of,
                epsilon,
                weight: None,
                bias: None,
            } => State::Responded {
                of,
                epsilon,
                weight,
                bias: None,
            },
            _ => State::Affine {
                of: view.base,
                weight,
                bias: None,
            },
        };
        Ok(view.on(self.draft.like(view.base, state)))
    }

    /// Adds a position to each patch or token.
    pub(super) fn place(&mut self, view: &View, positions: Weight) -> Outcome<View> {
        let state = match self.draft.state(view.base).clone() {
            State::Tokens {
                of,
                prefix,
                positions: None,
                ..
            } => State::Tokens {
                of,
                prefix,
                positions: Some(positions),
                has_class_position: true,
            },
            State::Tokens { .. } | State::Placed { .. } => {
                return Err("positions are added twice".into());
            }
            _ => State::Placed {
                of: view.base,
                positions,
            },
        };
        Ok(view.on(self.draft.like(view.base, state)))
    }
}

pub(super) fn changed(weight: Weight, change: impl Fn(f32) -> f32) -> Weight {
    Weight {
        values: weight.values.into_iter().map(change).collect(),
        name: None,
    }
}

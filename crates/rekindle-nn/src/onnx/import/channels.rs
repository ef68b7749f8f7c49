//! Known numbers that are added to channels, or that these are multiplied by.

use super::draft::{State, Weight};
use super::error::Outcome;
use super::reader::Reader;
use super::view::View;

impl Reader<'_> {
    pub(super) fn add_channels(&mut self, view: &View, weight: Weight) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let mut state = self.draft.state(view.base).clone();
        match &mut state {
            State::Layer { bias, .. }
            | State::LayerNorm { bias, .. }
            | State::GroupNorm { bias, .. }
            | State::Responded { bias, .. }
            | State::Affine { bias, .. }
                if bias.is_none() =>
            {
                *bias = Some(weight);
            }
            _ => {
                state = State::Affine {
                    of: view.base,
                    weight: None,
                    bias: Some(weight),
                };
            }
        }
        Ok(view.on(self.draft.like(view.base, state)))
    }

    pub(super) fn scale_channels(&mut self, view: &View, weight: Weight) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let mut state = self.draft.state(view.base).clone();
        match &mut state {
            State::LayerNorm {
                weight: factors,
                bias: None,
                ..
            }
            | State::GroupNorm {
                weight: factors,
                bias: None,
                ..
            }
            | State::Responded {
                weight: factors,
                bias: None,
                ..
            }
            | State::Response {
                weight: factors, ..
            } if factors.is_none() => *factors = Some(weight),
            _ => {
                state = State::Affine {
                    of: view.base,
                    weight: Some(weight),
                    bias: None,
                };
            }
        }
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
            State::Tokens { .. } | State::Placed { .. } | State::InRow(_) => {
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

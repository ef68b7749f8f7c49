//! Normalisations, as one node or as what they are computed by.

use super::attributes::Operator;
use super::constant::Constant;
use super::draft::{Part, State, Weight};
use super::error::Outcome;
use super::function::Step;
use super::layers::weight;
use super::reader::Reader;
use super::view::{Atom, Axis, View, is_beside, joined, whole};
use crate::graph::TensorKind;
use crate::init::Init;
use crate::op::{BatchNorm, Op};

impl Reader<'_> {
    pub(super) fn batch_norm(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let channels = self.draft.channels(view.base);
        if view.dims.get(1) != Some(&whole(Axis::Channel, channels)) {
            return Err("its second dimension are not the channels".into());
        }
        let names = ["weight", "bias", "running_mean", "running_var"];
        let kinds = [
            TensorKind::Vector,
            TensorKind::Vector,
            TensorKind::RunningMean,
            TensorKind::RunningVar,
        ];
        let inits = [1.0, 0.0, 0.0, 1.0];
        let mut all = Vec::with_capacity(4);
        for index in 0..4 {
            all.push(weight(constants.get(index + 1).copied().flatten())?.1);
        }
        // All four have the module's name, or none has.
        let module = all.iter().zip(names).map(|(weight, part)| {
            let name = weight.name.as_deref()?;
            name.strip_suffix(part)?
                .strip_suffix('.')
                .map(str::to_string)
        });
        let modules: Option<Vec<String>> = module.collect();
        let module = modules.and_then(|all| {
            let is_one = all.iter().all(|module| *module == all[0]);
            is_one.then(|| all[0].clone())
        });
        let module = module.unwrap_or_else(|| format!("{}_norm", self.module(operator)));
        let parts = all.into_iter().enumerate().map(|(index, weight)| Part {
            name: format!("{module}.{}", names[index]),
            shape: vec![channels],
            kind: kinds[index],
            init: Init::Constant(inits[index]),
            values: weight.values,
        });
        let norm = BatchNorm {
            channels,
            epsilon: operator.float("epsilon").unwrap_or(1e-5),
            momentum: 1.0 - operator.float("momentum").unwrap_or(0.9),
        };
        let x = self.draft.value(view.base)?;
        let parts = parts.collect();
        let value = self
            .draft
            .emit(&module, Op::BatchNorm(norm), vec![x], parts)?;
        let base = self.draft.like(view.base, State::Ready(value));
        Ok(view.on(base))
    }

    pub(super) fn layer_norm(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let channels = self.draft.channels(view.base);
        let rank = view.dims.len() as i64;
        let axis = operator.int("axis").unwrap_or(-1);
        let is_last = axis == -1 || axis == rank - 1;
        if !is_last || view.dims.last() != Some(&whole(Axis::Channel, channels)) {
            return Err("it is not over the channels".into());
        }
        let (_, weight) = weight(constants.get(1).copied().flatten())?;
        let state = State::LayerNorm {
            of: view.base,
            epsilon: operator.float("epsilon").unwrap_or(1e-5),
            weight: Some(weight),
            bias: constants.get(2).copied().flatten().and_then(Weight::of),
        };
        let base = self.draft.like(view.base, state);
        Ok(view.on(base))
    }

    /// Reads a normalisation of each channel of an image, or of groups of channels that were made the second dimension.
    pub(super) fn group_norm(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let view = self.draft.settle(view)?;
        let [batch, channels, rows, columns] = self.draft.extents(view.base);
        let groups = match operator.kind().as_str() {
            "GroupNormalization" => operator.count("num_groups", 1)?,
            _ => *view.shape().get(1).ok_or("it takes rows")?,
        };
        let inside: Vec<Atom> = view.dims.iter().skip(1).flatten().copied().collect();
        let expected = [
            (Axis::Channel, channels),
            (Axis::Row, rows),
            (Axis::Column, columns),
        ];
        let expected = expected.map(|(axis, extent)| whole(axis, extent)).concat();
        let is_of_images = view.dims[0] == whole(Axis::Batch, batch);
        if !is_of_images || joined(inside) != expected || !channels.is_multiple_of(groups.max(1)) {
            return Err("it is not over whole groups of channels".into());
        }
        let parameter = |index: usize, neutral: f32| -> Outcome<Option<Weight>> {
            let (_, weight) = weight(constants.get(index).copied().flatten())?;
            let count = weight.values.len();
            Ok(match count {
                _ if weight.values.iter().all(|value| *value == neutral) => None,
                _ if count == channels => Some(weight),
                _ if count == groups => Some(Weight {
                    values: weight
                        .values
                        .iter()
                        .flat_map(|value| std::iter::repeat_n(*value, channels / groups))
                        .collect(),
                    name: None,
                }),
                _ => return Err(format!("{count} numbers for {groups} groups").into()),
            })
        };
        let state = State::GroupNorm {
            of: view.base,
            groups,
            epsilon: operator.float("epsilon").unwrap_or(1e-5),
            weight: parameter(1, 1.0)?,
            bias: parameter(2, 0.0)?,
        };
        let base = self.draft.like(view.base, state);
        Ok(view.on(base))
    }

    /// Reads a step of a layer normalisation or of a response normalisation; none for all else.
    pub(super) fn normalised(&mut self, step: Step, a: &View, b: &View) -> Outcome<Option<View>> {
        let next = match (step, self.draft.state(a.base), self.draft.state(b.base)) {
            (Step::Sub, _, State::ChannelMean { of }) if *of == a.base => {
                State::Centered { of: *of }
            }
            (Step::Mul, State::Centered { of }, State::Centered { .. }) if a.base == b.base => {
                State::Squared { of: *of }
            }
            (Step::Div, State::Centered { of }, State::Deviation { of: same, epsilon })
            | (Step::Mul, State::Centered { of }, State::InverseDeviation { of: same, epsilon })
                if of == same =>
            {
                State::LayerNorm {
                    of: *of,
                    epsilon: *epsilon,
                    weight: None,
                    bias: None,
                }
            }
            (Step::Mul, State::InverseDeviation { .. }, State::Centered { .. }) => {
                return self.normalised(step, b, a);
            }
            (Step::Div, State::Norms { of }, State::AboveNorms { of: same, epsilon })
                if of == same =>
            {
                State::Response {
                    of: *of,
                    epsilon: *epsilon,
                    weight: None,
                }
            }
            (
                Step::Mul,
                _,
                State::Response {
                    of,
                    epsilon,
                    weight,
                },
            ) if *of == a.base => State::Responded {
                of: *of,
                epsilon: *epsilon,
                weight: weight.clone(),
                bias: None,
            },
            (Step::Mul, State::Response { of, .. }, _) if *of == b.base => {
                return self.normalised(step, b, a);
            }
            (Step::Add, _, State::Responded { of, .. }) if *of == a.base => {
                return Ok(Some(self.responded(a, b, None)?));
            }
            (
                Step::Add,
                State::Affine {
                    of: x,
                    weight: None,
                    bias,
                },
                State::Responded { of, bias: None, .. },
            ) if x == of => {
                let bias = bias.clone();
                return Ok(Some(self.responded(a, b, bias)?));
            }
            (Step::Add, State::Responded { of, .. }, other) => {
                let is_affine = matches!(other, State::Affine { of: x, .. } if x == of);
                return match *of == b.base || is_affine {
                    true => self.normalised(step, b, a),
                    false => Ok(None),
                };
            }
            _ => return Ok(None),
        };
        if !is_beside(a, b, &[Axis::Channel]) && !is_beside(a, b, &[Axis::Row, Axis::Column]) {
            return Ok(None);
        }
        let wider = a.clone();
        let base = match next {
            State::Response { .. } => self.draft.like(a.base, next),
            state => self.draft.like(wider.base, state),
        };
        Ok(Some(wider.on(base)))
    }

    /// Reads the last sum of a response normalisation.
    fn responded(&mut self, a: &View, b: &View, own: Option<Weight>) -> Outcome<View> {
        let State::Responded {
            of,
            epsilon,
            weight,
            bias,
        } = self.draft.state(b.base).clone()
        else {
            return Err("it is no response normalisation".into());
        };
        if a.dims != b.dims {
            return Err("its summands are turned differently".into());
        }
        let state = State::GlobalResponse {
            of,
            epsilon,
            weight,
            bias: own.or(bias),
        };
        let base = self.draft.like(of, state);
        Ok(a.on(base))
    }
}

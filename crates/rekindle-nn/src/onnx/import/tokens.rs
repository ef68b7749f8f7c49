//! Concatenates channels, and prepends tokens to patches.

use super::attributes::{Operator, axis};
use super::constant::Constant;
use super::draft::{State, Weight};
use super::error::Outcome;
use super::reader::{Item, Reader};
use super::view::{Atom, Axis, Dim, View, whole};
use crate::op::Op;

impl Reader<'_> {
    /// Reads a concatenation: of channels, or of tokens in front of patches.
    pub(super) fn concatenation(
        &mut self,
        operator: Operator<'_>,
        inputs: &[Option<Item>],
    ) -> Outcome<Vec<Item>> {
        let views: Vec<&View> = inputs
            .iter()
            .filter_map(|item| match item {
                Some(Item::View(view)) => Some(view),
                _ => None,
            })
            .collect();
        let rank = views.first().map_or(0, |view| view.dims.len());
        let at = axis(operator.int("axis").unwrap_or(1), rank)?;
        if views.len() == inputs.len()
            && let Some(view) = self.channels_joined(&views, at)?
        {
            return Ok(vec![Item::View(view)]);
        }
        let mut parts = Vec::with_capacity(inputs.len());
        for item in inputs {
            parts.push(match item {
                Some(Item::View(view)) => Ok(view),
                Some(Item::Constant(constant)) => Err(constant),
                _ => return Err("a part is neither a value nor known".into()),
            });
        }
        Ok(vec![Item::View(self.tokens_joined(&parts, at)?)])
    }

    pub(super) fn channels_joined(&mut self, views: &[&View], at: usize) -> Outcome<Option<View>> {
        let is_channels = |view: &&View| {
            let atoms = &view.dims[at];
            atoms.iter().all(|atom| atom.axis == Axis::Channel)
        };
        if !views
            .iter()
            .all(|view| view.dims.len() > at && is_channels(view))
        {
            return Ok(None);
        }
        let mut values = Vec::with_capacity(views.len());
        let mut first: Option<View> = None;
        let mut total = 0;
        for view in views {
            let view = self.draft.settle(view)?;
            let channels = self.draft.channels(view.base);
            let others = |view: &View| -> Vec<Dim> {
                let dims = view.dims.iter().enumerate();
                let dims = dims.filter(|(index, _)| *index != at);
                dims.map(|(_, dim)| dim.clone()).collect()
            };
            let is_like = first
                .as_ref()
                .is_none_or(|first| others(first) == others(&view));
            if view.dims[at] != whole(Axis::Channel, channels) || !is_like {
                return Err("its parts are turned differently".into());
            }
            values.push(self.draft.value(view.base)?);
            total += channels;
            first.get_or_insert(view);
        }
        let first = first.ok_or("it joins nothing")?;
        let value = self.draft.apply("concat", Op::Concat, values)?;
        let mut extents = self.draft.extents(first.base);
        extents[1] = total;
        let base = self.draft.ready(extents, value);
        let mut view = first.on(base);
        view.dims[at] = whole(Axis::Channel, total);
        Ok(Some(view))
    }

    /// Reads tokens in front of patches, or registers between the class token and the patches.
    fn tokens_joined(&mut self, parts: &[Result<&View, &Constant>], at: usize) -> Outcome<View> {
        let wrong = "it joins neither channels nor tokens in front of patches";
        let Some((Ok(patches), before)) = parts.split_last() else {
            return Err(wrong.into());
        };
        let extents = self.draft.extents(patches.base);
        let channels = extents[1];
        let mut dims = patches.dims.clone();
        let others: Vec<&Dim> = dims
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != at)
            .map(|(_, d)| d)
            .collect();
        let is_channels = |dim: &&Dim| **dim == whole(Axis::Channel, channels);
        let is_rest = |dim: &&Dim| is_channels(dim) || dim.iter().all(|a| a.axis == Axis::Batch);
        let channel = dims.iter().position(|dim| is_channels(&dim));
        if !others.iter().any(is_channels) || !others.iter().all(is_rest) {
            return Err(wrong.into());
        }
        let taken = |constant: &Constant| -> Outcome<Weight> {
            let rank = constant.shape.len();
            let is_row = rank == dims.len() && {
                let mut extents = constant.shape.iter().enumerate();
                extents.all(|(i, e)| i == at || *e == 1 || *e == channels)
            };
            let count = constant.elements();
            if !is_row || !count.is_multiple_of(channels) {
                return Err(wrong.into());
            }
            // Tokens one behind the other, whichever way the file has them.
            let mut order: Vec<usize> = (0..rank).filter(|i| *i != at).collect();
            order.retain(|i| Some(*i) != channel);
            order.push(at);
            order.extend(channel);
            let constant = match order.is_sorted() {
                true => constant.clone(),
                false => super::fold::transposed(constant, &order)?,
            };
            Ok(Weight::of(&constant).ok_or(wrong)?)
        };
        let state = match (self.draft.state(patches.base).clone(), before) {
            // Registers between the parts of what was joined before.
            (
                State::Tokens {
                    of,
                    mut prefix,
                    positions,
                    has_class_position,
                },
                [Ok(class), registers @ ..],
            ) if class.base == patches.base && prefix.len() == 1 => {
                let column = Axis::Column.index();
                let is_cut = class.start[column] == 0
                    && class.along(Axis::Column).is_empty()
                    && patches.start[column] == 1
                    && patches.run(Axis::Column) == Some(extents[3] - 1);
                if !is_cut {
                    return Err(wrong.into());
                }
                for register in registers {
                    prefix.push(taken(register.err().ok_or(wrong)?)?);
                }
                State::Tokens {
                    of,
                    prefix,
                    positions,
                    has_class_position,
                }
            }
            (_, before) => {
                let [_, _, rows, columns] = extents;
                let pixels: Vec<Atom> =
                    [whole(Axis::Row, rows), whole(Axis::Column, columns)].concat();
                if dims[at] != pixels || !patches.is_whole(extents) {
                    return Err(wrong.into());
                }
                let mut prefix = Vec::with_capacity(before.len());
                for part in before {
                    prefix.push(taken(part.err().ok_or(wrong)?)?);
                }
                State::Tokens {
                    of: patches.base,
                    prefix,
                    positions: None,
                    has_class_position: false,
                }
            }
        };
        let (of, count) = match &state {
            State::Tokens { of, prefix, .. } => {
                let numbers = prefix.iter().map(|weight| weight.values.len());
                (*of, numbers.sum::<usize>() / channels)
            }
            _ => return Err(wrong.into()),
        };
        let [batch, _, rows, columns] = self.draft.extents(of);
        let tokens = count + rows * columns;
        let base = self.draft.add([batch, channels, 1, tokens], state);
        dims[at] = whole(Axis::Column, tokens);
        Ok(View {
            base,
            dims,
            start: [0; 4],
        })
    }
}

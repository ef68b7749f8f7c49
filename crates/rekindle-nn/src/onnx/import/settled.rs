//! Views made whole: what they look at, taken out of its value.

use super::draft::{Draft, State};
use super::error::Outcome;
use super::view::{Axis, View, whole};
use crate::graph::Value;
use crate::op::Op;

impl Draft {
    /// Makes a view whole: takes the channels or the token that it looks at out of their value.
    pub fn settle(&mut self, view: &View) -> Outcome<View> {
        let view = &self.in_row(view)?;
        let extents = self.extents(view.base);
        if view.is_whole(extents) {
            return Ok(view.clone());
        }
        let run = |axis: Axis| view.run(axis);
        let is_all =
            |axis: Axis| run(axis) == Some(extents[axis.index()]) && view.start[axis.index()] == 0;
        let [_, channels, rows, columns] = extents;
        let is_one_token = rows == 1 && run(Axis::Column) == Some(1) && columns > 1;
        if is_one_token && is_all(Axis::Batch) {
            let x = self.value(view.base)?;
            let index = view.start[Axis::Column.index()];
            let row = self.apply("token", Op::Token { index }, vec![x])?;
            let base = self.ready([extents[0], channels, 1, 1], row);
            let mut view = view.on(base);
            view.start[Axis::Column.index()] = 0;
            return match view.is_whole(self.extents(base)) {
                true => Ok(view),
                false => Err("it takes a part of the channels of one token".into()),
            };
        }
        let others = [Axis::Batch, Axis::Row, Axis::Column];
        if let (true, Some(count)) = (others.into_iter().all(is_all), run(Axis::Channel)) {
            let x = self.value(view.base)?;
            let start = view.start[Axis::Channel.index()];
            let op = Op::Slice {
                start,
                channels: count,
            };
            let part = self.apply("slice", op, vec![x])?;
            let base = self.ready([extents[0], count, rows, columns], part);
            let mut view = view.on(base);
            view.start[Axis::Channel.index()] = 0;
            return Ok(view);
        }
        Err("it takes a part of an image, of the tokens or of every other channel".into())
    }

    /// Returns the first of the tokens that a view looks at, and the dimension of these, where it leaves out some in front of
    /// all others.
    pub fn last_tokens(&self, view: &View) -> Option<(usize, usize)> {
        let extents = self.extents(view.base);
        let [batch, channels, rows, columns] = extents;
        let start = view.start[Axis::Column.index()];
        let rest = whole(Axis::Column, columns.checked_sub(start)?);
        let is_all = [batch, channels]
            == [Axis::Batch, Axis::Channel].map(|axis| view.run(axis).unwrap_or(0));
        let place = view.dims.iter().position(|dim| *dim == rest)?;
        (rows == 1 && start > 0 && !rest.is_empty() && is_all).then_some((start, place))
    }

    /// Looks at patches with positions that no class token stands in front of as a row of tokens.
    fn in_row(&mut self, view: &View) -> Outcome<View> {
        let [batch, channels, rows, columns] = self.extents(view.base);
        let row = match self.state(view.base).clone() {
            State::InRow(row) => row,
            State::Placed { of, positions } => {
                let value = self.patches(of, positions)?;
                let row = self.ready([batch, channels, 1, rows * columns], value);
                self.bases[view.base].state = State::InRow(row);
                row
            }
            _ => return Ok(view.clone()),
        };
        let pixels = [whole(Axis::Row, rows), whole(Axis::Column, columns)].concat();
        let mut view = view.on(row);
        let place = view.dims.iter().position(|dim| *dim == pixels);
        let place = place.ok_or("positions are added to maps, not to tokens")?;
        view.dims[place] = whole(Axis::Column, rows * columns);
        Ok(view)
    }

    /// Settles a view and turns it into maps `[batch, channels, height, width]`, where its dimensions are these.
    pub fn maps(&mut self, view: &View) -> Outcome<Value> {
        let view = self.settle(view)?;
        let extents = self.extents(view.base);
        let expected: Vec<_> = Axis::ALL.map(|a| whole(a, extents[a.index()])).to_vec();
        if view.dims == expected {
            return self.value(view.base);
        }
        if view.dims.len() != expected.len() {
            return Err("it takes no maps of four dimensions".into());
        }
        if let Some(groups) = view.shuffle(extents) {
            let x = self.value(view.base)?;
            return self.apply("shuffle", Op::ChannelShuffle { groups }, vec![x]);
        }
        Err("its dimensions are not batch, channels, height and width".into())
    }
}

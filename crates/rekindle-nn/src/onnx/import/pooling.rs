//! Windows and means over height and width.

use super::attributes::Operator;
use super::constant::Constant;
use super::draft::{Product, State, Weight};
use super::error::Outcome;
use super::fold::axes;
use super::reader::{Item, Reader};
use super::view::{Axis, View, whole};
use crate::graph::Value;
use crate::op::{Conv2d, Op, Padding, Pool2d};
use crate::shape::Shape;

impl Reader<'_> {
    pub(super) fn global_average(&mut self, view: &View) -> Outcome<View> {
        let x = self.draft.maps(view)?;
        let batch = self.draft.extents(view.base)[0];
        let channels = self.draft.shapes[x.index()].channels();
        let name = self.draft.call("avgpool");
        let value = self
            .draft
            .emit(&name, Op::GlobalAvgPool, vec![x], Vec::new())?;
        let extents = [batch, channels, 1, 1];
        let base = self.draft.ready(extents, value);
        Ok(View::new(base, extents, &Axis::ALL))
    }

    /// Reads a pooling of maps with `zeros` put around them: above, to the left, below and to the right.
    pub(super) fn pooling(
        &mut self,
        operator: Operator<'_>,
        kind: &str,
        view: &View,
        zeros: [usize; 4],
    ) -> Outcome<View> {
        let mut x = self.draft.maps(view)?;
        let Shape::Maps { channels, mut size } = self.draft.shapes[x.index()] else {
            return Err("it takes rows".into());
        };
        let kernel: [usize; 2] = operator.counts("kernel_shape", 0)?;
        let stride: [usize; 2] = operator.counts("strides", 1)?;
        let dilation: [usize; 2] = operator.counts("dilations", 1)?;
        if kernel.contains(&0) || stride.contains(&0) || dilation != [1, 1] {
            return Err("its window has a size of zero, or holes".into());
        }
        let is_max = kind == "MaxPool";
        let is_rounded_up = operator.int("ceil_mode").unwrap_or(0) != 0;
        // Of numbers that are not below it, zero is the largest no more than the nothing around a pooling's input.
        let zeros_win = is_max && !self.draft.is_non_negative(x);
        if zeros != [0; 4] && (!is_max || zeros_win) {
            (x, size) = self.surrounded(x, zeros)?;
        }
        let mut pads = pads(operator, kernel, stride, size)?;
        if zeros != [0; 4] && is_max && !zeros_win {
            pads.iter_mut()
                .zip(zeros)
                .for_each(|(pad, zeros)| *pad += zeros);
        }
        let counts_zeros = operator.int("count_include_pad").unwrap_or(0) != 0;
        if !is_max && counts_zeros && pads != [0; 4] {
            (x, size) = self.surrounded(x, pads)?;
            pads = [0; 4];
        }
        let is_alike = pads[..2] == pads[2..];
        if !is_alike && !are_even(size, kernel, stride, pads, is_rounded_up) {
            if !is_max || zeros_win {
                return Err("its windows stand over one edge only".into());
            }
            (x, size) = self.surrounded(x, pads)?;
            pads = [0; 4];
        }
        if !is_max && kernel == size && pads == [0; 4] {
            let extents = [self.draft.extents(view.base)[0], channels, size[0], size[1]];
            let base = self.draft.ready(extents, x);
            return self.global_average(&View::new(base, extents, &Axis::ALL));
        }
        let pool = Pool2d {
            kernel,
            stride,
            padding: [pads[0], pads[1]],
            ceil_mode: is_rounded_up,
        };
        let op = if is_max {
            Op::MaxPool(pool)
        } else {
            Op::AvgPool(pool)
        };
        let value = self
            .draft
            .apply(if is_max { "maxpool" } else { "avgpool" }, op, vec![x])?;
        let Shape::Maps { size, .. } = self.draft.shapes[value.index()] else {
            return Err("it gives rows".into());
        };
        let extents = [self.draft.extents(view.base)[0], channels, size[0], size[1]];
        let base = self.draft.ready(extents, value);
        Ok(View::new(base, extents, &Axis::ALL))
    }

    /// Puts zeros around maps, by a depthwise convolution that leaves these as they are.
    fn surrounded(&mut self, x: Value, zeros: [usize; 4]) -> Outcome<(Value, [usize; 2])> {
        let Shape::Maps { channels, size } = self.draft.shapes[x.index()] else {
            return Err("it takes rows".into());
        };
        // Wide enough for its padding, as the gradient wants it.
        let middle = zeros.into_iter().max().unwrap_or(0);
        let side = 2 * middle + 1;
        if side > MOST_ZEROS {
            return Err("it puts too many zeros around maps".into());
        }
        let [top, left, bottom, right] = zeros.map(|zeros| zeros + middle);
        let conv = Conv2d {
            in_channels: channels,
            out_channels: channels,
            kernel: [side, side],
            stride: [1, 1],
            padding: Padding::Explicit {
                top,
                left,
                bottom,
                right,
            },
            dilation: [1, 1],
            groups: channels,
            has_bias: false,
        };
        let mut values = vec![0.0; channels * side * side];
        let centres = values.chunks_exact_mut(side * side);
        centres.for_each(|window| window[side * middle + middle] = 1.0);
        let of = self.draft.ready([1, channels, size[0], size[1]], x);
        let size = [size[0] + zeros[0] + zeros[2], size[1] + zeros[1] + zeros[3]];
        let state = State::Layer {
            of,
            product: Product::Conv(conv),
            weight: Weight { values, name: None },
            bias: None,
            node: self.draft.call("zeros_around"),
        };
        let base = self.draft.add([1, channels, size[0], size[1]], state);
        Ok((self.draft.value(base)?, size))
    }

    /// Reads means and norms over channels, or over height and width.
    pub(super) fn reduction(
        &mut self,
        operator: Operator<'_>,
        kind: &str,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let rank = view.dims.len();
        let axes = axes(operator, constants.get(1).copied().flatten(), rank)?;
        let axes = axes.unwrap_or_else(|| (0..rank).collect());
        let keeps = operator.int("keepdims").unwrap_or(1) != 0;
        if let ("ReduceMean", Some((start, at))) = (kind, self.draft.last_tokens(view)) {
            if !axes.contains(&at) {
                return Err("it is not over the tokens".into());
            }
            return self.mean_of_tokens(view, start, &axes, keeps);
        }
        let view = self.draft.settle(view)?;
        let extents = self.draft.extents(view.base);
        let reduced = View {
            dims: axes.iter().map(|at| view.dims[*at].clone()).collect(),
            ..view.clone()
        };
        let is_over = |along: &[Axis]| {
            Axis::ALL.iter().all(|axis| match along.contains(axis) {
                true => reduced.run(*axis) == Some(extents[axis.index()]),
                false => reduced.along(*axis).is_empty(),
            })
        };
        let is_pixels = is_over(&[Axis::Row, Axis::Column]);
        let [batch, channels, rows, columns] = extents;
        let base = if kind == "ReduceMean" && is_pixels && extents[2..] == [1, 1] {
            view.base
        } else if kind == "ReduceMean" && is_pixels {
            let x = self.draft.value(view.base)?;
            let name = self.draft.call("avgpool");
            let value = self
                .draft
                .emit(&name, Op::GlobalAvgPool, vec![x], Vec::new())?;
            self.draft.ready([batch, channels, 1, 1], value)
        } else if kind == "ReduceMean" && is_over(&[Axis::Channel]) {
            let state = match *self.draft.state(view.base) {
                State::Squared { of } => State::Variance { of },
                State::Norms { of } => State::MeanOfNorms { of },
                _ => State::ChannelMean { of: view.base },
            };
            self.draft.add([batch, 1, rows, columns], state)
        } else if kind == "ReduceL2" && is_pixels {
            let state = State::Norms { of: view.base };
            self.draft.add([batch, channels, 1, 1], state)
        } else {
            return Err("it is neither over the channels nor over height and width".into());
        };
        Ok(without(&view.on(base), &axes, keeps))
    }

    /// Reads the mean of the tokens behind those in front of the patches.
    fn mean_of_tokens(
        &mut self,
        view: &View,
        start: usize,
        axes: &[usize],
        keeps: bool,
    ) -> Outcome<View> {
        let [batch, channels, _, _] = self.draft.extents(view.base);
        let is_of_tokens = |at: &usize| {
            let mut atoms = view.dims[*at].iter();
            atoms.all(|atom| atom.axis == Axis::Column)
        };
        if !axes.iter().all(is_of_tokens) {
            return Err("it is over tokens and something else".into());
        }
        let x = self.draft.value(view.base)?;
        let mean = self.draft.apply("mean", Op::TokenMean { start }, vec![x])?;
        let base = self.draft.ready([batch, channels, 1, 1], mean);
        let mut view = without(&view.on(base), axes, keeps);
        view.start[Axis::Column.index()] = 0;
        Ok(view)
    }

    pub(super) fn padding(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<Vec<Item>> {
        let given = match constants.get(1) {
            Some(Some(pads)) => pads.as_ints(),
            Some(None) => None,
            None => operator.ints("pads"),
        };
        let pads = given.ok_or("its numbers are not known before the network runs")?;
        let pads: Option<Vec<usize>> = pads.iter().map(|p| usize::try_from(*p).ok()).collect();
        let mut pads = pads.ok_or("it cuts edges off")?;
        let value = match constants.get(2) {
            Some(Some(value)) => value.scalar(),
            _ => operator.float("value").or(Some(0.0)),
        };
        let mode = operator.text("mode").unwrap_or_else(|| "constant".into());
        let rank = view.dims.len();
        if let Some(axes) = axes(operator, constants.get(3).copied().flatten(), rank)? {
            if pads.len() != 2 * axes.len() {
                return Err("its numbers are not two for each of its axes".into());
            }
            let mut all = vec![0; 2 * rank];
            for (index, at) in axes.iter().enumerate() {
                (all[*at], all[rank + at]) = (pads[index], pads[axes.len() + index]);
            }
            pads = all;
        }
        if pads.iter().all(|pad| *pad == 0) {
            return Ok(vec![Item::View(view.clone())]);
        }
        if mode != "constant" || value != Some(0.0) || pads.len() != 2 * rank {
            return Err("it does not put zeros around".into());
        }
        let extents = self.draft.extents(view.base);
        let mut sides = [0; 4];
        for at in 0..rank {
            let both = [pads[at], pads[rank + at]];
            let is = |axis: Axis| view.dims[at] == whole(axis, extents[axis.index()]);
            if both == [0, 0] {
                continue;
            } else if is(Axis::Row) {
                [sides[0], sides[2]] = both;
            } else if is(Axis::Column) {
                [sides[1], sides[3]] = both;
            } else {
                return Err("it puts zeros elsewhere than around height and width".into());
            }
        }
        Ok(vec![Item::Padded(view.clone(), sides)])
    }
}

/// Looks at a value that was reduced along some dimensions.
fn without(view: &View, axes: &[usize], keeps: bool) -> View {
    let mut view = view.clone();
    axes.iter().for_each(|at| view.dims[*at].clear());
    if !keeps {
        let mut index = 0;
        view.dims.retain(|_| {
            index += 1;
            !axes.contains(&(index - 1))
        });
    }
    view
}

/// Most zeros on one side, twice and one more.
const MOST_ZEROS: usize = 15;

/// Returns true if a pooling pads both sides alike, or pads where no window begins.
fn are_even(
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    pads: [usize; 4],
    is_rounded_up: bool,
) -> bool {
    let is_even = |at: usize| {
        let (before, behind) = (pads[at], pads[at + 2]);
        let Some(room) = (size[at] + before + behind).checked_sub(kernel[at]) else {
            return false;
        };
        let rest = room % stride[at];
        // A last row that no window begins in may be padded or not.
        (before == behind || rest >= before.abs_diff(behind)) && !(is_rounded_up && rest > 0)
    };
    is_even(0) && is_even(1)
}

/// Reads the padding of a window, above, to the left, below and to the right.
pub(super) fn pads(
    operator: Operator<'_>,
    window: [usize; 2],
    stride: [usize; 2],
    size: [usize; 2],
) -> Outcome<[usize; 4]> {
    let same = Padding::Same.pairs(size, window, stride);
    let [[top, bottom], [left, right]] = same;
    match operator.text("auto_pad").as_deref() {
        None | Some("NOTSET" | "") => operator.counts("pads", 0),
        Some("VALID") => Ok([0; 4]),
        Some("SAME_UPPER") => Ok([top, left, bottom, right]),
        Some("SAME_LOWER") => Ok([bottom, right, top, left]),
        Some(other) => Err(format!("its auto_pad is {other:?}").into()),
    }
}

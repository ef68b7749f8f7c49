//! Convolutions, linear layers, normalisations and poolings.

use super::attributes::Operator;
use super::constant::Constant;
use super::draft::{Part, Product, State, Weight};
use super::error::Outcome;
use super::fold::{self, axes};
use super::reader::{Item, Reader};
use super::view::{Axis, View, whole};
use crate::graph::TensorKind;
use crate::init::Init;
use crate::op::{BatchNorm, Conv2d, Op, Padding, Pool2d};
use crate::shape::Shape;

/// Returns the weights that an operator takes.
fn weight(constant: Option<&Constant>) -> Outcome<(&Constant, Weight)> {
    let constant = constant.ok_or("its weights are not known before the network runs")?;
    let weight = Weight::of(constant).ok_or("its weights are whole numbers")?;
    Ok((constant, weight))
}

impl Reader<'_> {
    pub(super) fn convolution(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        zeros: [usize; 4],
        constants: &[Option<&Constant>],
    ) -> Outcome<Vec<Item>> {
        let (constant, weight) = weight(constants.get(1).copied().flatten())?;
        let &[out_channels, per_group, height, width] = constant.shape.as_slice() else {
            return Err("its weight has no four dimensions".into());
        };
        let groups = operator.count("group", 1)?;
        let x = self.draft.maps(view)?;
        let Shape::Maps { channels, size } = self.draft.shapes[x.index()] else {
            return Err("it takes rows".into());
        };
        let mut conv = Conv2d {
            in_channels: channels,
            out_channels,
            kernel: [height, width],
            stride: operator.counts("strides", 1)?,
            padding: Padding::all(0),
            dilation: operator.counts("dilations", 1)?,
            groups,
            has_bias: false,
        };
        let sizes = [height, width, groups, out_channels, per_group];
        let sizes = sizes.iter().chain(&conv.stride).chain(&conv.dilation);
        if sizes.copied().any(|size| size == 0) {
            return Err("one of its sizes is zero".into());
        }
        if Some(channels) != per_group.checked_mul(groups) || !out_channels.is_multiple_of(groups) {
            let reason = format!("{channels} channels in {groups} groups of {per_group}");
            return Err(reason.into());
        }
        conv.padding = conv_padding(operator, &conv, zeros, size)?;
        let bias = match constants.get(2) {
            Some(Some(bias)) => Weight::of(bias),
            Some(None) => return Err("its bias is not known before the network runs".into()),
            None => None,
        };
        let of = self.draft.ready([1, channels, size[0], size[1]], x);
        let pairs = conv.padding.pairs(size, conv.window(), conv.stride);
        let mut extents = self.draft.extents(view.base);
        extents[1] = out_channels;
        for at in 0..2 {
            let padded = size[at] + pairs[at][0] + pairs[at][1];
            let moves = padded
                .checked_sub(conv.window()[at])
                .ok_or("its window is too large")?;
            extents[2 + at] = moves / conv.stride[at] + 1;
        }
        let node = self.module(operator);
        // Our own files write a linear layer on pixels as a convolution by its matrix.
        let is_matrix = constant.rank == 2
            && conv.groups == 1
            && (conv.stride, conv.window()) == ([1, 1], [1, 1])
            && conv.padding == Padding::all(0);
        let product = match is_matrix {
            true => Product::Linear {
                inputs: channels,
                outputs: out_channels,
            },
            false => Product::Conv(conv),
        };
        let state = State::Layer {
            of,
            product,
            weight,
            bias,
            node,
        };
        let base = self.draft.add(extents, state);
        Ok(vec![Item::View(View::new(base, extents, &Axis::ALL))])
    }

    /// Names the module of a node whose weights have no name.
    fn module(&self, operator: Operator<'_>) -> String {
        match self.draft.scope.is_empty() {
            true => operator.name().to_string(),
            false => self.draft.scope.clone(),
        }
    }

    /// Brings the numbers that a linear layer takes into one dimension, the last: channels of each pixel, or whole images
    /// as rows. Returns the view, and for each number of a row where the network has it, if that is elsewhere.
    fn rows(&mut self, view: &View) -> Outcome<(View, Option<Vec<usize>>)> {
        let view = self.draft.settle(view)?;
        let extents = self.draft.extents(view.base);
        let last = view.dims.last().ok_or("it takes a single number")?;
        if *last == whole(Axis::Channel, extents[1]) {
            return Ok((view, None));
        }
        let is_batch = |dim: &Vec<super::view::Atom>| dim.iter().all(|a| a.axis == Axis::Batch);
        let (last, others) = view.dims.split_last().ok_or("it takes a single number")?;
        if !others.iter().all(is_batch) || is_batch(last) {
            return Err("it does not multiply channels".into());
        }
        let [batch, channels, height, width] = extents;
        let strides = [0, height * width, width, 1];
        let mut places = vec![0];
        for atom in last {
            let stride = strides[atom.axis.index()] * atom.step;
            let steps = places
                .iter()
                .flat_map(|place| (0..atom.extent).map(move |step| place + step * stride));
            places = steps.collect();
        }
        let x = self.draft.value(view.base)?;
        let name = self.draft.call("flatten");
        let row = self.draft.emit(&name, Op::Flatten, vec![x], Vec::new())?;
        let length = channels * height * width;
        let base = self.draft.ready([batch, length, 1, 1], row);
        let mut dims = others.to_vec();
        dims.push(whole(Axis::Channel, length));
        let flat = View {
            base,
            dims,
            start: [0; 4],
        };
        let is_in_order = places.iter().enumerate().all(|(at, place)| at == *place);
        Ok((flat, (!is_in_order).then_some(places)))
    }

    /// Multiplies the last dimension by a matrix `[in, out]`.
    pub(super) fn linear(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        matrix: &Constant,
        bias: Option<Weight>,
    ) -> Outcome<View> {
        let &[inputs, outputs] = matrix.shape.as_slice() else {
            return Err("its weight is no matrix".into());
        };
        let (view, places) = self.rows(view)?;
        let channels = self.draft.channels(view.base);
        if channels != inputs || outputs == 0 {
            return Err(format!("a matrix for {inputs} numbers is given {channels}").into());
        }
        let turned = fold::transposed(matrix, &[1, 0])?;
        let mut weight = Weight::of(&turned).ok_or("its weights are whole numbers")?;
        if let Some(places) = places {
            let mut ordered = vec![0.0; weight.values.len()];
            let rows = weight.values.chunks(inputs).zip(ordered.chunks_mut(inputs));
            for (from, to) in rows {
                from.iter()
                    .zip(&places)
                    .for_each(|(value, place)| to[*place] = *value);
            }
            weight.values = ordered;
        }
        let mut extents = self.draft.extents(view.base);
        extents[1] = outputs;
        let node = self.module(operator);
        let state = State::Layer {
            of: view.base,
            product: Product::Linear { inputs, outputs },
            weight,
            bias,
            node,
        };
        let base = self.draft.add(extents, state);
        let mut result = view.on(base);
        if let Some(last) = result.dims.last_mut() {
            *last = whole(Axis::Channel, outputs);
        }
        Ok(result)
    }

    pub(super) fn gemm(
        &mut self,
        operator: Operator<'_>,
        view: &View,
        constants: &[Option<&Constant>],
    ) -> Outcome<View> {
        let (matrix, _) = weight(constants.get(1).copied().flatten())?;
        let factor = |name| operator.float(name).unwrap_or(1.0);
        let flag = |name| operator.int(name).unwrap_or(0);
        if flag("transA") != 0 || factor("alpha") != 1.0 || factor("beta") != 1.0 {
            return Err("it turns its input around, or scales a part".into());
        }
        let matrix = match flag("transB") {
            0 => matrix.clone(),
            _ => fold::transposed(matrix, &[1, 0])?,
        };
        let outputs = *matrix.shape.last().unwrap_or(&0);
        let bias = match constants.get(2) {
            None => None,
            Some(None) => return Err("its bias is not known before the network runs".into()),
            Some(Some(bias)) => {
                let row = fold::expanded(bias, &[outputs])?;
                let row = (row.elements() == outputs).then_some(row);
                Weight::of(&row.ok_or("its bias differs from row to row")?)
            }
        };
        self.linear(operator, view, &matrix, bias)
    }

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

    pub(super) fn pooling(
        &mut self,
        operator: Operator<'_>,
        kind: &str,
        view: &View,
    ) -> Outcome<View> {
        let x = self.draft.maps(view)?;
        let Shape::Maps { channels, size } = self.draft.shapes[x.index()] else {
            return Err("it takes rows".into());
        };
        let kernel: [usize; 2] = operator.counts("kernel_shape", 0)?;
        let stride: [usize; 2] = operator.counts("strides", 1)?;
        let dilation: [usize; 2] = operator.counts("dilations", 1)?;
        let pads = pads(operator, kernel, stride, size)?;
        let [top, left, bottom, right] = pads;
        if kernel.contains(&0) || stride.contains(&0) || dilation != [1, 1] {
            return Err("its window has a size of zero, or holes".into());
        }
        let is_max = kind == "MaxPool";
        let counts_zeros = operator.int("count_include_pad").unwrap_or(0) != 0;
        if !is_max && counts_zeros && pads != [0; 4] {
            return Err("its averages count zeros around the maps".into());
        }
        if !is_max && kernel == size && pads == [0; 4] {
            return self.global_average(view);
        }
        let pool = Pool2d {
            kernel,
            stride,
            padding: [top, left],
        };
        let both = |at: usize, other: usize| {
            let padded = size[at] + pads[at] + pads[at + 2];
            let room = padded.checked_sub(kernel[at])?;
            let is_even = pads[at] == other;
            let is_rounded_up = operator.int("ceil_mode").unwrap_or(0) != 0;
            let rest = room % stride[at];
            // A last row that no window begins in may be padded or not.
            let ends =
                (is_even || rest >= pads[at].abs_diff(other)) && !(is_rounded_up && rest > 0);
            ends.then_some(())
        };
        if both(0, bottom).is_none() || both(1, right).is_none() {
            return Err("its windows stand over one edge only".into());
        }
        let op = if is_max {
            Op::MaxPool(pool)
        } else {
            Op::AvgPool(pool)
        };
        let name = self.draft.call(if is_max { "maxpool" } else { "avgpool" });
        let value = self.draft.emit(&name, op, vec![x], Vec::new())?;
        let Shape::Maps { size, .. } = self.draft.shapes[value.index()] else {
            return Err("it gives rows".into());
        };
        let extents = [self.draft.extents(view.base)[0], channels, size[0], size[1]];
        let base = self.draft.ready(extents, value);
        Ok(View::new(base, extents, &Axis::ALL))
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
        let mut result = view.on(base);
        axes.iter().for_each(|at| result.dims[*at].clear());
        if !keeps {
            let mut index = 0;
            result.dims.retain(|_| {
                index += 1;
                !axes.contains(&(index - 1))
            });
        }
        Ok(result)
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
        let pads = pads.ok_or("it cuts edges off")?;
        let value = match constants.get(2) {
            Some(Some(value)) => value.scalar(),
            _ => operator.float("value").or(Some(0.0)),
        };
        let mode = operator.text("mode").unwrap_or_else(|| "constant".into());
        let rank = view.dims.len();
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

/// Reads the padding of a window, above, to the left, below and to the right.
fn pads(
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

fn conv_padding(
    operator: Operator<'_>,
    conv: &Conv2d,
    zeros: [usize; 4],
    size: [usize; 2],
) -> Outcome<Padding> {
    let own = pads(operator, conv.window(), conv.stride, size)?;
    let [top, left, bottom, right] = [0, 1, 2, 3].map(|side| own[side] + zeros[side]);
    // Such padding is TensorFlow's, and depends on the size of the images.
    let same = Padding::Same.pairs(size, conv.window(), conv.stride);
    let is_same = same == [[top, bottom], [left, right]];
    if is_same && (top != bottom || left != right) {
        return Ok(Padding::Same);
    }
    Ok(Padding::Explicit {
        top,
        left,
        bottom,
        right,
    })
}

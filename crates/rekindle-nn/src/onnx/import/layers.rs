//! Convolutions, linear layers, normalisations and poolings.

use super::attributes::Operator;
use super::constant::Constant;
use super::contributed::times;
use super::draft::{Product, State, Weight};
use super::error::Outcome;
use super::fold;
use super::pooling::pads;
use super::reader::{Item, Reader};
use super::view::{Axis, View, whole};
use crate::op::{Conv2d, Op, Padding};
use crate::shape::Shape;

/// Returns the weights that an operator takes.
pub(super) fn weight(constant: Option<&Constant>) -> Outcome<(&Constant, Weight)> {
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
    pub(super) fn module(&self, operator: Operator<'_>) -> String {
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
        let row = self.draft.apply("flatten", Op::Flatten, vec![x])?;
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
        if flag("transA") != 0 {
            return Err("it turns its input around".into());
        }
        let matrix = times(matrix, factor("alpha"))?;
        let matrix = match flag("transB") {
            0 => matrix,
            _ => fold::transposed(&matrix, &[1, 0])?,
        };
        let outputs = *matrix.shape.last().unwrap_or(&0);
        let bias = match constants.get(2) {
            None => None,
            Some(None) => return Err("its bias is not known before the network runs".into()),
            Some(Some(bias)) => {
                let row = fold::expanded(&times(bias, factor("beta"))?, &[outputs])?;
                let row = (row.elements() == outputs).then_some(row);
                Weight::of(&row.ok_or("its bias differs from row to row")?)
            }
        };
        self.linear(operator, view, &matrix, bias)
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

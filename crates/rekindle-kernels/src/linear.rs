//! The fully connected layer.

use crate::activation_fn::ActivationFn;
use crate::buffer::{Buffer, SendPtr};
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::filters::Filters;
use crate::functions::{Apply, Clamp};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use crate::tile::{Tile, pieces};
use crate::weights::Layout;
use rayon::prelude::*;

/// A linear layer's weights, packed once.
#[derive(Clone, Debug)]
pub struct PackedLinear {
    isa: Isa,
    inputs: usize,
    outputs: usize,
    /// `[panel, input, channels of the panel]`.
    weights: Buffer,
    bias: Vec<Line>,
}

impl PackedLinear {
    /// Packs `weight` (row-major `[outputs, inputs]`, PyTorch's order) and `bias` (`[outputs]`).
    pub fn new(
        isa: Isa,
        [outputs, inputs]: [usize; 2],
        weight: &[f32],
        bias: Option<&[f32]>,
    ) -> Result<Self, KernelError> {
        check_isa(isa)?;
        if inputs == 0 || outputs == 0 {
            return Err(KernelError::InvalidLayer(format!(
                "a linear layer needs at least one input and output, found {inputs} and {outputs}"
            )));
        }
        check_len(
            "the linear layer's weight",
            weight.len(),
            &[outputs, inputs],
        )?;
        if let Some(bias) = bias {
            check_len("the linear layer's bias", bias.len(), &[outputs])?;
        }
        let params = Conv2dParams::new(inputs, outputs, 1, 1);
        let filters = Filters::new(&params, weight, &[0]);
        Ok(Self::pack(isa, &params, filters, bias))
    }

    /// Packs the transpose of `weight`, `[outputs, inputs]`: the layer of `inputs` outputs that its gradient flows
    /// through. Lengths have been checked.
    pub(crate) fn transposed(isa: Isa, [outputs, inputs]: [usize; 2], weight: &[f32]) -> Self {
        let forward = Conv2dParams::new(inputs, outputs, 1, 1);
        let filters = Filters::swapped(&forward, weight, &[0]);
        Self::pack(
            isa,
            &Conv2dParams::new(outputs, inputs, 1, 1),
            filters,
            None,
        )
    }

    /// A linear layer is a 1x1 convolution of one pixel.
    fn pack(isa: Isa, params: &Conv2dParams, filters: Filters<'_>, bias: Option<&[f32]>) -> Self {
        let kernels = Kernels::of(isa);
        Self {
            isa,
            inputs: params.in_channels,
            outputs: params.out_channels,
            weights: Layout::new(params, kernels.nr, 1).pack(kernels, filters, None),
            bias: Line::of_channels(params.out_channels, bias),
        }
    }

    /// Computes `x weightᵀ + bias` for row-major `x` `[batch, inputs]`; the result is `[batch, outputs]`.
    pub fn forward(&self, x: &[f32], batch: usize) -> Result<Vec<f32>, KernelError> {
        self.forward_with(x, batch, ActivationFn::Identity)
    }

    /// Computes `function(x weightᵀ + bias)`, as [`forward`](Self::forward).
    pub fn forward_with(
        &self,
        x: &[f32],
        batch: usize,
        function: ActivationFn,
    ) -> Result<Vec<f32>, KernelError> {
        check_len("the linear layer's input", x.len(), &[batch, self.inputs])?;
        let (ins, outs) = (self.inputs.div_ceil(LANES), self.bias.len());
        let mut input = Buffer::new(ins * batch);
        let mut output = Buffer::new(outs * batch);
        for (i, line) in input.lines_mut().iter_mut().enumerate() {
            let (block, row) = (i / batch, i % batch);
            line.0 = std::array::from_fn(|lane| {
                let i = block * LANES + lane;
                if i < self.inputs {
                    x[row * self.inputs + i]
                } else {
                    0.0
                }
            });
        }
        self.multiply(&input, &mut output, batch, function);
        let mut out = vec![0.0; batch * self.outputs];
        for (row, values) in out.chunks_mut(self.outputs).enumerate() {
            for (block, values) in values.chunks_mut(LANES).enumerate() {
                values.copy_from_slice(&output.lines()[block * batch + row].0[..values.len()]);
            }
        }
        Ok(out)
    }

    fn multiply(&self, input: &Buffer, output: &mut Buffer, batch: usize, function: ActivationFn) {
        let (clamp, function) = Clamp::split(function);
        let kernels = Kernels::of(self.isa);
        let (ins, outs) = (self.inputs.div_ceil(LANES), self.bias.len());
        let plane = batch * LANES;
        let offsets: Vec<isize> = (0..ins).map(|c| (c * plane) as isize).collect();
        let shared = SendPtr::new(output.as_mut_ptr());
        (0..outs.div_ceil(kernels.nr))
            .into_par_iter()
            .for_each(|panel| {
                let first = panel * kernels.nr;
                let w = self.weights.lines()[first * ins * LANES..].as_ptr().cast();
                for (row, rows) in pieces(batch, kernels.mr) {
                    let tile = Tile {
                        a: input.as_ptr().wrapping_add(row * LANES),
                        w,
                        offsets: offsets.as_ptr(),
                        segments: ins,
                        segment_len: LANES,
                        out: shared.get().wrapping_add(first * plane + row * LANES),
                        block_stride: plane,
                        pixel_stride: LANES,
                        residual: std::ptr::null(),
                        bias: self.bias[first..].as_ptr().cast(),
                        accumulate: false,
                        clamp,
                        fetch_next: false,
                        ahead: w,
                    };
                    let blocks = kernels.nr.min(outs - first);
                    // SAFETY: input, output, weights and bias cover the panel and rows, and each task has its own panel.
                    unsafe {
                        kernels.tile(rows, blocks, LANES)(&tile);
                        if let Some(function) = function {
                            (kernels.apply)(&Apply {
                                values: tile.out,
                                rows: blocks,
                                count: rows,
                                row_stride: plane,
                                line_stride: LANES,
                                function,
                            });
                        }
                    }
                }
            });
    }
}

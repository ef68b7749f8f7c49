//! Convolution as an implicit matrix product on blocked activations.
//!
//! Work is cut into bands of output rows whose input fits into the second-level cache. Within a band the loops go over
//! panels of output channels, then chunks of the sum, then pixels: a chunk of a panel's weights stays in the first-level
//! cache while the band streams past it.

mod pass;

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::{Buffer, Line};
use crate::dispatch::Kernels;
use crate::filters::Filters;
use crate::isa::Isa;
use crate::params::Conv2dParams;
use crate::weights::Layout;
use pass::Pass;

/// Weights packed for the direct algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    params: Conv2dParams,
    layout: Layout,
    weights: Buffer,
    bias: Vec<Line>,
}

/// Where input values come from.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Blocked(&'a Activation),
    /// Row-major `[batch, channels, height, width]`.
    Planar(&'a [f32]),
}

impl Direct {
    pub fn pack(
        isa: Isa,
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Self {
        let layout = Layout::new(params, Kernels::of(isa).nr, 1);
        Self {
            params: *params,
            weights: layout.pack(Kernels::of(isa), filters, scale_shift.map(|s| s.0)),
            layout,
            bias: Line::of_channels(params.out_channels, scale_shift.map(|s| s.1)),
        }
    }

    pub fn is_planar(&self) -> bool {
        self.layout.planar
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.weights.lines()) + size_of_val(self.bias.as_slice())
    }

    /// Shapes have been checked; `out` is fully written.
    pub fn forward(
        &self,
        isa: Isa,
        source: Source<'_>,
        shape: [usize; 4],
        residual: Option<&Activation>,
        function: ActivationFn,
        out: &mut Activation,
    ) {
        let [_, _, oh, ow] = out.shape();
        let padding = self.params.padding;
        let frame = Frame {
            top: padding.top as isize,
            left: padding.left as isize,
            size: [oh, ow],
            out_width: ow,
            out_plane: oh * ow,
            origin: [0, 0],
            step: 1,
        };
        self.forward_into(isa, source, shape, residual, function, out, frame);
    }

    /// As [`forward`](Self::forward), for the output pixels that `frame` tells.
    #[allow(clippy::too_many_arguments)]
    pub fn forward_into(
        &self,
        isa: Isa,
        source: Source<'_>,
        [n, _, height, width]: [usize; 4],
        residual: Option<&Activation>,
        function: ActivationFn,
        out: &mut Activation,
        frame: Frame,
    ) {
        let [oh, ow] = frame.size;
        if oh == 0 || ow == 0 {
            return;
        }
        let kernels = Kernels::of(isa);
        let Conv2dParams {
            kernel: [kh, kw],
            stride,
            ..
        } = self.params;
        let fits = |start: isize, out: usize, kernel: usize, len: usize| {
            start == 0 && (out - 1) * stride + kernel <= len
        };
        let inside = fits(frame.top, oh, kh, height) && fits(frame.left, ow, kw, width);
        // A 1x1 convolution does not see rows, so that all pixels of a picture are one row, cut into register tiles.
        let flat = [kh, kw, stride, frame.step] == [1; 4]
            && [height, width] == frame.size
            && inside
            && frame.out_width == ow;
        let units = if flat {
            (oh * ow).div_ceil(kernels.mr)
        } else {
            oh
        };
        let pass = Pass {
            conv: self,
            kernels,
            source,
            height,
            width,
            frame,
            units,
            flat,
            in_place: inside && !self.layout.planar && matches!(source, Source::Blocked(_)),
            residual: residual.map_or(std::ptr::null(), Activation::as_ptr),
            function,
            out: out.send_ptr(),
        };
        pass.run(n);
    }
}

/// Which output pixels are computed, and where they go.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Rows and columns of padding before the first input pixel; negative to skip pixels.
    pub top: isize,
    pub left: isize,
    /// Height and width of what is computed.
    pub size: [usize; 2],
    /// Pixels in a row and a plane of the output.
    pub out_width: usize,
    pub out_plane: usize,
    /// Row and column in the output of the first pixel, and pixels from one to the next in both directions.
    pub origin: [usize; 2],
    pub step: usize,
}

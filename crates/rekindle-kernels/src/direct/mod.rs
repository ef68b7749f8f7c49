//! Convolution as an implicit matrix product on blocked activations.
//!
//! Work is cut into bands of output rows whose input fits into the second-level cache. Within a band the loops go over
//! panels of output channels, then chunks of the sum, then pixels: a chunk of a panel's weights stays in the first-level
//! cache while the band streams past it.

mod frame;
mod pass;
mod weights;
mod windows;

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::dispatch::Kernels;
use crate::isa::Isa;
use crate::params::Conv2dParams;
pub(crate) use frame::{Frame, Source};
use pass::{Input, Pass};
pub(crate) use weights::Direct;
pub(crate) use windows::{Windows, fold};

impl Direct {
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

    /// Computes [`forward`](Self::forward) of the pixels that `windows` are; `self` is a 1x1 convolution.
    pub fn forward_windows(
        &self,
        isa: Isa,
        windows: &Windows<'_>,
        residual: Option<&Activation>,
        function: ActivationFn,
        out: &mut Activation,
    ) {
        let ([n, _, oh, ow], kernels) = (out.shape(), Kernels::of(isa));
        if oh * ow == 0 {
            return;
        }
        let pass = Pass {
            conv: self,
            kernels,
            source: Input::Windows(*windows),
            height: oh,
            width: ow,
            frame: Frame {
                top: 0,
                left: 0,
                size: [oh, ow],
                out_width: ow,
                out_plane: oh * ow,
                origin: [0, 0],
                step: 1,
            },
            units: oh,
            flat: false,
            in_place: false,
            residual: residual.map_or(std::ptr::null(), Activation::as_ptr),
            function,
            out: out.send_ptr(),
        };
        pass.run(n);
    }

    /// Computes [`forward`](Self::forward) for the output pixels of `frame`.
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
            source: Input::Map(source),
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

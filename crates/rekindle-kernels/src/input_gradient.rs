//! The gradient of a convolution by its input.

use crate::activation::Activation;
use crate::conv::{Algorithm, Conv2dParams, PackedConv2d};
use crate::direct::{Direct, Frame, Source};
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::weights::Filters;

/// A convolution's weights, packed for the gradient by its input.
///
/// At stride 1 that gradient is itself a convolution, with the filters turned by 180 degrees and the roles of the channels
/// swapped. At stride 2 it falls apart into four, one for each parity of the input's rows and columns.
#[derive(Clone, Debug)]
pub struct PackedInputGradient {
    params: Conv2dParams,
    isa: Isa,
    packed: Packed,
}

#[derive(Clone, Debug)]
enum Packed {
    Whole(Box<PackedConv2d>),
    /// Row and column parity of each.
    Parities(Vec<([usize; 2], Direct)>),
}

impl PackedInputGradient {
    /// Packs `weight` (`[out, in / groups, height, width]`). The filter must be square and wider than its padding.
    pub fn new(isa: Isa, params: &Conv2dParams, weight: &[f32]) -> Result<Self, KernelError> {
        Self::with_algorithm(isa, params, weight, None)
    }

    /// As [`new`](Self::new), by the algorithm that is asked for; stride 2 knows only the direct one.
    pub fn with_algorithm(
        isa: Isa,
        params: &Conv2dParams,
        weight: &[f32],
        algorithm: Option<Algorithm>,
    ) -> Result<Self, KernelError> {
        check_isa(isa)?;
        params.check()?;
        check_len(
            "the convolution's weight",
            weight.len(),
            &params.weight_shape(),
        )?;
        let [k, kw] = params.kernel;
        if k != kw || params.padding >= k {
            return Err(KernelError::InvalidLayer(format!(
                "the gradient by the input needs a square filter that is wider than its padding, found {params:?}"
            )));
        }
        let swapped = Conv2dParams {
            in_channels: params.out_channels,
            out_channels: params.in_channels,
            stride: 1,
            padding: k - 1 - params.padding,
            ..*params
        };
        let packed = if params.stride == 1 {
            let taps: Vec<usize> = (0..k * k).rev().collect();
            let turned = Filters::swapped(params, weight, &taps);
            let algorithm = algorithm.unwrap_or_else(|| Algorithm::choose(&swapped));
            let conv = PackedConv2d::pack(isa, &swapped, turned, None, algorithm)?;
            Packed::Whole(Box::new(conv))
        } else {
            let parities = [[0, 0], [0, 1], [1, 0], [1, 1]];
            let pack = |parity: [usize; 2]| {
                let [ys, xs] = parity.map(|parity| Axis::new(params, parity).taps(k));
                let taps: Vec<usize> = ys
                    .iter()
                    .flat_map(|y| xs.iter().map(move |x| y * k + x))
                    .collect();
                let part = Conv2dParams {
                    kernel: [ys.len(), xs.len()],
                    padding: 0,
                    ..swapped
                };
                let filters = Filters::swapped(params, weight, &taps);
                (!taps.is_empty()).then(|| (parity, Direct::pack(isa, &part, filters, None)))
            };
            Packed::Parities(parities.into_iter().filter_map(pack).collect())
        };
        Ok(Self {
            params: *params,
            isa,
            packed,
        })
    }

    /// The gradient by an input of `size` (height and width) for `dy`, the gradient by the output.
    ///
    /// `add` has the input's shape and is added: the gradient that reaches the same input by another way.
    pub fn backward(
        &self,
        dy: &Activation,
        size: [usize; 2],
        add: Option<&Activation>,
    ) -> Result<Activation, KernelError> {
        let [oh, ow] = self.params.output_size(size)?;
        let n = dy.shape()[0];
        dy.check_shape("the gradient", [n, self.params.out_channels, oh, ow])?;
        let shape = [n, self.params.in_channels, size[0], size[1]];
        if let Some(add) = add {
            add.check_shape("the gradient to add", shape)?;
        }
        match &self.packed {
            Packed::Whole(conv) => conv.forward(dy, add, false),
            Packed::Parities(parts) => {
                // What no filter reaches keeps what it starts with.
                let mut dx = match add {
                    _ if parts.len() == 4 => Activation::uninit(shape),
                    Some(add) => add.clone(),
                    None => Activation::zeros(shape),
                };
                for (parity, part) in parts {
                    let axes = parity.map(|parity| Axis::new(&self.params, parity));
                    let frame = Frame {
                        top: axes[0].padding(self.params.kernel[0]),
                        left: axes[1].padding(self.params.kernel[1]),
                        size: [0, 1].map(|i| (size[i] + 1 - parity[i]) / 2),
                        out_width: size[1],
                        out_plane: size[0] * size[1],
                        origin: *parity,
                        step: 2,
                    };
                    let source = Source::Blocked(dy);
                    part.forward_into(self.isa, source, dy.shape(), add, false, &mut dx, frame);
                }
                Ok(dx)
            }
        }
    }

    /// What it was packed from.
    pub fn params(&self) -> &Conv2dParams {
        &self.params
    }
}

/// One axis of the input pixels `2 j + parity` at stride 2: output pixel `j + shift - m` reaches them by tap `first + 2 m`.
struct Axis {
    first: usize,
    shift: isize,
}

impl Axis {
    fn new(params: &Conv2dParams, parity: usize) -> Self {
        let first = (parity + params.padding) % 2;
        let shift = ((parity + params.padding) as isize - first as isize) / 2;
        Self { first, shift }
    }

    /// Taps by ascending output pixel.
    fn taps(&self, kernel: usize) -> Vec<usize> {
        let mut taps: Vec<usize> = (self.first..kernel).step_by(2).collect();
        taps.reverse();
        taps
    }

    fn padding(&self, kernel: usize) -> isize {
        self.taps(kernel).len() as isize - 1 - self.shift
    }
}

//! Passes over the planes of feature maps: sixteen channels of one picture each.

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::elementwise::{Affine, GatePtr, Moments, NormGradient, NormPass};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use rayon::prelude::*;

/// Pixels that are summed in f32 before the sum goes into an f64.
const RUN: usize = 256;

/// Two sums of sixteen channels for each plane.
pub(crate) struct PlaneSums {
    sums: Vec<[[f64; LANES]; 2]>,
    blocks: usize,
}

impl PlaneSums {
    /// Returns the two sums of a channel of one picture.
    pub fn of_picture(&self, picture: usize, channel: usize) -> (f64, f64) {
        let sums = &self.sums[picture * self.blocks + channel / LANES];
        (sums[0][channel % LANES], sums[1][channel % LANES])
    }

    /// Sums over all pictures, in order, so that the number of threads changes nothing.
    pub fn channel(&self, channel: usize) -> (f64, f64) {
        let (block, lane) = (channel / LANES, channel % LANES);
        let planes = self.sums.iter().skip(block).step_by(self.blocks);
        planes.fold((0.0, 0.0), |(a, b), sums| {
            (a + sums[0][lane], b + sums[1][lane])
        })
    }
}

/// Calls `run(plane, first line, lines, sums)` for short runs of pixels and adds their sums up in f64.
pub(crate) fn sums_by_plane(
    [n, _, h, w]: [usize; 4],
    blocks: usize,
    run: impl Fn(usize, usize, usize, &mut [Line; 2]) + Sync,
) -> PlaneSums {
    let pixels = h * w;
    let plane = |plane: usize| {
        let mut totals = [[0.0; LANES]; 2];
        for from in (0..pixels).step_by(RUN) {
            let mut sums = [Line::ZERO; 2];
            run(
                plane,
                plane * pixels + from,
                RUN.min(pixels - from),
                &mut sums,
            );
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (total, sum) in totals.iter_mut().zip(sums.0) {
                    *total += f64::from(sum);
                }
            }
        }
        totals
    };
    PlaneSums {
        sums: (0..n * blocks).into_par_iter().map(plane).collect(),
        blocks,
    }
}

/// Calls `run(plane, first line, lines)` for every plane.
pub(crate) fn for_each_plane(x: &Activation, run: impl Fn(usize, usize, usize) + Sync) {
    let [n, _, h, w] = x.shape();
    (0..n * x.blocks())
        .into_par_iter()
        .for_each(|plane| run(plane, plane * h * w, h * w));
}

/// Sums what each number lies above `shift(plane)`, and its square. `isa` has been checked.
pub(crate) fn moments_by_plane<'a>(
    isa: Isa,
    x: &Activation,
    shift: impl Fn(usize) -> &'a Line + Sync,
) -> PlaneSums {
    sums_by_plane(x.shape(), x.blocks(), |plane, first, count, sums| {
        let mut moments = Moments {
            x: x.as_ptr().wrapping_add(first * LANES),
            count,
            shift: shift(plane),
            sums,
        };
        // SAFETY: the run lies in the plane, and the instruction set has been checked.
        unsafe { (Kernels::of(isa).moments)(&mut moments) };
    })
}

/// Where maps are read and where they are written, which may be the same place.
#[derive(Clone, Copy)]
pub(crate) struct FromTo {
    pub from: SendPtr,
    pub to: SendPtr,
}

impl FromTo {
    pub fn new(x: &Activation, y: &mut Activation) -> Self {
        Self {
            from: SendPtr::new(x.as_ptr().cast_mut()),
            to: y.send_ptr(),
        }
    }

    pub fn in_place(x: &mut Activation) -> Self {
        let place = x.send_ptr();
        Self {
            from: place,
            to: place,
        }
    }
}

/// Computes `x * scale + shift` of maps of the shape of `like`, with a line of each for every plane. `isa` has been checked.
pub(crate) fn scale_planes<'a>(
    isa: Isa,
    like: &Activation,
    scale: &[Line],
    shift: impl Fn(usize) -> &'a Line + Sync,
    place: FromTo,
) {
    for_each_plane(like, |plane, first, count| {
        let mut affine = Affine {
            x: SendPtr::get(place.from).wrapping_add(first * LANES),
            residual: std::ptr::null(),
            y: SendPtr::get(place.to).wrapping_add(first * LANES),
            count,
            scale: &scale[plane],
            shift: shift(plane),
            function: ActivationFn::Identity,
        };
        // SAFETY: both maps have one shape, each line is read before it is written, and each task has its own plane.
        unsafe { (Kernels::of(isa).affine)(&mut affine) };
    });
}

/// Gradients of a normalisation with a weight and a bias.
#[derive(Clone, Debug)]
pub struct NormGradients {
    /// Gradient by the input.
    pub x: Activation,
    /// Gradient by the weight, one value per channel.
    pub weight: Vec<f32>,
    /// Gradient by the bias, one value per channel.
    pub bias: Vec<f32>,
}

/// The backward pass of a normalisation of each picture, for its input and the gradient by its output.
pub(crate) struct NormBackward<'a, M> {
    pub isa: Isa,
    pub x: &'a Activation,
    /// The gradient, which [`apply`](Self::apply) alone writes to.
    pub dy: SendPtr,
    /// Gives what is subtracted from the numbers of a plane.
    pub mean: M,
}

impl<'a, M: Fn(usize) -> &'a Line + Sync> NormBackward<'a, M> {
    /// Sums the gradient, and its product with `x - mean`.
    pub fn sums(&self) -> PlaneSums {
        sums_by_plane(
            self.x.shape(),
            self.x.blocks(),
            |plane, first, count, sums| {
                self.pass(plane, first, count, NormPass::Sums(sums));
            },
        )
    }

    /// Turns the gradient into `dy * c[0] + (x - mean) * c[1] + c[2]`, with three lines for each plane.
    pub fn apply(&self, c: &[[Line; 3]]) {
        for_each_plane(self.x, |plane, first, count| {
            let pass = NormPass::Apply {
                c: &c[plane],
                dx: SendPtr::get(self.dy).wrapping_add(first * LANES),
                gated: std::ptr::null_mut(),
            };
            self.pass(plane, first, count, pass);
        });
    }

    fn pass(&self, plane: usize, first: usize, count: usize, pass: NormPass<'_>) {
        let mut gradient = NormGradient {
            x: self.x.as_ptr().wrapping_add(first * LANES),
            dy: SendPtr::get(self.dy).wrapping_add(first * LANES),
            gate: GatePtr::At(ActivationFn::Identity),
            count,
            scale: &Line::ZERO,
            shift: &Line::ZERO,
            mean: (self.mean)(plane),
            pass,
        };
        // SAFETY: both maps have one shape, each task has its own lines, and the instruction set has been checked.
        unsafe { (Kernels::of(self.isa).norm_gradient)(&mut gradient) };
    }
}

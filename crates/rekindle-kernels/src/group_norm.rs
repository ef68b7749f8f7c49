//! Group normalisation: each group of channels of each picture by its own mean and deviation.
//!
//! Wu and He, "Group Normalization" (2018). One group is layer normalisation over a whole picture, as many groups as channels
//! are instance normalisation (Ulyanov et al. 2016).

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::elementwise::{Affine, GatePtr, Moments, NormGradient, NormPass};
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::{for_each_plane, sums_by_plane};

/// A group normalisation's parameters, one value per channel.
///
/// ```
/// use rekindle_kernels::{Activation, GroupNorm, Isa};
///
/// let norm = GroupNorm { groups: 1, weight: &[1.0, 2.0], bias: &[0.0; 2], eps: 0.0 };
/// let x = Activation::from_nchw(&[1.0, 1.0, 3.0, 3.0], [1, 2, 1, 2])?;
/// // The mean of the picture is 2, its deviation 1.
/// let (y, _) = norm.forward(Isa::detect(), &x)?;
/// assert_eq!(y.to_nchw(), [-1.0, -1.0, 2.0, 2.0]);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct GroupNorm<'a> {
    /// Number of groups, which divides that of the channels.
    pub groups: usize,
    /// Factor of what is normalised.
    pub weight: &'a [f32],
    /// Summand.
    pub bias: &'a [f32],
    /// Added to the variance before the square root.
    pub eps: f32,
}

/// Mean and inverse deviation of each group of each picture, `[batch, groups]`.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupStatistics {
    values: Vec<[f64; 2]>,
}

/// Gradients of a group normalisation.
#[derive(Clone, Debug)]
pub struct GroupNormGradients {
    /// Gradient by the input.
    pub x: Activation,
    /// Gradient by the weight, one value per channel.
    pub weight: Vec<f32>,
    /// Gradient by the bias, one value per channel.
    pub bias: Vec<f32>,
}

impl GroupNorm<'_> {
    /// Computes `(x - mean) / sqrt(variance + eps) * weight + bias`, and returns what [`backward`](Self::backward) needs
    /// beside it.
    ///
    /// # Errors
    ///
    /// [`KernelError`] for parameters of another length than the channels, or groups that don't divide these.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
    ) -> Result<(Activation, GroupStatistics), KernelError> {
        self.check(isa, x)?;
        let statistics = self.statistics(isa, x);
        let mut y = Activation::uninit(x.shape());
        let out = y.send_ptr();
        let from = SendPtr::new(x.as_ptr().cast_mut());
        self.apply(isa, x, &statistics, from, out);
        Ok((y, statistics))
    }

    /// Computes what [`forward`](Self::forward) does in the memory of `x`, and keeps no statistics.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward).
    pub fn infer(&self, isa: Isa, mut x: Activation) -> Result<Activation, KernelError> {
        self.check(isa, &x)?;
        let statistics = self.statistics(isa, &x);
        let out = x.send_ptr();
        self.apply(isa, &x, &statistics, out, out);
        Ok(x)
    }

    /// Computes the gradients for `dy`, the gradient by the output of [`forward`](Self::forward).
    ///
    /// `x` and `statistics` are those of the forward pass. The memory of `dy` becomes that of the gradient by `x`.
    ///
    /// With `g = dy * weight`, `u` what is normalised and means over the group: `dx = (g - mean(g) - u * mean(g * u)) / deviation`.
    ///
    /// # Errors
    ///
    /// As [`forward`](Self::forward), and for a gradient or statistics of another shape.
    pub fn backward(
        &self,
        isa: Isa,
        x: &Activation,
        statistics: &GroupStatistics,
        mut dy: Activation,
    ) -> Result<GroupNormGradients, KernelError> {
        self.check(isa, x)?;
        dy.check_shape("the gradient", x.shape())?;
        let [n, channels, h, w] = x.shape();
        check_len("the statistics", statistics.values.len(), &[n, self.groups])?;
        let blocks = x.blocks();
        let width = channels / self.groups;
        let means = self.lines(statistics, n, channels, |_, [mean, _]| mean);
        let out = dy.send_ptr();
        let gradient = |plane: usize, first: usize, count: usize, pass: NormPass<'_>| {
            let mut gradient = NormGradient {
                x: x.as_ptr().wrapping_add(first * LANES),
                dy: SendPtr::get(out).wrapping_add(first * LANES),
                gate: GatePtr::At(ActivationFn::Identity),
                count,
                scale: &Line::ZERO,
                shift: &Line::ZERO,
                mean: &means[plane],
                pass,
            };
            // SAFETY: both maps have one shape, and each task has its own lines.
            unsafe { (Kernels::of(isa).norm_gradient)(&mut gradient) };
        };
        let sums = sums_by_plane(x.shape(), blocks, |plane, first, count, sums| {
            gradient(plane, first, count, NormPass::Sums(sums));
        });
        let (mut weight, mut bias) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let mut factors = vec![[Line::ZERO; 3]; n * blocks];
        for picture in 0..n {
            for group in 0..self.groups {
                let [_, inverse] = statistics.values[picture * self.groups + group];
                let members = group * width..(group + 1) * width;
                let (mut sum, mut product) = (0.0, 0.0);
                for c in members.clone() {
                    let (by_bias, centred) = sums.of_picture(picture, c);
                    bias[c] += by_bias;
                    weight[c] += centred * inverse;
                    sum += f64::from(self.weight[c]) * by_bias;
                    product += f64::from(self.weight[c]) * centred;
                }
                let count = (width * h * w) as f64;
                for c in members {
                    let factors = &mut factors[picture * blocks + c / LANES];
                    let lane = c % LANES;
                    factors[0].0[lane] = (f64::from(self.weight[c]) * inverse) as f32;
                    factors[1].0[lane] = (-product / count * inverse.powi(3)) as f32;
                    factors[2].0[lane] = (-sum / count * inverse) as f32;
                }
            }
        }
        for_each_plane(x, |plane, first, count| {
            let pass = NormPass::Apply {
                c: &factors[plane],
                dx: SendPtr::get(out).wrapping_add(first * LANES),
                gated: std::ptr::null_mut(),
            };
            gradient(plane, first, count, pass);
        });
        let [weight, bias] = [weight, bias].map(|v| v.into_iter().map(|v| v as f32).collect());
        Ok(GroupNormGradients {
            x: dy,
            weight,
            bias,
        })
    }

    /// Reads maps of the shape of `like` from `x` and writes them to `y`, which may be the same.
    fn apply(
        &self,
        isa: Isa,
        like: &Activation,
        statistics: &GroupStatistics,
        x: SendPtr,
        y: SendPtr,
    ) {
        let [n, channels, ..] = like.shape();
        let factor = |c: usize, inverse: f64| f64::from(self.weight[c]) * inverse;
        let scale = self.lines(statistics, n, channels, |c, [_, inverse]| {
            factor(c, inverse)
        });
        let shift = self.lines(statistics, n, channels, |c, [mean, inverse]| {
            f64::from(self.bias[c]) - mean * factor(c, inverse)
        });
        for_each_plane(like, |plane, first, count| {
            let mut affine = Affine {
                x: SendPtr::get(x).wrapping_add(first * LANES),
                residual: std::ptr::null(),
                y: SendPtr::get(y).wrapping_add(first * LANES),
                count,
                scale: &scale[plane],
                shift: &shift[plane],
                function: ActivationFn::Identity,
            };
            // SAFETY: both maps have one shape, each line is read before it is written, and each task has its own plane.
            unsafe { (Kernels::of(isa).affine)(&mut affine) };
        });
    }

    /// Computes a number for each channel of each picture, laid out as planes are.
    fn lines(
        &self,
        statistics: &GroupStatistics,
        pictures: usize,
        channels: usize,
        number: impl Fn(usize, [f64; 2]) -> f64,
    ) -> Vec<Line> {
        let (blocks, width) = (channels.div_ceil(LANES), channels / self.groups);
        let mut lines = vec![Line::ZERO; pictures * blocks];
        for picture in 0..pictures {
            for c in 0..channels {
                let of_group = statistics.values[picture * self.groups + c / width];
                let line = &mut lines[picture * blocks + c / LANES];
                line.0[c % LANES] = number(c, of_group) as f32;
            }
        }
        lines
    }

    fn statistics(&self, isa: Isa, x: &Activation) -> GroupStatistics {
        let [n, channels, h, w] = x.shape();
        let (pixels, blocks, width) = (h * w, x.blocks(), channels / self.groups);
        // Numbers are taken relative to the first pixel, so that a large mean costs no digits.
        let first_pixel = |plane: usize| &x.lines()[plane * pixels];
        let sums = sums_by_plane(x.shape(), blocks, |plane, first, count, sums| {
            let mut moments = Moments {
                x: x.as_ptr().wrapping_add(first * LANES),
                count,
                shift: first_pixel(plane),
                sums,
            };
            // SAFETY: the run lies in the plane, and the instruction set has been checked.
            unsafe { (Kernels::of(isa).moments)(&mut moments) };
        });
        let count = (width * pixels) as f64;
        let group = |index: usize| {
            let (picture, group) = (index / self.groups, index % self.groups);
            let of_channel = |c: usize| {
                let (sum, squares) = sums.of_picture(picture, c);
                let shift = match pixels {
                    0 => 0.0,
                    _ => f64::from(first_pixel(picture * blocks + c / LANES).0[c % LANES]),
                };
                let mean = sum / pixels as f64;
                (shift + mean, squares - sum * mean)
            };
            let members = group * width..(group + 1) * width;
            let mean = members.clone().map(|c| of_channel(c).0).sum::<f64>() / width as f64;
            let squares = members.map(|c| {
                let (own, squares) = of_channel(c);
                squares + pixels as f64 * (own - mean).powi(2)
            });
            let variance = (squares.sum::<f64>() / count).max(0.0);
            [mean, 1.0 / (variance + f64::from(self.eps)).sqrt()]
        };
        GroupStatistics {
            values: (0..n * self.groups).map(group).collect(),
        }
    }

    fn check(&self, isa: Isa, x: &Activation) -> Result<(), KernelError> {
        check_isa(isa)?;
        let channels = x.shape()[1];
        check_len("the weight", self.weight.len(), &[channels])?;
        check_len("the bias", self.bias.len(), &[channels])?;
        if self.groups == 0 || !channels.is_multiple_of(self.groups) {
            let groups = self.groups;
            return Err(KernelError::InvalidLayer(format!(
                "a group normalisation needs groups that divide its channels, found {groups} of {channels}"
            )));
        }
        Ok(())
    }
}

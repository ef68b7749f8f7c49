//! Group normalisation: each group of channels of each picture by its own mean and deviation.
//!
//! Wu and He, "Group Normalization" (2018). One group is layer normalisation over a whole picture, as many groups as channels
//! are instance normalisation (Ulyanov et al. 2016).

use crate::activation::Activation;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::{FromTo, NormBackward, NormGradients, moments_by_plane, scale_planes};

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
        let place = FromTo::new(x, &mut y);
        self.apply(isa, x, &statistics, place);
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
        let place = FromTo::in_place(&mut x);
        self.apply(isa, &x, &statistics, place);
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
    ) -> Result<NormGradients, KernelError> {
        self.check(isa, x)?;
        dy.check_shape("the gradient", x.shape())?;
        let [n, channels, h, w] = x.shape();
        check_len("the statistics", statistics.values.len(), &[n, self.groups])?;
        let blocks = x.blocks();
        let width = channels / self.groups;
        let means = self.lines(statistics, n, channels, |_, [mean, _]| mean);
        let pass = NormBackward {
            isa,
            x,
            dy: dy.send_ptr(),
            mean: |plane: usize| &means[plane],
        };
        let sums = pass.sums();
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
        pass.apply(&factors);
        let [weight, bias] = [weight, bias].map(|v| v.into_iter().map(|v| v as f32).collect());
        Ok(NormGradients {
            x: dy,
            weight,
            bias,
        })
    }

    /// Normalises maps of the shape of `like`.
    fn apply(&self, isa: Isa, like: &Activation, statistics: &GroupStatistics, place: FromTo) {
        let [n, channels, ..] = like.shape();
        let factor = |c: usize, inverse: f64| f64::from(self.weight[c]) * inverse;
        let scale = self.lines(statistics, n, channels, |c, [_, inverse]| {
            factor(c, inverse)
        });
        let shift = self.lines(statistics, n, channels, |c, [mean, inverse]| {
            f64::from(self.bias[c]) - mean * factor(c, inverse)
        });
        scale_planes(isa, like, &scale, |plane| &shift[plane], place);
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
        let sums = moments_by_plane(isa, x, first_pixel);
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

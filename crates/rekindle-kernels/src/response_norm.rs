//! Global response normalisation: channels compete by their norms over the map.
//!
//! Woo et al., "ConvNeXt V2" (2023). With `g` the Euclidean norm of each channel of each picture over height and width, and
//! `n = g / (mean over channels of g + eps)`: `y = x + bias + weight * x * n`.

use crate::activation::Activation;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::{FromTo, NormBackward, NormGradients, moments_by_plane, scale_planes};

/// A global response normalisation's parameters, one value per channel.
///
/// ```
/// use rekindle_kernels::{Activation, Isa, ResponseNorm};
///
/// let norm = ResponseNorm { weight: &[1.0; 2], bias: &[0.0; 2], eps: 1e-6 };
/// let x = Activation::from_nchw(&[3.0, 4.0, 0.0, 5.0], [1, 2, 1, 2])?;
/// // Both channels have norm 5, so that each is doubled.
/// let (y, norms) = norm.forward(Isa::detect(), &x)?;
/// assert_eq!(norms.values(), [5.0, 5.0]);
/// assert!((y.to_nchw()[1] - 8.0).abs() < 1e-5);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ResponseNorm<'a> {
    /// Factor of what is normalised.
    pub weight: &'a [f32],
    /// Summand.
    pub bias: &'a [f32],
    /// Added to the mean of the norms; `1e-6` in ConvNeXt V2.
    pub eps: f32,
}

/// The norm of each channel of each picture over height and width, `[batch, channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelNorms {
    values: Vec<f32>,
}

impl ChannelNorms {
    /// Returns the norms, row-major `[batch, channels]`.
    pub fn values(&self) -> &[f32] {
        &self.values
    }
}

impl ResponseNorm<'_> {
    /// Computes `x + bias + weight * x * n`, and returns what [`backward`](Self::backward) needs beside it.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
    ) -> Result<(Activation, ChannelNorms), KernelError> {
        self.check(isa, x)?;
        let norms = norms(isa, x);
        let mut y = Activation::uninit(x.shape());
        let place = FromTo::new(x, &mut y);
        self.apply(isa, x, &norms, place);
        Ok((y, norms))
    }

    /// Computes what [`forward`](Self::forward) does in the memory of `x`, and keeps no norms.
    pub fn infer(&self, isa: Isa, mut x: Activation) -> Result<Activation, KernelError> {
        self.check(isa, &x)?;
        let norms = norms(isa, &x);
        let place = FromTo::in_place(&mut x);
        self.apply(isa, &x, &norms, place);
        Ok(x)
    }

    /// Computes the gradients for `dy`, the gradient by the output of [`forward`](Self::forward).
    ///
    /// `x` and `norms` are those of the forward pass. The memory of `dy` becomes that of the gradient by `x`.
    ///
    /// With `t` the sum over height and width of `dy * x`, and `m = mean(g) + eps`: the gradient by `n` is `weight * t`, that
    /// by `g` is `dg = weight * t / m - mean(weight * t * g) / m²`, and `dx = dy * (1 + weight * n) + x * dg / g`.
    pub fn backward(
        &self,
        isa: Isa,
        x: &Activation,
        norms: &ChannelNorms,
        mut dy: Activation,
    ) -> Result<NormGradients, KernelError> {
        self.check(isa, x)?;
        dy.check_shape("the gradient", x.shape())?;
        let [n, channels, ..] = x.shape();
        check_len("the norms", norms.values.len(), &[n, channels])?;
        let pass = NormBackward {
            isa,
            x,
            dy: dy.send_ptr(),
            mean: |_| &Line::ZERO,
        };
        let sums = pass.sums();
        let (mut weight, mut bias) = (vec![0.0f64; channels], vec![0.0f64; channels]);
        let mut factors = vec![[Line::ZERO; 3]; n * x.blocks()];
        for picture in 0..n {
            let norms = &norms.values[picture * channels..][..channels];
            let divisor = self.divisor(norms);
            let product = |c: usize| sums.of_picture(picture, c).1;
            let weighted = |c: usize| f64::from(self.weight[c]) * product(c);
            let sum: f64 = (0..channels)
                .map(|c| weighted(c) * f64::from(norms[c]))
                .sum();
            let shared = sum / channels as f64 / (divisor * divisor);
            for c in 0..channels {
                let norm = f64::from(norms[c]);
                let scale = 1.0 + f64::from(self.weight[c]) * norm / divisor;
                // A channel of zeros stays where it is.
                let by_norm = match norm > 0.0 {
                    true => (weighted(c) / divisor - shared) / norm,
                    false => 0.0,
                };
                let factors = &mut factors[picture * x.blocks() + c / LANES];
                factors[0].0[c % LANES] = scale as f32;
                factors[1].0[c % LANES] = by_norm as f32;
                weight[c] += norm / divisor * product(c);
                bias[c] += sums.of_picture(picture, c).0;
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
    fn apply(&self, isa: Isa, like: &Activation, norms: &ChannelNorms, place: FromTo) {
        let ([n, channels, ..], blocks) = (like.shape(), like.blocks());
        let mut scale = vec![Line::ZERO; n * blocks];
        for picture in 0..n {
            let norms = &norms.values[picture * channels..][..channels];
            let divisor = self.divisor(norms);
            for (c, (&norm, &weight)) in norms.iter().zip(self.weight).enumerate() {
                let scale = &mut scale[picture * blocks + c / LANES].0[c % LANES];
                *scale = (1.0 + f64::from(weight) * f64::from(norm) / divisor) as f32;
            }
        }
        let bias = Line::of_channels(channels, Some(self.bias));
        scale_planes(isa, like, &scale, |plane| &bias[plane % blocks], place);
    }

    /// Computes what a picture's norms are divided by.
    fn divisor(&self, norms: &[f32]) -> f64 {
        let sum: f64 = norms.iter().copied().map(f64::from).sum();
        sum / norms.len() as f64 + f64::from(self.eps)
    }

    fn check(&self, isa: Isa, x: &Activation) -> Result<(), KernelError> {
        check_isa(isa)?;
        let channels = [x.shape()[1]];
        check_len("the weight", self.weight.len(), &channels)?;
        check_len("the bias", self.bias.len(), &channels)
    }
}

/// Computes the norm of each channel of each picture.
fn norms(isa: Isa, x: &Activation) -> ChannelNorms {
    let sums = moments_by_plane(isa, x, |_| &Line::ZERO);
    let [n, channels, ..] = x.shape();
    let norm = |i: usize| sums.of_picture(i / channels, i % channels).1.sqrt() as f32;
    ChannelNorms {
        values: (0..n * channels).map(norm).collect(),
    }
}

//! Squeeze-excitation: a factor for each channel of each picture, computed from the channels' means.
//!
//! Hu, Shen and Sun, "Squeeze-and-Excitation Networks" (2017). The two small layers between means and factors are
//! [`PackedLinear`](crate::PackedLinear) with its activation function. With `m = means(x)`, `s = layers(m)` and
//! `y = s * x`, the gradients by `s` and by `x` for `dy` are
//! `ds = sum over pixels of dy * x` ([`scale_channels_gradient`]) and
//! `dx = s * dy + dm / pixels` ([`squeeze_excitation_gradient`]), where `dm` is what the layers make of `ds`.

use crate::activation::Activation;
use crate::activation_fn::ActivationFn;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::elementwise::Affine;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::{NormBackward, PlaneSums, for_each_plane, moments_by_plane};

/// Computes the mean of each channel over height and width: row-major `[batch, channels]`.
///
/// ```
/// use rekindle_kernels::{Activation, ActivationFn, Isa, PackedLinear, channel_means, scale_channels};
///
/// let isa = Isa::detect();
/// let squeeze = PackedLinear::new(isa, [8, 32], &[0.1; 256], Some(&[0.0; 8]))?;
/// let excite = PackedLinear::new(isa, [32, 8], &[0.1; 256], Some(&[0.0; 32]))?;
/// let x = Activation::from_nchw(&vec![1.0; 2 * 32 * 7 * 7], [2, 32, 7, 7])?;
/// let hidden = squeeze.forward_with(&channel_means(isa, &x)?, 2, ActivationFn::Silu)?;
/// let scale = excite.forward_with(&hidden, 2, ActivationFn::Sigmoid)?;
/// let y = scale_channels(isa, &x, &scale)?;
/// assert_eq!(y.shape(), x.shape());
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
pub fn channel_means(isa: Isa, x: &Activation) -> Result<Vec<f32>, KernelError> {
    check_isa(isa)?;
    check_pixels(x)?;
    let sums = moments_by_plane(isa, x, |_| &Line::ZERO);
    let [.., h, w] = x.shape();
    Ok(rows(x.shape(), &sums, |(sum, _)| sum / (h * w) as f64))
}

/// Computes `scale * x`, with one factor for each channel of each picture: `scale` is row-major `[batch, channels]`.
pub fn scale_channels(isa: Isa, x: &Activation, scale: &[f32]) -> Result<Activation, KernelError> {
    check_scale(isa, x, "the scale", scale)?;
    let mut y = Activation::uninit(x.shape());
    let out = y.send_ptr();
    affine(isa, x, scale, None, None, x.as_ptr(), out);
    Ok(y)
}

/// Computes `shortcut + scale * x` in one pass, `scale` being as of [`scale_channels`].
///
/// With the same factors for all pictures this is LayerScale (Touvron et al., "Going Deeper with Image Transformers", 2021),
/// with the same for all channels of a picture stochastic depth. Its gradients by `scale` and `x` are those of
/// [`scale_channels`], that by the shortcut is `dy`.
pub fn add_scaled_channels(
    isa: Isa,
    shortcut: &Activation,
    x: &Activation,
    scale: &[f32],
) -> Result<Activation, KernelError> {
    check_scale(isa, x, "the scale", scale)?;
    shortcut.check_shape("the shortcut", x.shape())?;
    let mut y = Activation::uninit(x.shape());
    let out = y.send_ptr();
    affine(isa, x, scale, None, Some(shortcut), x.as_ptr(), out);
    Ok(y)
}

/// Computes what [`scale_channels`] does in the memory of `x`.
pub fn scale_channels_in_place(
    isa: Isa,
    mut x: Activation,
    scale: &[f32],
) -> Result<Activation, KernelError> {
    check_scale(isa, &x, "the scale", scale)?;
    let out = x.send_ptr();
    affine(isa, &x, scale, None, None, out.get(), out);
    Ok(x)
}

/// Computes the gradient by the scale of [`scale_channels`], `[batch, channels]`, for its input `x` and the gradient `dy` by
/// its output: the sum of `dy * x` over height and width.
pub fn scale_channels_gradient(
    isa: Isa,
    x: &Activation,
    dy: &Activation,
) -> Result<Vec<f32>, KernelError> {
    check_isa(isa)?;
    dy.check_shape("the gradient", x.shape())?;
    let products = NormBackward {
        isa,
        x,
        dy: SendPtr::new(dy.as_ptr().cast_mut()),
        mean: |_| &Line::ZERO,
    };
    let sums = products.sums();
    Ok(rows(x.shape(), &sums, |(_, product)| product))
}

/// Computes the gradient by the input of squeeze-excitation in one pass: `scale * dy + means_gradient / pixels`.
///
/// `dy` is the gradient by the output of [`scale_channels`] and `means_gradient` that by [`channel_means`], both factors
/// `[batch, channels]`. The memory of `dy` becomes that of the result. With zeros for `means_gradient` this is the gradient
/// of [`scale_channels`] alone.
pub fn squeeze_excitation_gradient(
    isa: Isa,
    mut dy: Activation,
    scale: &[f32],
    means_gradient: &[f32],
) -> Result<Activation, KernelError> {
    check_scale(isa, &dy, "the scale", scale)?;
    check_scale(isa, &dy, "the gradient by the means", means_gradient)?;
    let out = dy.send_ptr();
    affine(isa, &dy, scale, Some(means_gradient), None, out.get(), out);
    Ok(dy)
}

/// Writes `x * scale + sum / pixels + shortcut` plane by plane; `x` is a map of the shape of `like` and may be `out`.
fn affine(
    isa: Isa,
    like: &Activation,
    scale: &[f32],
    sum: Option<&[f32]>,
    shortcut: Option<&Activation>,
    x: *const f32,
    out: SendPtr,
) {
    let ([_, c, h, w], blocks) = (like.shape(), like.blocks());
    let x = SendPtr::new(x.cast_mut());
    let per_pixel = 1.0 / (h * w).max(1) as f32;
    for_each_plane(like, |plane, first, count| {
        let channel = plane / blocks * c + plane % blocks * LANES;
        let used = LANES.min(c - plane % blocks * LANES);
        let [mut factors, mut summands] = [Line::ZERO; 2];
        factors.0[..used].copy_from_slice(&scale[channel..][..used]);
        if let Some(sum) = sum {
            for (summand, sum) in summands.0.iter_mut().zip(&sum[channel..][..used]) {
                *summand = sum * per_pixel;
            }
        }
        let mut affine = Affine {
            x: SendPtr::get(x).wrapping_add(first * LANES),
            residual: shortcut.map_or(std::ptr::null(), |s| s.as_ptr().wrapping_add(first * LANES)),
            y: SendPtr::get(out).wrapping_add(first * LANES),
            count,
            scale: &factors,
            shift: &summands,
            function: ActivationFn::Identity,
        };
        // SAFETY: all have the shape of `like`, each line is read before it is written, and each task has its own plane.
        unsafe { (Kernels::of(isa).affine)(&mut affine) };
    });
}

/// Row-major `[batch, channels]` of what `value` makes of each plane's sums.
fn rows([n, c, _, _]: [usize; 4], sums: &PlaneSums, value: impl Fn((f64, f64)) -> f64) -> Vec<f32> {
    (0..n * c)
        .map(|i| value(sums.of_picture(i / c, i % c)) as f32)
        .collect()
}

fn check_pixels(x: &Activation) -> Result<(), KernelError> {
    let [n, c, h, w] = x.shape();
    if n * c > 0 && h * w == 0 {
        return Err(KernelError::InvalidLayer(format!(
            "the means of channels need pixels, found maps of {h} x {w}"
        )));
    }
    Ok(())
}

fn check_scale(
    isa: Isa,
    x: &Activation,
    what: &'static str,
    scale: &[f32],
) -> Result<(), KernelError> {
    check_isa(isa)?;
    let [n, c, ..] = x.shape();
    check_len(what, scale.len(), &[n, c])
}

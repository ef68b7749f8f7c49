//! Layer normalisation: the channels of each pixel, brought to mean zero and variance one.
//!
//! Ba, Kiros and Hinton, "Layer Normalization" (2016). Tokens are pixels, so that this is what transformers normalise by;
//! ConvNeXt does the same on maps.

pub(crate) mod kernels;

use crate::activation::Activation;
use crate::buffer::{AlignedVec, Buffer, SendPtr};
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::planes::NormGradients;
use kernels::{PixelNorm, PixelNormGradient};
use rayon::prelude::*;

/// Bytes of a map that a task takes, about, and pixels at most, whose gradients are summed in f32.
const TASK_BYTES: usize = 128 << 10;
const TASK_PIXELS: usize = 256;

/// A layer normalisation's parameters, one value per channel.
///
/// ```
/// use rekindle_kernels::{Activation, Isa, LayerNorm};
///
/// let norm = LayerNorm { weight: &[1.0; 4], bias: &[0.5; 4], eps: 1e-6 };
/// let x = Activation::from_nchw(&[1.0, 3.0, 1.0, 3.0], [1, 4, 1, 1])?;
/// let (y, statistics) = norm.forward(Isa::detect(), &x)?;
/// assert_eq!((statistics.mean(), statistics.rstd().len()), (&[2.0][..], 1));
/// assert!((y.to_nchw()[1] - 1.5).abs() < 1e-5);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm<'a> {
    /// Factor after normalisation.
    pub weight: &'a [f32],
    /// Summand after normalisation.
    pub bias: &'a [f32],
    /// Added to the variance; PyTorch's default is `1e-5`, vision transformers and ConvNeXt use `1e-6`.
    pub eps: f32,
}

/// Mean and reciprocal deviation of each pixel's channels, `[batch, height, width]`.
#[derive(Clone, Debug)]
pub struct PixelStatistics {
    mean: AlignedVec,
    rstd: AlignedVec,
}

impl PixelStatistics {
    /// Returns the mean of each pixel, `[batch, height, width]`.
    pub fn mean(&self) -> &[f32] {
        &self.mean
    }

    /// Returns `1 / sqrt(variance + eps)` of each pixel, `[batch, height, width]`.
    pub fn rstd(&self) -> &[f32] {
        &self.rstd
    }
}

impl LayerNorm<'_> {
    /// Computes `(x - mean) / sqrt(var + eps) * weight + bias`, mean and variance over the channels of each pixel, and
    /// returns what [`backward`](Self::backward) needs beside it.
    pub fn forward(
        &self,
        isa: Isa,
        x: &Activation,
    ) -> Result<(Activation, PixelStatistics), KernelError> {
        self.check(isa, x)?;
        let [n, _, h, w] = x.shape();
        let mut y = Activation::uninit(x.shape());
        let [mut mean, mut rstd] = [(); 2].map(|()| AlignedVec::zeros(n * h * w));
        let [mean_out, rstd_out] =
            [&mut mean, &mut rstd].map(|v| SendPtr::new(v.as_mut_slice().as_mut_ptr()));
        let out = y.send_ptr();
        self.run(isa, x, SendPtr::new(x.as_ptr().cast_mut()), out, |pixel| {
            [mean_out, rstd_out].map(|v| v.get().wrapping_add(pixel))
        });
        Ok((y, PixelStatistics { mean, rstd }))
    }

    /// Computes what [`forward`](Self::forward) does in the memory of `x`, and keeps no statistics.
    pub fn infer(&self, isa: Isa, mut x: Activation) -> Result<Activation, KernelError> {
        self.check(isa, &x)?;
        let out = x.send_ptr();
        self.run(isa, &x, out, out, |_| [std::ptr::null_mut(); 2]);
        Ok(x)
    }

    /// Computes the gradients for `dy`, the gradient by the output of [`forward`](Self::forward).
    ///
    /// `x` and `statistics` are those of the forward pass. `add` has the shape of `x` and is added to the gradient by it:
    /// what reaches `x` by another way, such as the shortcut around the layer. The memory of `dy` becomes that of the
    /// gradient by `x`.
    pub fn backward(
        &self,
        isa: Isa,
        x: &Activation,
        statistics: &PixelStatistics,
        mut dy: Activation,
        add: Option<&Activation>,
    ) -> Result<NormGradients, KernelError> {
        self.check(isa, x)?;
        dy.check_shape("the gradient", x.shape())?;
        if let Some(add) = add {
            add.check_shape("the gradient to add", x.shape())?;
        }
        let [n, channels, h, w] = x.shape();
        check_len("the mean", statistics.mean.len(), &[n, h, w])?;
        check_len("the deviation", statistics.rstd.len(), &[n, h, w])?;
        let blocks = x.blocks();
        let mut lines = [(); 2].map(|()| vec![0.0; channels]);
        if x.lines().is_empty() {
            let [weight, bias] = lines;
            return Ok(NormGradients {
                x: dy,
                weight,
                bias,
            });
        }
        let weight = Line::of_channels(channels, Some(self.weight));
        let used = used_lanes(channels);
        let tasks = Tasks::new(x);
        let mut sums = Buffer::zeroed(tasks.count() * 2 * blocks);
        let out = dy.send_ptr();
        let pieces = sums.lines_mut().par_chunks_exact_mut(2 * blocks);
        pieces.enumerate().for_each(|(task, sums)| {
            let (line, pixel, count) = tasks.pixels(task);
            let at = line * LANES;
            let mut gradient = PixelNormGradient {
                x: x.as_ptr().wrapping_add(at),
                dy: SendPtr::get(out).wrapping_add(at),
                add: add.map_or(std::ptr::null(), |add| add.as_ptr().wrapping_add(at)),
                block_stride: h * w * LANES,
                weight: &weight,
                used: &used,
                channels,
                count,
                mean: statistics.mean[pixel..].as_ptr(),
                rstd: statistics.rstd[pixel..].as_ptr(),
                sums,
            };
            // SAFETY: all maps have one shape, and each task has its own pixels.
            unsafe { (Kernels::of(isa).pixel_norm_gradient)(&mut gradient) };
        });
        // In the order of the tasks, which the shape alone decides.
        for (which, values) in lines.iter_mut().enumerate() {
            let per_block = values.par_chunks_mut(LANES).enumerate();
            per_block.for_each(|(block, values)| {
                let mut totals = [0.0; LANES];
                for task in sums.lines().chunks_exact(2 * blocks) {
                    for (total, sum) in totals.iter_mut().zip(task[2 * block + which].0) {
                        *total += f64::from(sum);
                    }
                }
                for (value, total) in values.iter_mut().zip(totals) {
                    *value = total as f32;
                }
            });
        }
        let [weight, bias] = lines;
        Ok(NormGradients {
            x: dy,
            weight,
            bias,
        })
    }

    /// Reads maps of the shape of `like` from `x` and writes them to `y`, which may be the same; `statistics` tells where
    /// mean and deviation of a pixel go.
    fn run(
        &self,
        isa: Isa,
        like: &Activation,
        x: SendPtr,
        y: SendPtr,
        statistics: impl Fn(usize) -> [*mut f32; 2] + Sync,
    ) {
        let [_, channels, h, w] = like.shape();
        if like.lines().is_empty() {
            return;
        }
        let [weight, bias] =
            [self.weight, self.bias].map(|values| Line::of_channels(channels, Some(values)));
        let used = used_lanes(channels);
        let tasks = Tasks::new(like);
        (0..tasks.count()).into_par_iter().for_each(|task| {
            let (line, pixel, count) = tasks.pixels(task);
            let [mean, rstd] = statistics(pixel);
            let norm = PixelNorm {
                x: SendPtr::get(x).wrapping_add(line * LANES),
                y: SendPtr::get(y).wrapping_add(line * LANES),
                block_stride: h * w * LANES,
                weight: &weight,
                bias: &bias,
                used: &used,
                channels,
                eps: self.eps,
                count,
                mean,
                rstd,
            };
            // SAFETY: both maps have one shape, there is a place for each pixel's statistics, and each task has its own
            // pixels.
            unsafe { (Kernels::of(isa).pixel_norm)(&norm) };
        });
    }

    fn check(&self, isa: Isa, x: &Activation) -> Result<(), KernelError> {
        check_isa(isa)?;
        let channels = [x.shape()[1]];
        check_len("the weight", self.weight.len(), &channels)?;
        check_len("the bias", self.bias.len(), &channels)
    }
}

/// Returns ones in the lanes of the last block that are channels, else zeros.
fn used_lanes(channels: usize) -> Line {
    let used = channels - (channels.div_ceil(LANES) - 1) * LANES;
    Line(std::array::from_fn(
        |lane| if lane < used { 1.0 } else { 0.0 },
    ))
}

/// Runs of pixels, each within a picture. The shape alone decides how they are cut.
struct Tasks {
    pictures: usize,
    blocks: usize,
    pixels: usize,
    /// Of a picture.
    runs: usize,
}

impl Tasks {
    fn new(x: &Activation) -> Self {
        let ([pictures, _, h, w], blocks) = (x.shape(), x.blocks());
        let most = (TASK_BYTES / (blocks * size_of::<Line>())).clamp(LANES, TASK_PIXELS);
        let most = most / LANES * LANES;
        Self {
            pictures,
            blocks,
            pixels: h * w,
            runs: (h * w).div_ceil(most),
        }
    }

    fn count(&self) -> usize {
        self.pictures * self.runs
    }

    /// Returns the first line of a task, its first pixel, and how many pixels it has.
    fn pixels(&self, task: usize) -> (usize, usize, usize) {
        let (picture, run) = (task / self.runs, task % self.runs);
        // Whole groups of sixteen, but for the last.
        let groups = self.pixels.div_ceil(LANES);
        let from = run * groups / self.runs * LANES;
        let to = ((run + 1) * groups / self.runs * LANES).min(self.pixels);
        let line = picture * self.blocks * self.pixels + from;
        (line, picture * self.pixels + from, to - from)
    }
}

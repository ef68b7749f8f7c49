//! Pooling.

pub(crate) mod kernels;

use crate::activation::Activation;
use crate::buffer::SendPtr;
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use crate::padding::Padding;
use crate::params::window_output;
use kernels::{PoolGradient, PoolRow};
use rayon::prelude::*;

/// Computes the largest value of each `kernel` x `kernel` window; padding counts as minus infinity.
///
/// ResNets use a window of 3, stride 2 and padding 1 after the stem. Padding is narrower than the window on each side; more
/// below and to the right than above and to the left gives what PyTorch calls `ceil_mode`.
pub fn max_pool(
    isa: Isa,
    x: &Activation,
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
) -> Result<Activation, KernelError> {
    check_isa(isa)?;
    let padding = padding.into();
    check_window(kernel, stride, padding)?;
    let [n, c, h, w] = x.shape();
    let [oh, ow] = window_output([kernel; 2], stride, padding, [h, w])?;
    let mut out = Activation::uninit([n, c, oh, ow]);
    let shared = out.send_ptr();
    let kernels = Kernels::of(isa);
    (0..n * x.blocks()).into_par_iter().for_each(|plane| {
        for y in 0..oh {
            let first = (y * stride) as isize - padding.top as isize;
            let rows = first.max(0) as usize..(first + kernel as isize).min(h as isize) as usize;
            let row = PoolRow {
                input: x
                    .as_ptr()
                    .wrapping_add((plane * h + rows.start) * w * LANES),
                rows: rows.len(),
                width: w,
                out: SendPtr::get(shared).wrapping_add((plane * oh + y) * ow * LANES),
                out_width: ow,
                kernel,
                stride,
                padding: padding.left,
            };
            // SAFETY: the window lies in the plane, and each task writes its own plane.
            unsafe { (kernels.pool_row)(&row) };
        }
    });
    Ok(out)
}

pub(crate) fn check_window(
    kernel: usize,
    stride: usize,
    padding: Padding,
) -> Result<(), KernelError> {
    if kernel > 0 && stride > 0 && padding.largest() < kernel {
        return Ok(());
    }
    Err(KernelError::InvalidLayer(format!(
        "pooling needs a window and stride of at least 1 and padding narrower than the window, found window {kernel}, \
         stride {stride}, padding {padding}"
    )))
}

/// Computes the gradient by the input of [`max_pool`], for its input `x`, its output `y` and the gradient `dy` by
/// that output.
///
/// A window's gradient goes to the first of its largest values, as in PyTorch.
pub fn max_pool_gradient(
    isa: Isa,
    x: &Activation,
    y: &Activation,
    dy: &Activation,
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
) -> Result<Activation, KernelError> {
    check_isa(isa)?;
    let padding = padding.into();
    check_window(kernel, stride, padding)?;
    let [n, c, h, w] = x.shape();
    let [oh, ow] = window_output([kernel; 2], stride, padding, [h, w])?;
    y.check_shape("the pooled activation", [n, c, oh, ow])?;
    dy.check_shape("the gradient", [n, c, oh, ow])?;
    let mut dx = Activation::uninit(x.shape());
    let planes = dx.lines_mut().par_chunks_mut(h * w);
    planes.enumerate().for_each(|(plane, dx)| {
        dx.fill(Line::ZERO);
        let gradient = PoolGradient {
            x: x.as_ptr().wrapping_add(plane * h * w * LANES),
            y: y.as_ptr().wrapping_add(plane * oh * ow * LANES),
            dy: dy.as_ptr().wrapping_add(plane * oh * ow * LANES),
            dx: dx.as_mut_ptr().cast(),
            size: [h, w],
            out_size: [oh, ow],
            kernel,
            stride,
            padding: [padding.top, padding.left],
        };
        // SAFETY: all pointers are to whole planes of the shapes that were checked.
        unsafe { (Kernels::of(isa).pool_gradient)(&gradient) };
    });
    Ok(dx)
}

/// Scales averages over `kernel` x `kernel` windows to those of the numbers inside: where a window hangs over the edge of an input
/// of this height and width, zeros of the padding were counted.
///
/// The gradient by the input is that of the average that counts them, from `y`'s gradient scaled by this.
///
/// # Errors
///
/// [`KernelError`] for windows that don't give `y`'s height and width.
pub fn leave_out_padding(
    y: &mut Activation,
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
    [height, width]: [usize; 2],
) -> Result<(), KernelError> {
    let padding = padding.into();
    check_window(kernel, stride, padding)?;
    let [n, c, rows, columns] = y.shape();
    let size = window_output([kernel; 2], stride, padding, [height, width])?;
    y.check_shape("the averages", [n, c, size[0], size[1]])?;
    let factors = |count: usize, size: usize, before: usize| -> Vec<f32> {
        let factor = |at: usize| {
            let begin = (at * stride).saturating_sub(before);
            let end = (at * stride + kernel - before).min(size);
            kernel as f32 / (end - begin) as f32
        };
        (0..count).map(factor).collect()
    };
    let (by_row, by_column) = (
        factors(rows, height, padding.top),
        factors(columns, width, padding.left),
    );
    if rows == 0 || columns == 0 {
        return Ok(());
    }
    let planes = y.lines_mut().par_chunks_mut(rows * columns);
    planes.for_each(|plane| {
        for (row, lines) in plane.chunks_exact_mut(columns).enumerate() {
            for (line, factor) in lines.iter_mut().zip(&by_column) {
                let factor = by_row[row] * factor;
                if factor != 1.0 {
                    line.0.iter_mut().for_each(|value| *value *= factor);
                }
            }
        }
    });
    Ok(())
}

/// Computes the gradient by the input of [`global_average_pool`]: `dy` (`[batch, channels]`) spread evenly over
/// `shape`.
pub fn global_average_pool_gradient(
    dy: &[f32],
    shape: [usize; 4],
) -> Result<Activation, KernelError> {
    let [n, c, h, w] = shape;
    check_len("the gradient", dy.len(), &[n, c])?;
    let mut dx = Activation::uninit(shape);
    let (pixels, blocks) = (h * w, c.div_ceil(LANES));
    if pixels == 0 || c == 0 {
        return Ok(dx);
    }
    let scale = 1.0 / pixels as f32;
    dx.lines_mut()
        .par_chunks_mut(pixels)
        .enumerate()
        .for_each(|(plane, lines)| {
            let (n, first) = (plane / blocks, plane % blocks * LANES);
            let values = &dy[n * c + first..n * c + c.min(first + LANES)];
            let mut line = Line::ZERO;
            for (value, dy) in line.0.iter_mut().zip(values) {
                *value = dy * scale;
            }
            lines.fill(line);
        });
    Ok(dx)
}

/// Computes the mean of each channel: row-major `[batch, channels]`.
pub fn global_average_pool(x: &Activation) -> Result<Vec<f32>, KernelError> {
    let [n, c, h, w] = x.shape();
    if h * w == 0 {
        return Err(KernelError::WindowTooLarge {
            kernel: [1, 1],
            padding: Padding::default(),
            found: [h, w],
        });
    }
    let mut out = vec![0.0; n * c];
    if c == 0 {
        return Ok(out);
    }
    let (pixels, blocks, scale) = (h * w, x.blocks(), 1.0 / (h * w) as f32);
    out.par_chunks_mut(c).enumerate().for_each(|(i, row)| {
        for (block, means) in row.chunks_mut(LANES).enumerate() {
            let lines = &x.lines()[(i * blocks + block) * pixels..][..pixels];
            let mut sum = [0.0f32; LANES];
            for line in lines {
                for (s, v) in sum.iter_mut().zip(line.0) {
                    *s += v;
                }
            }
            for (mean, s) in means.iter_mut().zip(sum) {
                *mean = s * scale;
            }
        }
    });
    Ok(out)
}

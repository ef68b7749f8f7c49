//! Max pooling of bytes, whose order is that of what they stand for.

use super::activation::QuantizedActivation;
use super::dispatch::Kernels;
use super::pool_row::PoolRow;
use super::tile::LINE;
use crate::buffer::SendPtr;
use crate::error::{KernelError, check_isa};
use crate::isa::Isa;
use crate::padding::Padding;
use crate::params::window_output;
use crate::pool::check_window;
use rayon::prelude::*;

/// Computes [`max_pool`](crate::max_pool) of bytes.
pub fn max_pool_quantized(
    isa: Isa,
    x: &QuantizedActivation,
    kernel: usize,
    stride: usize,
    padding: impl Into<Padding>,
) -> Result<QuantizedActivation, KernelError> {
    check_isa(isa)?;
    let padding = padding.into();
    check_window(kernel, stride, padding)?;
    let [n, c, h, w] = x.shape();
    let [oh, ow] = window_output([kernel; 2], stride, padding, [h, w])?;
    let mut out = QuantizedActivation::uninit([n, c, oh, ow], x.quantization());
    let shared = SendPtr::new(out.as_mut_ptr());
    let kernels = Kernels::of(isa);
    (0..n * x.blocks()).into_par_iter().for_each(|plane| {
        for y in 0..oh {
            let first = (y * stride) as isize - padding.top as isize;
            let rows = first.max(0) as usize..(first + kernel as isize).min(h as isize) as usize;
            let row = PoolRow {
                input: x.bytes()[(plane * h + rows.start) * w * LINE..].as_ptr(),
                rows: rows.len(),
                width: w,
                out: SendPtr::get(shared)
                    .cast::<u8>()
                    .wrapping_add((plane * oh + y) * ow * LINE),
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

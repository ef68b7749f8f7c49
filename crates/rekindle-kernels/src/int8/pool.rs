//! Max pooling of bytes, whose order is that of what they stand for.

use super::activation::QuantizedActivation;
use super::dispatch::Kernels;
use super::simd::Sums;
use super::tile::LINE;
use crate::buffer::SendPtr;
use crate::error::{KernelError, check_isa};
use crate::isa::Isa;
use crate::padding::window_output;
use crate::pool::check_window;
use rayon::prelude::*;

/// As [`max_pool`](crate::max_pool), of bytes.
pub fn max_pool_quantized(
    isa: Isa,
    x: &QuantizedActivation,
    kernel: usize,
    stride: usize,
    padding: usize,
) -> Result<QuantizedActivation, KernelError> {
    check_isa(isa)?;
    check_window(kernel, stride, padding)?;
    let [n, c, h, w] = x.shape();
    let [oh, ow] = window_output([kernel; 2], stride, padding.into(), [h, w])?;
    let mut out = QuantizedActivation::uninit([n, c, oh, ow], x.quantization());
    let shared = SendPtr::new(out.as_mut_ptr());
    let kernels = Kernels::of(isa);
    (0..n * x.blocks()).into_par_iter().for_each(|plane| {
        for y in 0..oh {
            let first = (y * stride) as isize - padding as isize;
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
                padding,
            };
            // SAFETY: the window lies in the plane, and each task writes its own plane.
            unsafe { (kernels.pool_row)(&row) };
        }
    });
    Ok(out)
}

/// One row of output and the rows of input below it.
pub(super) struct PoolRow {
    pub input: *const u8,
    pub rows: usize,
    pub width: usize,
    pub out: *mut u8,
    pub out_width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// # Safety
/// The instruction set of `S` must be there, and pointers valid for whole rows of lines.
#[inline(always)]
pub(super) unsafe fn pool_row<S: Sums>(r: &PoolRow) {
    for x in 0..r.out_width {
        let first = (x * r.stride) as isize - r.padding as isize;
        let columns =
            first.max(0) as usize..(first + r.kernel as isize).min(r.width as isize) as usize;
        // SAFETY: rows and columns lie in the input. Every window holds a pixel, since padding is at most half of it.
        unsafe {
            let mut largest = S::line(r.input.add(columns.start * LINE));
            for row in 0..r.rows {
                for column in columns.clone() {
                    let line = S::line(r.input.add((row * r.width + column) * LINE));
                    largest = S::max_line(largest, line);
                }
            }
            S::store_line(r.out.add(x * LINE), largest);
        }
    }
}

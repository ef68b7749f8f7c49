//! The micro-kernel of max pooling of bytes.

use super::simd::Sums;
use super::tile::LINE;

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

//! The micro-kernels of max pooling.

use crate::line::LANES;
use crate::simd::Simd;

/// One row of pooled pixels of sixteen channels.
pub(crate) struct PoolRow {
    /// First pixel of the first input row inside the picture.
    pub input: *const f32,
    /// Input rows inside the picture.
    pub rows: usize,
    pub width: usize,
    pub out: *mut f32,
    pub out_width: usize,
    pub kernel: usize,
    pub stride: usize,
    pub padding: usize,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn pool_row<S: Simd>(t: &PoolRow) {
    // SAFETY: columns are clipped to the row; everything else is the contract above.
    unsafe {
        for ox in 0..t.out_width {
            let first = (ox * t.stride) as isize - t.padding as isize;
            let columns =
                first.max(0) as usize..(first + t.kernel as isize).min(t.width as isize) as usize;
            let mut best = S::splat(f32::NEG_INFINITY);
            for y in 0..t.rows {
                for x in columns.clone() {
                    best = S::max(best, S::load(t.input.add((y * t.width + x) * LANES)));
                }
            }
            S::store(t.out.add(ox * LANES), best);
        }
    }
}

/// One plane of pooling's gradient, sixteen channels.
pub(crate) struct PoolGradient {
    pub x: *const f32,
    pub y: *const f32,
    pub dy: *const f32,
    /// Zero at first.
    pub dx: *mut f32,
    pub size: [usize; 2],
    pub out_size: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
    /// Above, and to the left.
    pub padding: [usize; 2],
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for their planes.
#[inline(always)]
pub(crate) unsafe fn pool_gradient<S: Simd>(t: &PoolGradient) {
    let w = t.size[1];
    let window = |o: usize, axis: usize| {
        let len = t.size[axis];
        let first = (o * t.stride) as isize - t.padding[axis] as isize;
        first.max(0) as usize..(first + t.kernel as isize).min(len as isize) as usize
    };
    // SAFETY: windows are clipped to the plane; everything else is the contract above.
    unsafe {
        for oy in 0..t.out_size[0] {
            for ox in 0..t.out_size[1] {
                let at = (oy * t.out_size[1] + ox) * LANES;
                let best = S::load(t.y.add(at));
                let mut left = S::load(t.dy.add(at));
                for y in window(oy, 0) {
                    for x in window(ox, 1) {
                        let at = (y * w + x) * LANES;
                        let taken = S::keep_equal(left, S::load(t.x.add(at)), best);
                        let dx = t.dx.add(at);
                        S::store(dx, S::add(S::load(dx), taken));
                        // All or nothing: the first of equal values takes the whole gradient.
                        left = S::sub(left, taken);
                    }
                }
            }
        }
    }
}

//! Sums each of sixteen vectors across its own lanes.

use crate::line::LANES;
use crate::simd::Simd;

/// Sums the lanes of each row: lane `i` of the result is the sum of `rows[i]`.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn sum_lanes<S: Simd>(rows: &mut [S::V; LANES]) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        S::transpose(rows);
        // In pairs, so that one addition does not wait for the other and rounding errors stay small.
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                rows[i] = S::add(rows[i], rows[i + width]);
            }
            width /= 2;
        }
        rows[0]
    }
}

/// Finds the largest lane of each row: lane `i` of the result is that of `rows[i]`.
///
/// # Safety
/// The instruction set of `S` must be there.
#[inline(always)]
pub(crate) unsafe fn max_lanes<S: Simd>(rows: &mut [S::V; LANES]) -> S::V {
    // SAFETY: by the contract above.
    unsafe {
        S::transpose(rows);
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width {
                rows[i] = S::max(rows[i], rows[i + width]);
            }
            width /= 2;
        }
        rows[0]
    }
}

//! Sixteen rows of values as lines that hold a column each, and back; squares of sixteen by sixteen values.

use crate::line::LANES;
use crate::simd::Simd;

/// Columns of sixteen rows, and the lines where they lie.
pub(crate) struct Columns<'a> {
    /// First value of the first row.
    pub rows: *mut f32,
    /// Values from one row to the next.
    pub row_stride: usize,
    /// Base address that `places` are relative to.
    pub lines: *mut f32,
    /// The line of each column, a multiple of sixteen of them.
    pub places: &'a [usize],
    /// A factor of each row, or null.
    pub scale: *const f32,
    /// Values from a row to those of it that the next call will read, fetched meanwhile.
    pub ahead: usize,
}

/// Writes the columns of rows to their lines.
///
/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn rows_to_lines<S: Simd>(t: &Columns<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        for (group, places) in t.places.chunks_exact(LANES).enumerate() {
            let mut rows = [S::zero(); LANES];
            for (i, row) in rows.iter_mut().enumerate() {
                let at = t.rows.add(i * t.row_stride + group * LANES);
                S::prefetch(at.wrapping_add(t.ahead));
                *row = S::load(at);
            }
            S::transpose(&mut rows);
            for (&place, &column) in places.iter().zip(&rows) {
                let scaled = match t.scale.is_null() {
                    true => column,
                    false => S::mul(S::load(t.scale), column),
                };
                S::store(t.lines.add(place * LANES), scaled);
            }
        }
    }
}

/// Writes what lies in lines to the columns of rows.
///
/// # Safety
/// The instruction set of `S` must be there; the pointers valid as described.
#[inline(always)]
pub(crate) unsafe fn lines_to_rows<S: Simd>(t: &Columns<'_>) {
    // SAFETY: by the contract above.
    unsafe {
        for (group, places) in t.places.chunks_exact(LANES).enumerate() {
            let mut columns = [S::zero(); LANES];
            for (column, &place) in columns.iter_mut().zip(places) {
                *column = S::load(t.lines.add(place * LANES));
            }
            S::transpose(&mut columns);
            for (i, &row) in columns.iter().enumerate() {
                S::store(t.rows.add(i * t.row_stride + group * LANES), row);
            }
        }
    }
}

/// Sixteen by sixteen values whose rows become columns.
pub(crate) struct Square {
    pub from: *const f32,
    pub to: *mut f32,
    /// Values between two rows of each.
    pub from_stride: usize,
    pub to_stride: usize,
}

/// # Safety
/// The instruction set of `S` must be there; the pointers valid for sixteen rows of sixteen values.
#[inline(always)]
pub(crate) unsafe fn square<S: Simd>(t: &Square) {
    // SAFETY: by the contract above.
    unsafe {
        let mut rows = [S::zero(); LANES];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = S::load(t.from.add(i * t.from_stride));
        }
        S::transpose(&mut rows);
        for (i, &row) in rows.iter().enumerate() {
            S::store(t.to.add(i * t.to_stride), row);
        }
    }
}

//! Sixteen `i32` sums of products of bytes, as the instruction sets see them.

/// Operations on the sums of sixteen output channels.
///
/// Every method is `#[inline(always)]`, so that it ends up inside the caller that enables the instruction set. All
/// implementations give the same numbers to the last bit: nothing is fused, and rounding is to the nearest even.
///
/// # Safety
/// Methods may only run on a machine that has the instruction set; pointers must be valid for what is said of them.
pub(crate) trait Sums: Copy {
    /// Sixteen `i32`.
    type V: Copy;
    /// Four bytes of input, as every output channel sees them.
    type Quad: Copy;
    /// Four weights for each of sixteen output channels.
    type Weights: Copy;
    /// Sixteen `f32`.
    type F: Copy;
    /// 64 bytes.
    type Line: Copy;
    /// Loads sixteen values.
    unsafe fn load(p: *const i32) -> Self::V;
    /// Loads 64 bytes of weights.
    unsafe fn weights(p: *const i8) -> Self::Weights;
    /// Repeats four bytes.
    unsafe fn quad(p: *const u8) -> Self::Quad;
    /// Adds the four products to each sum.
    unsafe fn dot(sum: Self::V, quad: Self::Quad, weights: Self::Weights) -> Self::V;
    unsafe fn to_float(v: Self::V) -> Self::F;
    /// Converts sixteen bytes.
    unsafe fn bytes_to_float(p: *const u8) -> Self::F;
    unsafe fn splat(x: f32) -> Self::F;
    /// Loads sixteen values.
    unsafe fn load_float(p: *const f32) -> Self::F;
    /// Stores sixteen values.
    unsafe fn store_float(p: *mut f32, x: Self::F);
    unsafe fn add(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn mul(a: Self::F, b: Self::F) -> Self::F;
    unsafe fn max(a: Self::F, b: Self::F) -> Self::F;
    /// Rounds values of at least zero to sixteen bytes; what is above 255 becomes that.
    unsafe fn store_bytes(p: *mut u8, x: Self::F);
    /// Rounds as [`store_bytes`](Self::store_bytes) does, a vector to one byte of each number, the first to the lowest.
    unsafe fn interleave(x: [Self::F; 4]) -> [u32; 16];
    /// Loads 64 bytes.
    unsafe fn line(p: *const u8) -> Self::Line;
    /// Returns the larger of each two bytes.
    unsafe fn max_line(a: Self::Line, b: Self::Line) -> Self::Line;
    /// Stores 64 bytes.
    unsafe fn store_line(p: *mut u8, line: Self::Line);
}

#[derive(Clone, Copy)]
pub(crate) struct Portable;

/// Added to and taken from a value below it, rounds that to the nearest even integer.
const ROUNDING: f32 = 12_582_912.0;

#[inline(always)]
fn round(x: f32) -> u8 {
    let x = if x < 255.0 { x } else { 255.0 };
    ((x + ROUNDING) - ROUNDING) as u8
}

impl Sums for Portable {
    type V = [i32; 16];
    type Quad = [i32; 4];
    type Weights = [i8; 64];
    type F = [f32; 16];
    type Line = [u8; 64];

    #[inline(always)]
    unsafe fn load(p: *const i32) -> [i32; 16] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn weights(p: *const i8) -> [i8; 64] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[i8; 64]>().read() }
    }
    #[inline(always)]
    unsafe fn quad(p: *const u8) -> [i32; 4] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 4]>().read() }.map(i32::from)
    }
    #[inline(always)]
    unsafe fn dot(sum: [i32; 16], quad: [i32; 4], weights: [i8; 64]) -> [i32; 16] {
        std::array::from_fn(|lane| {
            let product = |i: usize| quad[i] * i32::from(weights[4 * lane + i]);
            sum[lane] + (product(0) + product(1) + (product(2) + product(3)))
        })
    }
    #[inline(always)]
    unsafe fn to_float(v: [i32; 16]) -> [f32; 16] {
        v.map(|v| v as f32)
    }
    #[inline(always)]
    unsafe fn bytes_to_float(p: *const u8) -> [f32; 16] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 16]>().read() }.map(f32::from)
    }
    #[inline(always)]
    unsafe fn splat(x: f32) -> [f32; 16] {
        [x; 16]
    }
    #[inline(always)]
    unsafe fn load_float(p: *const f32) -> [f32; 16] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store_float(p: *mut f32, x: [f32; 16]) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[f32; 16]>().write_unaligned(x) }
    }
    #[inline(always)]
    unsafe fn add(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i] + b[i])
    }
    #[inline(always)]
    unsafe fn mul(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| a[i] * b[i])
    }
    #[inline(always)]
    unsafe fn max(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    unsafe fn store_bytes(p: *mut u8, x: [f32; 16]) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 16]>().write(x.map(round)) }
    }
    #[inline(always)]
    unsafe fn interleave(x: [[f32; 16]; 4]) -> [u32; 16] {
        std::array::from_fn(|i| u32::from_le_bytes(x.map(|x| round(x[i]))))
    }
    #[inline(always)]
    unsafe fn line(p: *const u8) -> [u8; 64] {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 64]>().read() }
    }
    #[inline(always)]
    unsafe fn max_line(a: [u8; 64], b: [u8; 64]) -> [u8; 64] {
        std::array::from_fn(|i| a[i].max(b[i]))
    }
    #[inline(always)]
    unsafe fn store_line(p: *mut u8, line: [u8; 64]) {
        // SAFETY: the caller's promise.
        unsafe { p.cast::<[u8; 64]>().write(line) }
    }
}

//! Sixteen channels of one pixel.

/// Channels that lie next to each other: one cache line of `f32`, one AVX-512 register.
pub const LANES: usize = 16;

/// One pixel's worth of [`LANES`] neighbouring channels.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [f32; LANES]);

impl Line {
    pub const ZERO: Self = Self([0.0; LANES]);

    /// Copies one value per channel into whole lines, zero past the last channel; all zero without values.
    pub fn of_channels(channels: usize, values: Option<&[f32]>) -> Vec<Self> {
        let mut lines = vec![Self::ZERO; channels.div_ceil(LANES)];
        let chunks = values.unwrap_or_default().chunks(LANES);
        for (line, values) in lines.iter_mut().zip(chunks) {
            line.0[..values.len()].copy_from_slice(values);
        }
        lines
    }

    pub fn values(lines: &[Self]) -> &[f32] {
        // SAFETY: a line is sixteen `f32` without padding, and an `f32` needs less alignment.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * LANES) }
    }

    pub fn values_mut(lines: &mut [Self]) -> &mut [f32] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * LANES) }
    }
}

//! The taps of a filter that reach an input pixel.

/// One axis of the input pixels `j * stride + origin`, of which output pixels reach each by the same taps.
pub(crate) struct Axis {
    /// Taps by ascending output pixel.
    pub taps: Vec<usize>,
    /// The output pixel that reaches pixel `origin` by the first of them.
    pub first: isize,
}

impl Axis {
    pub fn new(kernel: usize, padding: usize, stride: usize, origin: usize) -> Self {
        // Input pixel i is reached by output pixel o through tap i + padding - o * stride.
        let lowest = (origin + padding) % stride;
        let taps: Vec<usize> = (lowest..kernel).step_by(stride).rev().collect();
        let last = ((origin + padding - lowest) / stride) as isize;
        let first = last + 1 - taps.len() as isize;
        Self { taps, first }
    }
}

//! Describes the input and output of a pass.

use crate::activation::Activation;

/// Source of input values.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a> {
    Blocked(&'a Activation),
    /// Row-major `[batch, channels, height, width]`.
    Planar(&'a [f32]),
}

/// Output pixels to compute, and their destination.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    /// Rows and columns of padding before the first input pixel; negative to skip pixels.
    pub top: isize,
    pub left: isize,
    /// Height and width of what is computed.
    pub size: [usize; 2],
    /// Pixels in a row and a plane of the output.
    pub out_width: usize,
    pub out_plane: usize,
    /// Row and column in the output of the first pixel, and pixels from one to the next in both directions.
    pub origin: [usize; 2],
    pub step: usize,
}

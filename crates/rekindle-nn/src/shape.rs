//! Shapes of values.

use std::fmt;

/// Extents of a value without the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Shape {
    /// Feature maps `[batch, channels, height, width]`.
    Maps {
        /// Number of channels.
        channels: usize,
        /// Height and width.
        size: [usize; 2],
    },
    /// Rows `[batch, channels]`.
    Rows {
        /// Length of a row.
        channels: usize,
    },
}

impl Shape {
    /// Returns the number of channels.
    pub fn channels(&self) -> usize {
        match *self {
            Self::Maps { channels, .. } | Self::Rows { channels } => channels,
        }
    }

    /// Computes the number of elements of one image.
    pub fn elements(&self) -> usize {
        match *self {
            Self::Maps {
                channels,
                size: [height, width],
            } => channels * height * width,
            Self::Rows { channels } => channels,
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Maps {
                channels,
                size: [height, width],
            } => write!(f, "maps [batch, {channels}, {height}, {width}]"),
            Self::Rows { channels } => write!(f, "rows [batch, {channels}]"),
        }
    }
}

//! A decoded picture: 8-bit RGB, or the channels of its file at their depth.

use std::sync::Arc;

use image::RgbImage;

use crate::planes::FloatImage;

/// A decoded picture, before any transform.
#[derive(Debug, Clone)]
pub(crate) enum Picture {
    Rgb(Arc<RgbImage>),
    Deep(Arc<FloatImage>),
}

impl Picture {
    /// Returns the bytes that it takes.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Rgb(image) => image.as_raw().len(),
            Self::Deep(image) => 4 * image.values.len(),
        }
    }

    /// Returns what people are shown of it.
    pub(crate) fn shown(self) -> Arc<RgbImage> {
        match self {
            Self::Rgb(image) => image,
            Self::Deep(image) => Arc::new(image.shown()),
        }
    }

    /// Tells whether both are the very same, as clones are.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Rgb(image), Self::Rgb(other)) => Arc::ptr_eq(image, other),
            (Self::Deep(image), Self::Deep(other)) => Arc::ptr_eq(image, other),
            _ => false,
        }
    }
}

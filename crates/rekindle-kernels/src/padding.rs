//! Zeros around a picture.

use std::fmt;

/// Rows and columns of zeros around a picture, given for each side.
///
/// ```
/// use rekindle_kernels::Padding;
///
/// assert_eq!(Padding::from(1), Padding { top: 1, left: 1, bottom: 1, right: 1 });
/// // TensorFlow pads an even picture below and on the right only.
/// let same = Padding::same([3, 3], 2, [224, 224]);
/// assert_eq!(same, Padding { top: 0, left: 0, bottom: 1, right: 1 });
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Padding {
    /// Rows above the picture.
    pub top: usize,
    /// Columns before the picture.
    pub left: usize,
    /// Rows below the picture.
    pub bottom: usize,
    /// Columns behind the picture.
    pub right: usize,
}

impl From<usize> for Padding {
    /// Pads all four sides alike.
    fn from(side: usize) -> Self {
        Self {
            top: side,
            left: side,
            bottom: side,
            right: side,
        }
    }
}

impl Padding {
    /// Computes TensorFlow's padding `same`, by which a picture of `size` (height and width) keeps `ceil(size / stride)`
    /// pixels. Where the sum is odd, the larger half comes last.
    pub fn same(kernel: [usize; 2], stride: usize, size: [usize; 2]) -> Self {
        let [(top, bottom), (left, right)] = [0, 1].map(|axis| {
            let stride = stride.max(1);
            let last = size[axis].div_ceil(stride).saturating_sub(1) * stride;
            let total = last.saturating_add(kernel[axis]).saturating_sub(size[axis]);
            (total / 2, total - total / 2)
        });
        Self {
            top,
            left,
            bottom,
            right,
        }
    }

    /// Returns the padding of all four sides where it is the same.
    pub fn uniform(self) -> Option<usize> {
        (self == Self::from(self.top)).then_some(self.top)
    }

    /// Returns the largest of the four sides.
    pub(crate) fn largest(self) -> usize {
        self.top.max(self.left).max(self.bottom).max(self.right)
    }

    pub(crate) fn is_zero(self) -> bool {
        self == Self::default()
    }
}

impl fmt::Display for Padding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uniform() {
            Some(side) => write!(f, "{side}"),
            None => write!(
                f,
                "{} above, {} left, {} below, {} right",
                self.top, self.left, self.bottom, self.right
            ),
        }
    }
}

//! Errors of calls whose arguments don't fit.

use crate::isa::Isa;
use crate::padding::Padding;

/// A call whose shapes do not fit together, or that this machine cannot run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KernelError {
    /// A slice has another length than its shape says.
    #[error("{what} has {found} values, its shape {shape:?} needs {expected}")]
    WrongLength {
        /// The argument.
        what: &'static str,
        /// The shape it should fill.
        shape: Vec<usize>,
        /// The product of that shape.
        expected: usize,
        /// The length that was given.
        found: usize,
    },
    /// An activation or gradient has another shape than the operation needs.
    #[error("{what} has shape {found:?} ([batch, channels, height, width]), expected {expected:?}")]
    WrongShape {
        /// The argument.
        what: &'static str,
        /// The shape that was given.
        found: [usize; 4],
        /// The shape that fits.
        expected: [usize; 4],
    },
    /// The input has another number of channels than the layer was made for.
    #[error("the input has {found} channels, the layer was packed for {expected}")]
    WrongChannels {
        /// Channels of the input.
        found: usize,
        /// Channels of the layer.
        expected: usize,
    },
    /// The kernel with its padding is larger than the picture.
    #[error(
        "a window of {} x {} with padding {padding} does not fit into a picture of {} x {} pixels (height x width)",
        kernel[0], kernel[1], found[0], found[1]
    )]
    WindowTooLarge {
        /// Window height and width.
        kernel: [usize; 2],
        /// Padding around the picture.
        padding: Padding,
        /// Height and width of the input.
        found: [usize; 2],
    },
    /// A layer whose numbers contradict each other.
    #[error("{0}")]
    InvalidLayer(String),
    /// The instruction set was asked for by name and this machine lacks it.
    #[error("this machine cannot run {0} kernels; use Isa::detect() or one of Isa::available()")]
    IsaNotAvailable(Isa),
}

pub(crate) fn check_len(
    what: &'static str,
    found: usize,
    shape: &[usize],
) -> Result<(), KernelError> {
    let expected = shape.iter().product();
    if found == expected {
        return Ok(());
    }
    Err(KernelError::WrongLength {
        what,
        shape: shape.to_vec(),
        expected,
        found,
    })
}

pub(crate) fn check_isa(isa: Isa) -> Result<(), KernelError> {
    if isa.is_available() {
        Ok(())
    } else {
        Err(KernelError::IsaNotAvailable(isa))
    }
}

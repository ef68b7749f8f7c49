//! A batch of feature maps in the layout the kernels compute on.

use crate::buffer::{Buffer, LANES, SendPtr};
use crate::error::{KernelError, check_len};
use rayon::prelude::*;

/// Feature maps `[batch, channels, height, width]`, stored as `[batch, channels / 16, height, width, 16]`.
///
/// Sixteen channels of a pixel fill one cache line. A kernel reads them by broadcast and writes them as one vector (or
/// two, or four, of a narrower instruction set), so no layer has to repack what the layer before has written. Channels
/// past the last are zero.
///
/// Dropping an activation keeps its memory for the next one, see [`release_buffers`](crate::release_buffers).
#[derive(Clone, Debug)]
pub struct Activation {
    shape: [usize; 4],
    buffer: Buffer,
}

impl Activation {
    /// From row-major `[batch, channels, height, width]`.
    pub fn from_nchw(x: &[f32], shape: [usize; 4]) -> Result<Self, KernelError> {
        check_len("the picture batch", x.len(), &shape)?;
        let mut out = Self::uninit(shape);
        let [_, c, h, w] = shape;
        let (pixels, blocks) = (h * w, out.blocks());
        if pixels == 0 || blocks == 0 {
            return Ok(out);
        }
        let planes = out.buffer.lines_mut().par_chunks_mut(pixels);
        planes.enumerate().for_each(|(plane, lines)| {
            let (n, first) = (plane / blocks, plane % blocks * LANES);
            let used = LANES.min(c - first);
            let source = &x[(n * c + first) * pixels..][..used * pixels];
            for (p, line) in lines.iter_mut().enumerate() {
                for lane in 0..LANES {
                    line.0[lane] = if lane < used {
                        source[lane * pixels + p]
                    } else {
                        0.0
                    };
                }
            }
        });
        Ok(out)
    }

    /// To row-major `[batch, channels, height, width]`.
    pub fn to_nchw(&self) -> Vec<f32> {
        let [n, c, h, w] = self.shape;
        let mut out = vec![0.0; n * c * h * w];
        let (pixels, blocks) = (h * w, self.blocks());
        if pixels == 0 || c == 0 {
            return out;
        }
        out.par_chunks_mut(c * pixels)
            .enumerate()
            .for_each(|(n, picture)| {
                for (block, planes) in picture.chunks_mut(LANES * pixels).enumerate() {
                    let lines = &self.buffer.lines()[(n * blocks + block) * pixels..][..pixels];
                    for (lane, plane) in planes.chunks_mut(pixels).enumerate() {
                        for (value, line) in plane.iter_mut().zip(lines) {
                            *value = line.0[lane];
                        }
                    }
                }
            });
        out
    }

    /// All zero.
    pub fn zeros(shape: [usize; 4]) -> Self {
        let mut out = Self::uninit(shape);
        out.buffer.lines_mut().fill(crate::buffer::Line::ZERO);
        out
    }

    /// Contents unspecified; the caller writes every line, padding channels included.
    pub(crate) fn uninit(shape: [usize; 4]) -> Self {
        let [n, c, h, w] = shape;
        let buffer = Buffer::new(n * c.div_ceil(LANES) * h * w);
        Self { shape, buffer }
    }

    /// `[batch, channels, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Groups of sixteen channels, the last perhaps partly filled.
    pub(crate) fn blocks(&self) -> usize {
        self.shape[1].div_ceil(LANES)
    }

    pub(crate) fn lines(&self) -> &[crate::buffer::Line] {
        self.buffer.lines()
    }

    pub(crate) fn lines_mut(&mut self) -> &mut [crate::buffer::Line] {
        self.buffer.lines_mut()
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.buffer.as_ptr()
    }

    pub(crate) fn send_ptr(&mut self) -> SendPtr {
        SendPtr::new(self.buffer.as_mut_ptr())
    }

    pub(crate) fn check_shape(
        &self,
        what: &'static str,
        expected: [usize; 4],
    ) -> Result<(), KernelError> {
        if self.shape == expected {
            return Ok(());
        }
        Err(KernelError::WrongShape {
            what,
            found: self.shape,
            expected,
        })
    }
}

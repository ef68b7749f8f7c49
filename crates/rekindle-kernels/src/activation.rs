//! A batch of feature maps in the layout the kernels compute on.

use crate::activation_fn::ActivationFn;
use crate::buffer::{Buffer, SendPtr, SharedLines};
use crate::error::{KernelError, check_len};
use crate::line::{LANES, Line};
use crate::params::Conv2dParams;
use rayon::prelude::*;
use std::sync::Arc;

/// Feature maps `[batch, channels, height, width]`, stored as `[batch, channels / 16, height, width, 16]`.
///
/// Sixteen channels of a pixel fill one cache line. A kernel reads them by broadcast and writes them as one vector (or
/// two, or four, of a narrower instruction set), so no layer has to repack what the layer before has written. Channels
/// past the last are zero.
///
/// The memory is its own, or belongs to a tensor of another library ([`from_shared`](Self::from_shared)) and is copied
/// before the first write. Dropping an activation keeps its memory for the next one, see [`release_buffers`](crate::release_buffers).
#[derive(Clone, Debug)]
pub struct Activation {
    shape: [usize; 4],
    storage: Storage,
}

#[derive(Clone, Debug)]
enum Storage {
    Owned(Buffer),
    Shared(SharedLines),
}

impl Activation {
    /// Converts from row-major `[batch, channels, height, width]`.
    pub fn from_nchw(x: &[f32], shape: [usize; 4]) -> Result<Self, KernelError> {
        check_len("the picture batch", x.len(), &shape)?;
        let mut out = Self::uninit(shape);
        let [_, c, h, w] = shape;
        let (pixels, blocks) = (h * w, out.blocks());
        if pixels == 0 || blocks == 0 {
            return Ok(out);
        }
        let planes = out.lines_mut().par_chunks_mut(pixels);
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

    /// Reads `values`, which are `[batch, channels / 16, height, width, 16]` with zeros past the last channel, where they
    /// lie. They are copied only where they don't start at a multiple of 64 bytes.
    pub fn from_shared(
        values: Arc<dyn AsRef<[f32]> + Send + Sync>,
        shape: [usize; 4],
    ) -> Result<Self, KernelError> {
        let [n, c, h, w] = shape;
        let padded = [n, c.div_ceil(LANES), h, w, LANES];
        let slice = values.as_ref().as_ref();
        check_len("the blocked feature maps", slice.len(), &padded)?;
        if let Some(lines) = SharedLines::new(Arc::clone(&values)) {
            return Ok(Self {
                shape,
                storage: Storage::Shared(lines),
            });
        }
        let mut copy = Self::uninit(shape);
        for (line, values) in copy.lines_mut().iter_mut().zip(slice.chunks_exact(LANES)) {
            line.0.copy_from_slice(values);
        }
        Ok(copy)
    }

    /// Returns the values as they lie: `[batch, channels / 16, height, width, 16]`, zero past the last channel.
    pub fn as_blocked(&self) -> &[f32] {
        Line::values(self.lines())
    }

    /// Converts to row-major `[batch, channels, height, width]`.
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
                    let lines = &self.lines()[(n * blocks + block) * pixels..][..pixels];
                    for (lane, plane) in planes.chunks_mut(pixels).enumerate() {
                        for (value, line) in plane.iter_mut().zip(lines) {
                            *value = line.0[lane];
                        }
                    }
                }
            });
        out
    }

    /// Creates maps of zeros.
    pub fn zeros(shape: [usize; 4]) -> Self {
        let mut out = Self::uninit(shape);
        out.lines_mut().fill(Line::ZERO);
        out
    }

    /// Contents unspecified; the caller writes every line, padding channels included.
    pub(crate) fn uninit(shape: [usize; 4]) -> Self {
        let [n, c, h, w] = shape;
        let storage = Storage::Owned(Buffer::new(n * c.div_ceil(LANES) * h * w));
        Self { shape, storage }
    }

    /// Creates the output of a convolution of an input of `shape`, contents unspecified. `residual` must have its
    /// shape.
    pub(crate) fn output(
        params: &Conv2dParams,
        shape: [usize; 4],
        residual: Option<&Self>,
    ) -> Result<Self, KernelError> {
        let shape = params.output_shape(shape)?;
        if let Some(residual) = residual {
            residual.check_shape("the residual", shape)?;
        }
        Ok(Self::uninit(shape))
    }

    /// Returns the shape `[batch, channels, height, width]`.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// Groups of sixteen channels, the last perhaps partly filled.
    pub(crate) fn blocks(&self) -> usize {
        self.shape[1].div_ceil(LANES)
    }

    pub(crate) fn lines(&self) -> &[Line] {
        match &self.storage {
            Storage::Owned(buffer) => buffer.lines(),
            Storage::Shared(lines) => lines.lines(),
        }
    }

    pub(crate) fn lines_mut(&mut self) -> &mut [Line] {
        self.buffer_mut().lines_mut()
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.lines().as_ptr().cast()
    }

    pub(crate) fn send_ptr(&mut self) -> SendPtr {
        SendPtr::new(self.buffer_mut().as_mut_ptr())
    }

    /// Returns the memory to write to; its own from now on.
    fn buffer_mut(&mut self) -> &mut Buffer {
        if let Storage::Shared(shared) = &self.storage {
            let lines = shared.lines();
            let mut copy = Buffer::new(lines.len());
            copy.lines_mut()
                .par_chunks_mut(1 << 12)
                .zip(lines.par_chunks(1 << 12))
                .for_each(|(to, from)| to.copy_from_slice(from));
            self.storage = Storage::Owned(copy);
        }
        match &mut self.storage {
            Storage::Owned(buffer) => buffer,
            Storage::Shared(_) => unreachable!("replaced above"),
        }
    }

    /// Returns the output of `function`, with zeros past the last channel where it has written others.
    pub(crate) fn finished(mut self, function: ActivationFn) -> Self {
        if function.moves_zero() {
            self.clear_past_channels();
        }
        self
    }

    /// Writes zeros past the last channel.
    pub(crate) fn clear_past_channels(&mut self) {
        let [_, c, h, w] = self.shape;
        let (used, pixels, blocks) = (c % LANES, h * w, self.blocks());
        if used == 0 || pixels == 0 {
            return;
        }
        let pictures = self.lines_mut().par_chunks_exact_mut(pixels * blocks);
        pictures.for_each(|picture| {
            for line in &mut picture[(blocks - 1) * pixels..] {
                line.0[used..].fill(0.0);
            }
        });
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

//! Aligned memory in whole cache lines.

use crate::arena::{self, Memory};
use crate::line::{LANES, Line};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// `len` lines of initialised memory with unspecified contents.
#[derive(Debug)]
pub(crate) struct Buffer {
    memory: Memory,
}

impl Buffer {
    pub fn new(len: usize) -> Self {
        let memory = Memory::new(len);
        Self { memory }
    }

    pub fn zeroed(len: usize) -> Self {
        let mut buffer = Self::new(len);
        buffer.lines_mut().fill(Line::ZERO);
        buffer
    }

    pub fn lines(&self) -> &[Line] {
        self.memory.lines()
    }

    pub fn lines_mut(&mut self) -> &mut [Line] {
        self.memory.lines_mut()
    }

    pub fn as_ptr(&self) -> *const f32 {
        self.lines().as_ptr().cast()
    }

    pub fn as_mut_ptr(&mut self) -> *mut f32 {
        self.lines_mut().as_mut_ptr().cast()
    }
}

/// Numbers that a kernel has written, read as a slice. Dropping them keeps their memory for the next ones, see
/// [`release_buffers`].
#[derive(Clone, Debug)]
pub struct AlignedVec {
    buffer: Buffer,
    len: usize,
}

impl AlignedVec {
    /// Contents unspecified.
    pub(crate) fn new(len: usize) -> Self {
        let buffer = Buffer::new(len.div_ceil(LANES));
        Self { buffer, len }
    }

    pub(crate) fn zeros(len: usize) -> Self {
        let mut values = Self::new(len);
        values.as_mut_slice().fill(0.0);
        values
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [f32] {
        &mut Line::values_mut(self.buffer.lines_mut())[..self.len]
    }
}

impl Deref for AlignedVec {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &Line::values(self.buffer.lines())[..self.len]
    }
}

/// Lines in memory that somebody else owns.
#[derive(Clone)]
pub(crate) struct SharedLines(Arc<dyn AsRef<[f32]> + Send + Sync>);

impl SharedLines {
    /// Takes the values as lines; none where they don't lie as lines do.
    pub fn new(values: Arc<dyn AsRef<[f32]> + Send + Sync>) -> Option<Self> {
        fits(values.as_ref().as_ref()).then_some(Self(values))
    }

    pub fn lines(&self) -> &[Line] {
        let values = self.0.as_ref().as_ref();
        // Asked again, since an owner may answer with another slice each time.
        assert!(fits(values), "the shared feature maps moved");
        // SAFETY: the slice starts at a multiple of a line's alignment, and its length is cut to whole lines.
        unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), values.len() / LANES) }
    }
}

fn fits(values: &[f32]) -> bool {
    values.as_ptr().cast::<Line>().is_aligned() && values.len().is_multiple_of(LANES)
}

impl fmt::Debug for SharedLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedLines({})", self.lines().len())
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.lines().len());
        copy.lines_mut().copy_from_slice(self.lines());
        copy
    }
}

/// Gives the memory that is kept for the next layer back to the system.
pub fn release_buffers() {
    arena::release();
}

thread_local! {
    static SCRATCH: std::cell::RefCell<Vec<Line>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Runs `work` with this thread's scratch of at least `len` lines, contents unspecified.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [Line]) -> R) -> R {
    // Taken out while in use, so that work stolen inside `work` finds an empty one instead of a borrowed one.
    let mut lines = SCRATCH.with(std::cell::RefCell::take);
    if lines.len() < len {
        lines = vec![Line::ZERO; len];
    }
    let result = work(&mut lines[..len]);
    SCRATCH.with(|cell| *cell.borrow_mut() = lines);
    result
}

/// A pointer that tasks share; each writes a part no other task touches.
#[derive(Clone, Copy)]
pub(crate) struct SendPtr(*mut f32);

// SAFETY: the pointer is only dereferenced inside kernels whose tasks write disjoint ranges, while the owner of the
// memory waits for all of them.
unsafe impl Send for SendPtr {}
// SAFETY: as above.
unsafe impl Sync for SendPtr {}

impl SendPtr {
    pub fn new(ptr: *mut f32) -> Self {
        Self(ptr)
    }

    /// A method, because closures capture fields one by one and would capture the bare pointer.
    pub fn get(self) -> *mut f32 {
        self.0
    }
}

//! Aligned memory in whole cache lines.

use crate::arena::{self, Memory};

/// Channels that lie next to each other: one cache line of `f32`, one AVX-512 register.
pub const LANES: usize = 16;

/// One pixel's worth of [`LANES`] neighbouring channels.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(crate) struct Line(pub [f32; LANES]);

impl Line {
    pub const ZERO: Self = Self([0.0; LANES]);
}

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

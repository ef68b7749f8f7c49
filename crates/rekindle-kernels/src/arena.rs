//! Memory that is used again instead of being given back to the system.
//!
//! A ResNet writes tens of megabytes per layer. Fresh memory of that size costs a page fault every four kilobytes, which
//! takes longer than the cheap layers themselves. Freed ranges therefore stay here, join with their neighbours, and serve
//! requests of any size: what the forward pass frees in pieces of one size, the backward pass takes in pieces of another.

use crate::line::Line;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::BTreeMap;
use std::ptr::NonNull;
use std::sync::{Mutex, PoisonError};

/// Lines asked from the system at least, 64 megabytes. What is not touched costs address space only.
const SEGMENT: usize = 1 << 20;
/// True if each piece comes from the system: for AddressSanitizer, which sees only the borders between such pieces.
const SEPARATE: bool = cfg!(rekindle_separate_memory);
/// Alignment of segments in bytes: two megabytes, so that the system may back them with huge pages, or just a line.
const ALIGNMENT: usize = if SEPARATE { 64 } else { 2 << 20 };

static ARENA: Mutex<Arena> = Mutex::new(Arena {
    segments: Vec::new(),
});

/// `len` lines that belong to nobody else: initialised, with unspecified contents.
#[derive(Debug)]
pub(crate) struct Memory {
    first: NonNull<Line>,
    len: usize,
}

// SAFETY: the lines have one owner, who may be any thread; the arena itself is behind a lock.
unsafe impl Send for Memory {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for Memory {}

impl Memory {
    pub fn new(len: usize) -> Self {
        let first = match len {
            0 => NonNull::dangling(),
            len => lock().take(len),
        };
        Self { first, len }
    }

    pub fn lines(&self) -> &[Line] {
        // SAFETY: the lines are initialised and this object's own.
        unsafe { std::slice::from_raw_parts(self.first.as_ptr(), self.len) }
    }

    pub fn lines_mut(&mut self) -> &mut [Line] {
        // SAFETY: as above.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.len {
            0 => {}
            len => {
                lock().give(self.first, len);
                if SEPARATE {
                    release();
                }
            }
        }
    }
}

/// Gives the memory that nothing uses at the moment back to the system.
pub(crate) fn release() {
    lock().segments.retain(|segment| !segment.is_free());
}

fn lock() -> std::sync::MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Arena {
    segments: Vec<Segment>,
}

impl Arena {
    /// Takes memory from the smallest free range that is large enough.
    fn take(&mut self, len: usize) -> NonNull<Line> {
        let ranges = self.segments.iter().enumerate().flat_map(|(i, segment)| {
            let ranges = segment.free.iter();
            ranges.map(move |(&from, &free)| (free, i, from))
        });
        let best = ranges.filter(|&(free, ..)| free >= len).min();
        let (segment, from) = match best {
            Some((_, segment, from)) => (segment, from),
            None => {
                let held: usize = self.segments.iter().map(|segment| segment.len).sum();
                let whole = if SEPARATE {
                    len
                } else {
                    len.max(SEGMENT).max(held / 4)
                };
                self.segments.push(Segment::new(whole));
                (self.segments.len() - 1, 0)
            }
        };
        self.segments[segment].take(from, len)
    }

    fn give(&mut self, first: NonNull<Line>, len: usize) {
        let mut segments = self.segments.iter_mut();
        if let Some(segment) = segments.find(|segment| segment.contains(first)) {
            segment.give(first, len);
        }
    }
}

/// Memory that was requested from the system in one piece.
struct Segment {
    /// Start of the system's memory, which is aligned less strictly than lines are.
    memory: NonNull<u8>,
    first: NonNull<Line>,
    len: usize,
    /// First line and length of each free range; no two of them touch.
    free: BTreeMap<usize, usize>,
}

// SAFETY: a segment owns its memory.
unsafe impl Send for Segment {}

impl Segment {
    fn new(len: usize) -> Self {
        let layout = Self::layout(len);
        // SAFETY: the size is not zero.
        let memory = unsafe { alloc_zeroed(layout) };
        let Some(memory) = NonNull::new(memory) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the layout has room for as much, and lines of zeros are valid.
        let first = unsafe { memory.add(memory.as_ptr().align_offset(ALIGNMENT)).cast() };
        Self {
            memory,
            first,
            len,
            free: BTreeMap::from([(0, len)]),
        }
    }

    /// Aligned by hand: memory that the allocator has to align is zeroed at once, and with that touched.
    fn layout(len: usize) -> Layout {
        let bytes = len.checked_mul(size_of::<Line>());
        let bytes = bytes.and_then(|bytes| bytes.checked_add(ALIGNMENT));
        let layout = bytes.and_then(|bytes| Layout::from_size_align(bytes, 1).ok());
        layout.unwrap_or_else(|| panic!("{len} cache lines are more than an address space holds"))
    }

    fn take(&mut self, from: usize, len: usize) -> NonNull<Line> {
        if let Some(free) = self.free.remove(&from)
            && free > len
        {
            self.free.insert(from + len, free - len);
        }
        // SAFETY: the range lies in the segment.
        unsafe { self.first.add(from) }
    }

    fn give(&mut self, first: NonNull<Line>, len: usize) {
        let mut from = (first.addr().get() - self.first.addr().get()) / size_of::<Line>();
        let mut len = len;
        if let Some(behind) = self.free.remove(&(from + len)) {
            len += behind;
        }
        if let Some((&before, &free)) = self.free.range(..from).next_back()
            && before + free == from
        {
            (from, len) = (before, free + len);
        }
        self.free.insert(from, len);
    }

    fn contains(&self, line: NonNull<Line>) -> bool {
        let from = self.first.addr().get();
        (from..from + self.len * size_of::<Line>()).contains(&line.addr().get())
    }

    fn is_free(&self) -> bool {
        self.free.get(&0) == Some(&self.len)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and no part of it is in use: of the arena's segments only free ones are
        // dropped.
        unsafe { dealloc(self.memory.as_ptr(), Self::layout(self.len)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_never_overlap_and_join_again() {
        let mut arena = Arena {
            segments: Vec::new(),
        };
        let mut taken: Vec<(NonNull<Line>, usize)> = Vec::new();
        let mut state = 1u64;
        for _ in 0..2000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1);
            let random = (state >> 33) as usize;
            if random.is_multiple_of(3) && !taken.is_empty() {
                let (first, len) = taken.swap_remove(random / 3 % taken.len());
                arena.give(first, len);
                continue;
            }
            let len = 1 + random % (SEGMENT / 8);
            let first = arena.take(len);
            let range = |first: NonNull<Line>, len| {
                let from = first.addr().get();
                from..from + len * size_of::<Line>()
            };
            let new = range(first, len);
            for &(first, len) in &taken {
                let old = range(first, len);
                assert!(new.end <= old.start || old.end <= new.start);
            }
            taken.push((first, len));
            if taken.len() > 40 {
                let (first, len) = taken.remove(0);
                arena.give(first, len);
            }
        }
        // Forty ranges of at most an eighth of a segment, and what lies between them.
        let held: usize = arena.segments.iter().map(|segment| segment.len).sum();
        assert!(SEPARATE || held <= 10 * SEGMENT, "{held} lines");
        for (first, len) in taken {
            arena.give(first, len);
        }
        assert!(arena.segments.iter().all(Segment::is_free));
    }
}

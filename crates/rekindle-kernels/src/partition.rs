//! Splits a pass over a batch into tasks.

use rayon::prelude::*;
use std::ops::Range;

/// The work of one pass, and how much of it a task may read.
pub(crate) struct WorkPartition {
    pub pictures: usize,
    /// Input bytes of a picture.
    pub picture_bytes: usize,
    /// Output rows, or register tiles.
    pub units: usize,
    pub panels: usize,
    /// Input of a task at most.
    pub band_bytes: usize,
}

impl WorkPartition {
    /// Calls `task(pictures, units, panels)` until all is done, on rayon's threads: bands of large pictures, or several
    /// small ones together, and parts of the panels where that leaves threads idle.
    pub fn for_each(&self, task: impl Fn(Range<usize>, Range<usize>, Range<usize>) + Sync) {
        let &Self {
            pictures: n,
            picture_bytes,
            units,
            panels,
            band_bytes,
        } = self;
        let threads = rayon::current_num_threads();
        let bands = picture_bytes
            .div_ceil(band_bytes)
            .max((2 * threads).div_ceil(n.max(1)))
            .clamp(1, units);
        let group = if bands > 1 {
            1
        } else {
            (band_bytes / picture_bytes.max(1)).clamp(1, (n / (2 * threads)).max(1))
        };
        let groups = n.div_ceil(group);
        let splits = (2 * threads)
            .div_ceil((groups * bands).max(1))
            .clamp(1, panels);
        (0..groups * bands * splits)
            .into_par_iter()
            .for_each(|index| {
                let (split, rest) = (index % splits, index / splits);
                let (band, first) = (rest % bands, rest / bands * group);
                task(
                    first..(first + group).min(n),
                    band * units / bands..(band + 1) * units / bands,
                    split * panels / splits..(split + 1) * panels / splits,
                );
            });
    }
}

/// Runs `work`, a row of kernels, on one of rayon's threads: called from another thread, each kernel would wake them and
/// wait for them, which at one image takes a tenth of a forward pass.
pub fn on_pool_thread<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    rayon::scope(|_| work())
}

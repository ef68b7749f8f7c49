//! Compiles every kernel once for each instruction set and picks at run time.

use crate::Isa;
use crate::pool::{PoolRow, pool_row};
use crate::simd;
use crate::tile::{Tile, TileFn, tile};
use crate::winograd::transform::{InputTile, OutputTile, input_tile, output_tile};

/// The kernels of one instruction set.
pub(crate) struct Kernels {
    /// Most pixels of a register tile.
    pub mr: usize,
    /// Most blocks of output channels of a register tile.
    pub nr: usize,
    tile: fn(usize, usize, usize) -> TileFn,
    pub winograd_input: unsafe fn(&InputTile),
    pub winograd_output: unsafe fn(&OutputTile),
    pub pool_row: unsafe fn(&PoolRow),
}

impl Kernels {
    pub fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &avx512::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &avx2::KERNELS,
            _ => &portable::KERNELS,
        }
    }

    /// The micro-kernel for `pixels` x `blocks` whose input pixels lie `stride` values apart.
    pub fn tile(&self, pixels: usize, blocks: usize, stride: usize) -> TileFn {
        (self.tile)(pixels, blocks, stride)
    }
}

macro_rules! kernels {
    ($isa:ident, $simd:ty, $(#[$feature:meta])?, mr: $mr:literal [$($m:literal)*], nr: $nr:literal [$($n:literal)*]) => {
        mod $isa {
            use super::*;

            pub(super) static KERNELS: Kernels = Kernels {
                mr: $mr,
                nr: $nr,
                tile: select,
                winograd_input,
                winograd_output,
                pool_row: pool,
            };

            kernels!(@entry tile_entry<MR, NR, STRIDE>, tile, Tile, $simd, $(#[$feature])?);
            kernels!(@entry winograd_input, input_tile, InputTile, $simd, $(#[$feature])?);
            kernels!(@entry winograd_output, output_tile, OutputTile, $simd, $(#[$feature])?);
            kernels!(@entry pool, pool_row, PoolRow, $simd, $(#[$feature])?);

            fn select(pixels: usize, blocks: usize, stride: usize) -> TileFn {
                kernels!(@blocks blocks, pixels, stride, [$($n)*], [$($m)*])
            }
        }
    };
    (@entry $name:ident $(<$($g:ident),*>)?, $generic:ident, $args:ty, $simd:ty, $(#[$feature:meta])?) => {
        /// # Safety
        /// The machine has the instruction set, and the pointers in `args` are valid.
        $(#[$feature])?
        unsafe fn $name $(<$(const $g: usize),*>)? (args: &$args) {
            // SAFETY: the caller's promise is the callee's.
            unsafe { $generic::<$simd $($(, $g)*)?>(args) }
        }
    };
    (@blocks $blocks:ident, $pixels:ident, $stride:ident, [$($n:literal)*], $m:tt) => {
        match $blocks {
            $($n => kernels!(@stride $pixels, $stride, $n, $m),)*
            _ => unreachable!("a register tile holds at most {:?} blocks", [$($n),*]),
        }
    };
    (@stride $pixels:ident, $stride:ident, $n:literal, $m:tt) => {
        match $stride {
            16 => kernels!(@pixels $pixels, 16, $n, $m),
            32 => kernels!(@pixels $pixels, 32, $n, $m),
            2 => kernels!(@pixels $pixels, 2, $n, $m),
            _ => unreachable!("no kernel for pixels {} values apart", $stride),
        }
    };
    (@pixels $pixels:ident, $stride:literal, $n:literal, [$($m:literal)*]) => {
        match $pixels {
            $($m => tile_entry::<$m, $n, $stride> as TileFn,)*
            _ => unreachable!("a register tile holds at most {:?} pixels", [$($m),*]),
        }
    };
}

// Of 32 registers 28 hold sums, two weights, one the broadcast input.
#[cfg(target_arch = "x86_64")]
kernels!(avx512, simd::Avx512, #[target_feature(enable = "avx512f")],
    mr: 14 [1 2 3 4 5 6 7 8 9 10 11 12 13 14], nr: 2 [1 2]);

// Of 16 registers 12 hold sums (a block is two registers wide), two weights, one the broadcast input.
#[cfg(target_arch = "x86_64")]
kernels!(avx2, simd::Avx2, #[target_feature(enable = "avx2,fma")],
    mr: 6 [1 2 3 4 5 6], nr: 1 [1]);

// A block is four registers wide: 24 of AArch64's 32 registers hold sums, 8 of SSE2's 16.
#[cfg(not(target_arch = "x86_64"))]
kernels!(portable, simd::Portable, , mr: 6 [1 2 3 4 5 6], nr: 1 [1]);
#[cfg(target_arch = "x86_64")]
kernels!(portable, simd::Portable, , mr: 2 [1 2], nr: 1 [1]);

//! Compiles the kernels once for each instruction set and picks at run time.

use super::convert::{ToBytes, ToFloats, to_bytes, to_floats};
use super::planar::{PlanarRow, planar_row};
use super::pool_row::{PoolRow, pool_row};
use super::simd;
use super::tile::{Tile, TileFn, tile};
#[cfg(target_arch = "x86_64")]
use super::x86;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use std::arch::is_x86_feature_detected;

/// The kernels of one instruction set.
#[derive(Debug)]
pub(super) struct Kernels {
    /// Most pixels of a register tile.
    pub mr: usize,
    /// Most blocks of output channels of a register tile.
    pub nr: usize,
    tile: fn(usize, usize, usize) -> TileFn,
    pub planar_row: unsafe fn(&PlanarRow),
    pub pool_row: unsafe fn(&PoolRow),
    pub to_bytes: unsafe fn(&ToBytes),
    pub to_floats: unsafe fn(&ToFloats),
}

impl Kernels {
    pub fn of(isa: Isa) -> &'static Self {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 if has_avx512_vnni() => &avx512_vnni::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 if is_x86_feature_detected!("avxvnni") => &avx_vnni::KERNELS,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => &avx2::KERNELS,
            _ => &portable::KERNELS,
        }
    }

    /// Returns all that this machine can run.
    #[cfg(test)]
    pub fn available() -> Vec<(&'static str, &'static Self)> {
        let mut all = vec![("portable", &portable::KERNELS)];
        #[cfg(target_arch = "x86_64")]
        if Isa::Avx2.is_available() {
            all.push(("AVX2", &avx2::KERNELS));
            if is_x86_feature_detected!("avxvnni") {
                all.push(("AVX-VNNI", &avx_vnni::KERNELS));
            }
            if has_avx512_vnni() {
                all.push(("AVX-512 VNNI", &avx512_vnni::KERNELS));
            }
        }
        all
    }

    /// Returns the micro-kernel for `pixels` x `blocks` whose input pixels lie `step` bytes apart.
    pub fn tile(&self, pixels: usize, blocks: usize, step: usize) -> TileFn {
        (self.tile)(pixels, blocks, step)
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx512_vnni() -> bool {
    Isa::Avx512.is_available()
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vnni")
}

impl Isa {
    /// Returns true if this machine, with this instruction set, multiplies and adds bytes in one instruction
    /// (AVX-512 VNNI or AVX-VNNI), which makes layers in eight bits faster than in `f32`.
    pub fn has_byte_products(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Avx512 => has_avx512_vnni() || is_x86_feature_detected!("avxvnni"),
            Self::Avx2 => is_x86_feature_detected!("avxvnni"),
            Self::Portable => false,
        };
        #[cfg(not(target_arch = "x86_64"))]
        false
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
                planar_row: planar,
                pool_row: pool,
                to_bytes: quantize,
                to_floats: dequantize,
            };

            /// # Safety
            /// The machine has the instruction set, and the tile's pointers are valid.
            $(#[$feature])?
            unsafe fn entry<const MR: usize, const NR: usize, const STEP: usize>(t: &Tile) {
                // SAFETY: the caller's promise is the callee's.
                unsafe { tile::<$simd, MR, NR, STEP>(t) }
            }

            /// # Safety
            /// The machine has the instruction set, and the row's pointers are valid.
            $(#[$feature])?
            unsafe fn pool(row: &PoolRow) {
                // SAFETY: the caller's promise is the callee's.
                unsafe { pool_row::<$simd>(row) }
            }

            /// # Safety
            /// The machine has the instruction set, and the row's pointers are valid.
            $(#[$feature])?
            unsafe fn planar(row: &PlanarRow) {
                // SAFETY: the caller's promise is the callee's.
                unsafe { planar_row::<$simd>(row) }
            }

            /// # Safety
            /// The machine has the instruction set, and the pixels' pointers are valid.
            $(#[$feature])?
            unsafe fn quantize(pixels: &ToBytes) {
                // SAFETY: the caller's promise is the callee's.
                unsafe { to_bytes::<$simd>(pixels) }
            }

            /// # Safety
            /// The machine has the instruction set, and the pixels' pointers are valid.
            $(#[$feature])?
            unsafe fn dequantize(pixels: &ToFloats) {
                // SAFETY: the caller's promise is the callee's.
                unsafe { to_floats::<$simd>(pixels) }
            }

            fn select(pixels: usize, blocks: usize, step: usize) -> TileFn {
                kernels!(@blocks blocks, pixels, step, [$($n)*], [$($m)*])
            }
        }
    };
    (@blocks $blocks:ident, $pixels:ident, $step:ident, [$($n:literal)*], $m:tt) => {
        match $blocks {
            $($n => kernels!(@step $pixels, $step, $n, $m),)*
            _ => unreachable!("a register tile holds at most {:?} blocks", [$($n),*]),
        }
    };
    (@step $pixels:ident, $step:ident, $n:literal, $m:tt) => {
        match $step {
            64 => kernels!(@pixels $pixels, 64, $n, $m),
            128 => kernels!(@pixels $pixels, 128, $n, $m),
            // Three colours at stride 2.
            6 => kernels!(@pixels $pixels, 6, $n, $m),
            _ => kernels!(@pixels $pixels, 0, $n, $m),
        }
    };
    (@pixels $pixels:ident, $step:literal, $n:literal, [$($m:literal)*]) => {
        match $pixels {
            $($m => entry::<$m, $n, $step> as TileFn,)*
            _ => unreachable!("a register tile holds at most {:?} pixels", [$($m),*]),
        }
    };
}

// Of 32 registers 28 hold sums, two weights, one the broadcast input.
#[cfg(target_arch = "x86_64")]
kernels!(avx512_vnni, x86::Vnni, #[target_feature(enable = "avx512f,avx512bw,avx512vnni")],
    mr: 14 [1 2 3 4 5 6 7 8 9 10 11 12 13 14], nr: 2 [1 2]);

// Of 16 registers 12 hold sums, two weights, one the broadcast input.
#[cfg(target_arch = "x86_64")]
kernels!(avx_vnni, x86::Avx2<true>, #[target_feature(enable = "avx2,fma,avxvnni")],
    mr: 6 [1 2 3 4 5 6], nr: 1 [1]);

// Of 16 registers 8 hold sums, four weights, two the broadcast input, one the products.
#[cfg(target_arch = "x86_64")]
kernels!(avx2, x86::Avx2<false>, #[target_feature(enable = "avx2,fma")], mr: 4 [1 2 3 4], nr: 1 [1]);

kernels!(portable, simd::Portable, , mr: 2 [1 2], nr: 1 [1]);

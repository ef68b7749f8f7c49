//! Compiles every kernel once for each instruction set and picks at run time.

use crate::attention::kernels::{
    RowDots, ScaleRows, Softmax, SoftmaxGradient, row_dots, scale_rows, softmax, softmax_gradient,
};
use crate::depthwise::row::{DepthwiseRow, DepthwiseRowFn, depthwise_row};
use crate::depthwise::sums::{DepthwiseSums, DepthwiseSumsFn, depthwise_sums};
use crate::elementwise::{Affine, Moments, NormGradient, affine, moments, norm_gradient};
use crate::functions::{Apply, ApplyGradient, apply, apply_gradient};
use crate::isa::Isa;
use crate::layer_norm::kernels::{PixelNorm, PixelNormGradient, pixel_norm, pixel_norm_gradient};
use crate::outer::{Outer, OuterFn, outer};
use crate::pool::kernels::{PoolGradient, PoolRow, pool_gradient, pool_row};
use crate::simd;
use crate::tile::{Tile, TileFn, tile};
use crate::transpose::{Columns, Square, lines_to_rows, rows_to_lines, square};
use crate::winograd::adjoint::{FilterTile, GradientTile, filter_tile, gradient_tile};
use crate::winograd::transform::{
    InputTile, OutputTile, WeightTile, input_tile, output_tile, weight_tile,
};

/// The kernels of one instruction set.
pub(crate) struct Kernels {
    /// Most pixels of a register tile.
    pub mr: usize,
    /// Most blocks of output channels of a register tile.
    pub nr: usize,
    tile: fn(usize, usize, usize) -> TileFn,
    /// Neighbouring input values, and blocks of output channels, of a register tile of weight gradients.
    pub outer_rows: usize,
    pub outer_blocks: usize,
    outer: fn(usize) -> OuterFn,
    depthwise_row: fn(usize, usize) -> DepthwiseRowFn,
    depthwise_sums: fn(usize, usize) -> (DepthwiseSumsFn, usize),
    pub rows_to_lines: unsafe fn(&Columns<'_>),
    pub lines_to_rows: unsafe fn(&Columns<'_>),
    /// Kernels for filters of 3x3, and of 4x4.
    pub winograd_weight: [unsafe fn(&WeightTile<'_>); 2],
    pub winograd_input: unsafe fn(&InputTile),
    /// Kernels for filters of 3x3, and of 4x4.
    pub winograd_output: [unsafe fn(&OutputTile); 2],
    pub winograd_gradient: unsafe fn(&GradientTile),
    pub winograd_filter: unsafe fn(&mut FilterTile<'_>),
    pub pool_row: unsafe fn(&PoolRow),
    pub pool_gradient: unsafe fn(&PoolGradient),
    pub moments: unsafe fn(&mut Moments<'_>),
    pub affine: unsafe fn(&mut Affine<'_>),
    pub apply: unsafe fn(&Apply),
    pub apply_gradient: unsafe fn(&ApplyGradient),
    pub norm_gradient: unsafe fn(&mut NormGradient<'_>),
    pub pixel_norm: unsafe fn(&PixelNorm<'_>),
    pub pixel_norm_gradient: unsafe fn(&mut PixelNormGradient<'_>),
    pub softmax: unsafe fn(&Softmax),
    pub softmax_gradient: unsafe fn(&SoftmaxGradient),
    pub scale_rows: unsafe fn(&ScaleRows),
    pub row_dots: unsafe fn(&RowDots),
    pub square: unsafe fn(&Square),
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

    /// Returns the micro-kernel for `pixels` x `blocks` whose input pixels lie `stride` values apart.
    pub fn tile(&self, pixels: usize, blocks: usize, stride: usize) -> TileFn {
        (self.tile)(pixels, blocks, stride)
    }

    /// Returns the micro-kernel of depthwise convolutions for rows of `taps` taps.
    pub fn depthwise_row(&self, taps: usize, stride: usize) -> DepthwiseRowFn {
        (self.depthwise_row)(taps, stride)
    }

    /// Returns the micro-kernel of depthwise weight gradients for rows of `taps` taps, and how many of them it takes
    /// at a time.
    pub fn depthwise_sums(&self, taps: usize, stride: usize) -> (DepthwiseSumsFn, usize) {
        (self.depthwise_sums)(taps, stride)
    }

    /// Returns the micro-kernel of weight gradients for `outer_rows` x `blocks`.
    pub fn outer(&self, blocks: usize) -> OuterFn {
        (self.outer)(blocks)
    }
}

macro_rules! kernels {
    ($isa:ident, $simd:ty, $(#[$feature:meta])?, mr: $mr:literal [$($m:literal)*], nr: $nr:literal [$($n:literal)*],
        outer: $r:literal, depthwise: $p:literal, sums: [$s3:literal $s5:literal $s7:literal]) => {
        mod $isa {
            use super::*;

            pub(super) static KERNELS: Kernels = Kernels {
                mr: $mr,
                nr: $nr,
                tile: select,
                outer_rows: $r,
                outer_blocks: $nr,
                outer: select_outer,
                depthwise_row: select_depthwise,
                depthwise_sums: select_sums,
                rows_to_lines: to_lines,
                lines_to_rows: to_rows,
                winograd_weight: [weight_entry::<3>, weight_entry::<4>],
                winograd_input,
                winograd_output: [output_entry::<4>, output_entry::<3>],
                winograd_gradient,
                winograd_filter,
                pool_row: pool,
                pool_gradient: pool_back,
                moments: sums,
                affine: scale_shift,
                apply: apply_entry,
                apply_gradient: apply_back,
                norm_gradient: norm_back,
                pixel_norm: pixel_norm_entry,
                pixel_norm_gradient: pixel_norm_back,
                softmax: softmax_entry,
                softmax_gradient: softmax_back,
                scale_rows: scale_rows_entry,
                row_dots: row_dots_entry,
                square: square_entry,
            };

            kernels!(@entry tile_entry<MR, NR, STRIDE>, tile, &Tile, $simd, $(#[$feature])?);
            kernels!(@entry outer_entry<R, NR>, outer, &Outer, $simd, $(#[$feature])?);
            kernels!(@entry depthwise_entry<K, STRIDE, R>, depthwise_row, &DepthwiseRow, $simd, $(#[$feature])?);
            kernels!(@entry sums_entry<K, STRIDE, SETS>, depthwise_sums, &DepthwiseSums, $simd, $(#[$feature])?);
            kernels!(@entry to_lines, rows_to_lines, &Columns<'_>, $simd, $(#[$feature])?);
            kernels!(@entry to_rows, lines_to_rows, &Columns<'_>, $simd, $(#[$feature])?);
            kernels!(@entry weight_entry<R>, weight_tile, &WeightTile<'_>, $simd, $(#[$feature])?);
            kernels!(@entry winograd_gradient, gradient_tile, &GradientTile, $simd, $(#[$feature])?);
            kernels!(@entry winograd_filter, filter_tile, &mut FilterTile<'_>, $simd, $(#[$feature])?);
            kernels!(@entry pool_back, pool_gradient, &PoolGradient, $simd, $(#[$feature])?);
            kernels!(@entry sums, moments, &mut Moments<'_>, $simd, $(#[$feature])?);
            kernels!(@entry scale_shift, affine, &mut Affine<'_>, $simd, $(#[$feature])?);
            kernels!(@entry apply_entry, apply, &Apply, $simd, $(#[$feature])?);
            kernels!(@entry apply_back, apply_gradient, &ApplyGradient, $simd, $(#[$feature])?);
            kernels!(@entry norm_back, norm_gradient, &mut NormGradient<'_>, $simd, $(#[$feature])?);
            kernels!(@entry pixel_norm_entry, pixel_norm, &PixelNorm<'_>, $simd, $(#[$feature])?);
            kernels!(@entry pixel_norm_back, pixel_norm_gradient, &mut PixelNormGradient<'_>, $simd, $(#[$feature])?);
            kernels!(@entry softmax_entry, softmax, &Softmax, $simd, $(#[$feature])?);
            kernels!(@entry softmax_back, softmax_gradient, &SoftmaxGradient, $simd, $(#[$feature])?);
            kernels!(@entry scale_rows_entry, scale_rows, &ScaleRows, $simd, $(#[$feature])?);
            kernels!(@entry row_dots_entry, row_dots, &RowDots, $simd, $(#[$feature])?);
            kernels!(@entry square_entry, square, &Square, $simd, $(#[$feature])?);
            kernels!(@entry winograd_input, input_tile, &InputTile, $simd, $(#[$feature])?);
            kernels!(@entry output_entry<M>, output_tile, &OutputTile, $simd, $(#[$feature])?);
            kernels!(@entry pool, pool_row, &PoolRow, $simd, $(#[$feature])?);

            fn select_outer(blocks: usize) -> OuterFn {
                match blocks {
                    $($n => outer_entry::<$r, $n> as OuterFn,)*
                    _ => unreachable!("a register tile holds at most {:?} blocks", [$($n),*]),
                }
            }

            fn select_depthwise(taps: usize, stride: usize) -> DepthwiseRowFn {
                match (taps, stride) {
                    (2, 1) => depthwise_entry::<2, 1, $p>,
                    (3, 1) => depthwise_entry::<3, 1, $p>,
                    (4, 1) => depthwise_entry::<4, 1, $p>,
                    (5, 1) => depthwise_entry::<5, 1, $p>,
                    (7, 1) => depthwise_entry::<7, 1, $p>,
                    (3, 2) => depthwise_entry::<3, 2, $p>,
                    (5, 2) => depthwise_entry::<5, 2, $p>,
                    (7, 2) => depthwise_entry::<7, 2, $p>,
                    (_, 1) => depthwise_entry::<0, 1, $p>,
                    (_, 2) => depthwise_entry::<0, 2, $p>,
                    _ => unreachable!("no depthwise kernel of stride {stride}"),
                }
            }

            fn select_sums(taps: usize, stride: usize) -> (DepthwiseSumsFn, usize) {
                match (taps, stride) {
                    (3, 1) => (sums_entry::<3, 1, $s3>, 3),
                    (5, 1) => (sums_entry::<5, 1, $s5>, 5),
                    (7, 1) => (sums_entry::<7, 1, $s7>, 7),
                    (3, 2) => (sums_entry::<3, 2, $s3>, 3),
                    (5, 2) => (sums_entry::<5, 2, $s5>, 5),
                    (7, 2) => (sums_entry::<7, 2, $s7>, 7),
                    (_, 1) => (sums_entry::<1, 1, 4>, 1),
                    (_, 2) => (sums_entry::<1, 2, 4>, 1),
                    _ => unreachable!("no depthwise kernel of stride {stride}"),
                }
            }

            fn select(pixels: usize, blocks: usize, stride: usize) -> TileFn {
                kernels!(@blocks blocks, pixels, stride, [$($n)*], [$($m)*])
            }
        }
    };
    (@entry $name:ident $(<$($g:ident),*>)?, $generic:ident, $args:ty, $simd:ty, $(#[$feature:meta])?) => {
        /// # Safety
        /// The machine has the instruction set, and the pointers in `args` are valid.
        $(#[$feature])?
        unsafe fn $name $(<$(const $g: usize),*>)? (args: $args) {
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
    mr: 14 [1 2 3 4 5 6 7 8 9 10 11 12 13 14], nr: 2 [1 2], outer: 8,
    depthwise: 8, sums: [3 2 2]);

// Of 16 registers 12 hold sums (a block is two registers wide), two weights, one the broadcast input.
#[cfg(target_arch = "x86_64")]
kernels!(avx2, simd::Avx2, #[target_feature(enable = "avx2,fma")],
    mr: 6 [1 2 3 4 5 6], nr: 1 [1], outer: 4, depthwise: 4, sums: [2 1 1]);

// A block is four registers wide: 24 of AArch64's 32 registers hold sums, 8 of SSE2's 16.
#[cfg(not(target_arch = "x86_64"))]
kernels!(portable, simd::Portable, , mr: 6 [1 2 3 4 5 6], nr: 1 [1], outer: 4,
    depthwise: 4, sums: [1 1 1]);
#[cfg(target_arch = "x86_64")]
kernels!(portable, simd::Portable, , mr: 2 [1 2], nr: 1 [1], outer: 2, depthwise: 2, sums: [1 1 1]);

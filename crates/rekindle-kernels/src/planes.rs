//! Passes over the planes of feature maps: sixteen channels of one picture each.

use crate::activation::Activation;
use crate::line::{LANES, Line};
use rayon::prelude::*;

/// Pixels that are summed in f32 before the sum goes into an f64.
const RUN: usize = 256;

/// Two sums of sixteen channels for each plane.
pub(crate) struct PlaneSums {
    sums: Vec<[[f64; LANES]; 2]>,
    blocks: usize,
}

impl PlaneSums {
    /// Returns the two sums of a channel of one picture.
    pub fn of_picture(&self, picture: usize, channel: usize) -> (f64, f64) {
        let sums = &self.sums[picture * self.blocks + channel / LANES];
        (sums[0][channel % LANES], sums[1][channel % LANES])
    }

    /// Sums over all pictures, in order, so that the number of threads changes nothing.
    pub fn channel(&self, channel: usize) -> (f64, f64) {
        let (block, lane) = (channel / LANES, channel % LANES);
        let planes = self.sums.iter().skip(block).step_by(self.blocks);
        planes.fold((0.0, 0.0), |(a, b), sums| {
            (a + sums[0][lane], b + sums[1][lane])
        })
    }
}

/// Calls `run(plane, first line, lines, sums)` for short runs of pixels and adds their sums up in f64.
pub(crate) fn sums_by_plane(
    [n, _, h, w]: [usize; 4],
    blocks: usize,
    run: impl Fn(usize, usize, usize, &mut [Line; 2]) + Sync,
) -> PlaneSums {
    let pixels = h * w;
    let plane = |plane: usize| {
        let mut totals = [[0.0; LANES]; 2];
        for from in (0..pixels).step_by(RUN) {
            let mut sums = [Line::ZERO; 2];
            run(
                plane,
                plane * pixels + from,
                RUN.min(pixels - from),
                &mut sums,
            );
            for (totals, sums) in totals.iter_mut().zip(sums) {
                for (total, sum) in totals.iter_mut().zip(sums.0) {
                    *total += f64::from(sum);
                }
            }
        }
        totals
    };
    PlaneSums {
        sums: (0..n * blocks).into_par_iter().map(plane).collect(),
        blocks,
    }
}

/// Calls `run(plane, first line, lines)` for every plane.
pub(crate) fn for_each_plane(x: &Activation, run: impl Fn(usize, usize, usize) + Sync) {
    let [n, _, h, w] = x.shape();
    (0..n * x.blocks())
        .into_par_iter()
        .for_each(|plane| run(plane, plane * h * w, h * w));
}

//! The forward pass of attention.

use super::kernels::{ScaleRows, Softmax};
use super::product::{Product, pack_by_channel, pack_by_token};
use super::{LogSumExp, Part, Plan};
use crate::activation::Activation;
use crate::buffer::{AlignedVec, SendPtr, with_scratch};
use crate::line::{LANES, Line};
use crate::tile::pieces;
use rayon::prelude::*;

/// Computes the outputs of all heads, and the logarithms. Shapes have been checked.
pub(super) fn forward(plan: &Plan, qkv: &Activation) -> (Activation, LogSumExp) {
    let [n, _, h, w] = qkv.shape();
    let heads = n * plan.heads;
    let mut y = Activation::uninit([n, plan.heads * plan.blocks * LANES, h, w]);
    let mut logs = AlignedVec::zeros(heads * plan.tokens);
    if plan.tokens > 0 {
        let out = [y.send_ptr(), SendPtr::new(logs.as_mut_slice().as_mut_ptr())];
        let tiles: Vec<_> = pieces(plan.tokens, plan.queries).collect();
        // A query's result does not depend on how queries are cut.
        let parts = (2 * rayon::current_num_threads()).div_ceil(heads.max(1));
        let parts = parts.clamp(1, tiles.len());
        (0..heads * parts).into_par_iter().for_each(|task| {
            let (head, part) = (task / parts, task % parts);
            let tiles = &tiles[part * tiles.len() / parts..(part + 1) * tiles.len() / parts];
            let lines = 2 * plan.padded_lines() + plan.tile_lines();
            with_scratch(lines, |scratch| {
                compute(plan, qkv, head, tiles, scratch, out);
            });
        });
    }
    (y, LogSumExp { values: logs })
}

/// Computes some tiles of queries of one head.
fn compute(
    plan: &Plan,
    qkv: &Activation,
    head: usize,
    tiles: &[(usize, usize)],
    scratch: &mut [Line],
    [y, logs]: [SendPtr; 2],
) {
    let kernels = plan.kernels;
    let plane = plan.tokens * LANES;
    let (keys, rest) = scratch.split_at_mut(plan.padded_lines());
    let (values, tile) = rest.split_at_mut(plan.padded_lines());
    let of = |part| &qkv.lines()[plan.line(head, part)..][..plan.head_lines()];
    pack_by_channel(kernels, of(Part::Key), plan.tokens, keys);
    pack_by_token(kernels, of(Part::Value), plan.tokens, values);
    let queries = of(Part::Query).as_ptr().cast::<f32>();
    let y = y.get().wrapping_add(head * plan.head_lines() * LANES);
    let tile = tile.as_mut_ptr().cast::<f32>();
    let mut inverse = vec![0.0; plan.queries];
    let next = head + 1;
    let ahead = |tile: usize, part| match tile {
        0 => plan.ahead(qkv, next, plan.line(next, part)),
        _ => &[],
    };
    for (i, &(first, count)) in tiles.iter().enumerate() {
        let groups = plan.seen_groups(first + count);
        let block_stride = count * LANES;
        let out = y.wrapping_add(first * LANES);
        let products = Product {
            kernels,
            a: queries.wrapping_add(first * LANES),
            a_block: plane,
            rows: count,
            terms: plan.blocks,
            panels: keys,
            panel_terms: plan.blocks * LANES,
            panel_blocks: plan.groups,
            blocks: groups,
            out: tile,
            out_block: block_stride,
            ahead: ahead(i, Part::Key),
        };
        let softmax = Softmax {
            tile,
            block_stride,
            blocks: groups,
            queries: count,
            seen: plan.seen(first),
            scale: plan.scale,
            inverse: inverse.as_mut_ptr(),
            logs: logs.get().wrapping_add(head * plan.tokens + first),
        };
        let sums = Product {
            a: tile,
            a_block: block_stride,
            terms: groups,
            panels: values,
            panel_terms: plan.groups * LANES,
            panel_blocks: plan.blocks,
            blocks: plan.blocks,
            out,
            out_block: plane,
            ahead: ahead(i, Part::Value),
            ..products
        };
        let normalise = ScaleRows {
            values: out,
            block_stride: plane,
            blocks: plan.blocks,
            rows: count,
            factors: inverse.as_ptr(),
        };
        // SAFETY: the tile holds all keys of these queries, the panels are packed for both products, and no other task has
        // these queries of this head.
        unsafe {
            products.run();
            (kernels.softmax)(&softmax);
            sums.run();
            (kernels.scale_rows)(&normalise);
        }
    }
}

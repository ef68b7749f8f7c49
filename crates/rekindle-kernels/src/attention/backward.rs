//! The gradient of attention.
//!
//! With `p` the probabilities of a head and `s` its scaled products:
//! `dv = pᵀ dy`, `dp = dy vᵀ`, `ds = p * (dp - sum over keys of p * dp)`, `dq = ds k`, `dk = dsᵀ q`, where the sum over keys
//! is that of `y * dy` over the head's channels.

use super::kernels::{RowDots, SoftmaxGradient};
use super::product::{Adjoint, Product, pack_by_channel, pack_by_token};
use super::{LogSumExp, Part, Plan};
use crate::activation::Activation;
use crate::buffer::{Buffer, SendPtr, with_scratch};
use crate::line::{LANES, Line};
use crate::tile::pieces;
use rayon::prelude::*;

/// Pieces of work to cut into, so that many threads find some.
const TASKS: usize = 16;

/// Inputs of the backward pass, and the destination of the gradient.
struct Pass<'a> {
    plan: &'a Plan,
    qkv: &'a Activation,
    y: &'a Activation,
    lse: &'a LogSumExp,
    dy: &'a Activation,
    out: SendPtr,
}

/// Computes the gradient by `qkv`. Shapes have been checked.
pub(super) fn backward(
    plan: &Plan,
    qkv: &Activation,
    y: &Activation,
    lse: &LogSumExp,
    dy: &Activation,
) -> Activation {
    let mut gradient = Activation::uninit(qkv.shape());
    let heads = plan.pictures * plan.heads;
    if heads * plan.tokens == 0 {
        return gradient;
    }
    let pass = Pass {
        plan,
        qkv,
        y,
        lse,
        dy,
        out: gradient.send_ptr(),
    };
    let tiles: Vec<_> = pieces(plan.tokens, plan.queries).collect();
    // Every query adds to the gradients of all keys: where few heads leave threads idle, parts of the queries have sums of
    // their own. How many depends on the shapes only.
    let parts = TASKS.div_ceil(heads).clamp(1, tiles.len());
    let per_head = 2 * plan.padded_lines();
    if parts == 1 {
        (0..heads).into_par_iter().for_each(|head| {
            with_scratch(per_head + pass.scratch(), |scratch| {
                let (sums, scratch) = scratch.split_at_mut(per_head);
                pass.compute(head, &tiles, sums, scratch);
                pass.write(head, sums);
            });
        });
        return gradient;
    }
    let mut sums = Buffer::new(heads * parts * per_head);
    let pieces = sums.lines_mut().par_chunks_exact_mut(per_head).enumerate();
    pieces.for_each(|(task, sums)| {
        let (head, part) = (task / parts, task % parts);
        let tiles = &tiles[part * tiles.len() / parts..(part + 1) * tiles.len() / parts];
        with_scratch(pass.scratch(), |scratch| {
            pass.compute(head, tiles, sums, scratch);
        });
    });
    let pieces = sums.lines_mut().par_chunks_exact_mut(parts * per_head);
    pieces.enumerate().for_each(|(head, sums)| {
        let (sums, others) = sums.split_at_mut(per_head);
        for other in others.chunks_exact(per_head) {
            for (sum, other) in sums.iter_mut().zip(other) {
                sum.0.iter_mut().zip(other.0).for_each(|(s, o)| *s += o);
            }
        }
        pass.write(head, sums);
    });
    gradient
}

impl Pass<'_> {
    /// Counts the lines of scratch of a task beside its sums.
    fn scratch(&self) -> usize {
        3 * self.plan.padded_lines() + 2 * self.plan.tile_lines()
    }

    /// Writes the gradient by some queries of one head, and the sums over these of the gradients by keys and by values:
    /// two times `[blocks, tokens, 16]`, padded to a multiple of sixteen tokens.
    fn compute(
        &self,
        head: usize,
        tiles: &[(usize, usize)],
        sums: &mut [Line],
        scratch: &mut [Line],
    ) {
        let plan = self.plan;
        let kernels = plan.kernels;
        let plane = plan.tokens * LANES;
        let padded = plan.padded_lines();
        let (keys, rest) = scratch.split_at_mut(padded);
        let (values, rest) = rest.split_at_mut(padded);
        let (key_tokens, rest) = rest.split_at_mut(padded);
        let (products, gradients) = rest.split_at_mut(plan.tile_lines());
        let of = |part| &self.qkv.lines()[plan.line(head, part)..][..plan.head_lines()];
        pack_by_channel(kernels, of(Part::Key), plan.tokens, keys);
        pack_by_channel(kernels, of(Part::Value), plan.tokens, values);
        pack_by_token(kernels, of(Part::Key), plan.tokens, key_tokens);
        sums.fill(Line::ZERO);
        let [by_key, by_value] = {
            let (by_key, by_value) = sums.split_at_mut(padded);
            [by_key, by_value].map(|lines| lines.as_mut_ptr().cast::<f32>())
        };
        let [products, gradients] =
            [products, gradients].map(|lines| lines.as_mut_ptr().cast::<f32>());
        let queries = of(Part::Query).as_ptr().cast::<f32>();
        let by_query = self.out.get();
        let by_query = by_query.wrapping_add(plan.line(head, Part::Query) * LANES);
        let at = head * plan.head_lines() * LANES;
        let (y, dy) = (self.y.as_ptr(), self.dy.as_ptr());
        let (y, dy) = (y.wrapping_add(at), dy.wrapping_add(at));
        let mut deltas = vec![0.0; plan.queries];
        let next = head + 1;
        let ahead = |tile: usize, part| match tile {
            0 => plan.ahead(self.qkv, next, plan.line(next, part)),
            _ => &[],
        };
        for (i, &(first, count)) in tiles.iter().enumerate() {
            let (groups, line) = (plan.seen_groups(first + count), first * LANES);
            let block_stride = count * LANES;
            let dots = RowDots {
                a: y.wrapping_add(line),
                b: dy.wrapping_add(line),
                block_stride: plane,
                blocks: plan.blocks,
                rows: count,
                out: deltas.as_mut_ptr(),
            };
            let product = Product {
                kernels,
                a: queries.wrapping_add(line),
                a_block: plane,
                rows: count,
                terms: plan.blocks,
                panels: keys,
                panel_terms: plan.blocks * LANES,
                panel_blocks: plan.groups,
                blocks: groups,
                out: products,
                out_block: block_stride,
                ahead: ahead(i, Part::Key),
            };
            let gradient = Product {
                a: dy.wrapping_add(line),
                panels: values,
                out: gradients,
                ahead: ahead(i, Part::Value),
                ..product
            };
            let softmax = SoftmaxGradient {
                products,
                gradients,
                block_stride,
                blocks: groups,
                queries: count,
                seen: plan.seen(first),
                scale: plan.scale,
                logs: self.lse[head * plan.tokens + first..].as_ptr(),
                deltas: deltas.as_ptr(),
            };
            let dq = Product {
                a: gradients,
                a_block: block_stride,
                terms: groups,
                panels: key_tokens,
                panel_terms: plan.groups * LANES,
                panel_blocks: plan.blocks,
                blocks: plan.blocks,
                out: by_query.wrapping_add(line),
                out_block: plane,
                ahead: match i {
                    0 => plan.ahead(self.dy, next, next * plan.head_lines()),
                    _ => &[],
                },
                ..product
            };
            let dv = Adjoint {
                kernels,
                a: products,
                a_block: block_stride,
                columns: groups,
                b: dy.wrapping_add(line),
                b_block: plane,
                channels: plan.blocks,
                rows: count,
                out: by_value,
                out_block: plan.groups * LANES * LANES,
            };
            let dk = Adjoint {
                a: gradients,
                b: queries.wrapping_add(line),
                out: by_key,
                ..dv
            };
            // SAFETY: both tiles hold all keys of these queries, the panels are packed for their products, the sums have a
            // line for each key and block, and no other task has these queries of this head or these sums.
            unsafe {
                (kernels.row_dots)(&dots);
                product.run();
                gradient.run();
                (kernels.softmax_gradient)(&softmax);
                dq.run();
                dv.run();
                dk.run();
            }
        }
    }

    /// Copies the sums of a head to the gradients by its keys and values.
    fn write(&self, head: usize, sums: &[Line]) {
        let plan = self.plan;
        let by_part = sums.chunks_exact(plan.padded_lines());
        for (part, sums) in [Part::Key, Part::Value].into_iter().zip(by_part) {
            let at = self.out.get().cast::<Line>();
            let at = at.wrapping_add(plan.line(head, part));
            // SAFETY: the gradient has so many lines from there on, and each task has its own head.
            let out = unsafe { std::slice::from_raw_parts_mut(at, plan.head_lines()) };
            let planes = sums.chunks_exact(plan.groups * LANES);
            for (out, sums) in out.chunks_exact_mut(plan.tokens).zip(planes) {
                out.copy_from_slice(&sums[..plan.tokens]);
            }
        }
    }
}

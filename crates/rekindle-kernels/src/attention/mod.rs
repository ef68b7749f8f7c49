//! Multi-head self-attention on feature maps whose pixels are tokens.
//!
//! Vaswani et al., "Attention Is All You Need" (2017), in tiles as by Dao et al., "FlashAttention" (2022): a task is some
//! queries of one head of one image. It holds the products of a few queries with all keys, which fit into the second-level
//! cache, and never the matrix of all pairs; backward, the probabilities are computed again. A tile lies in memory as a
//! feature map does, its queries being pixels and its keys channels, so that all six products are those of a 1x1
//! convolution and its gradients, by the same micro-kernels.

mod backward;
mod forward;
pub(crate) mod kernels;
mod product;

use crate::activation::Activation;
use crate::buffer::AlignedVec;
use crate::dispatch::Kernels;
use crate::error::{KernelError, check_isa, check_len};
use crate::isa::Isa;
use crate::line::{LANES, Line};
use kernels::Seen;

/// Bytes of a tile, about.
const TILE_BYTES: usize = 160 << 10;
/// Lines of a head's part up to which the next head's parts are fetched meanwhile: longer ones would push those in use out of
/// the cache, and need it less, since their products take longer by the square.
const MOST_AHEAD: usize = 2 << 10;
/// Queries of a tile at most.
const MOST_QUERIES: usize = 60;

/// Multi-head self-attention: `softmax(q kᵀ / sqrt(head_dim)) v` for each head.
///
/// ```
/// use rekindle_kernels::{Activation, Attention, Isa};
///
/// let attention = Attention { heads: 2, head_dim: 16, is_causal: false };
/// let qkv = Activation::zeros([1, 3 * 2 * 16, 1, 5]);
/// let (y, lse) = attention.forward(Isa::detect(), &qkv)?;
/// assert_eq!(y.shape(), [1, 2 * 16, 1, 5]);
/// // Five equal exponentials of zero.
/// assert!((lse[0] - 5f32.ln()).abs() < 1e-6);
/// # Ok::<(), rekindle_kernels::KernelError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attention {
    /// Heads, each with channels of its own.
    pub heads: usize,
    /// Channels of a head, a multiple of 16.
    pub head_dim: usize,
    /// Lets a token see only itself and those before it, in row-major order of pixels.
    pub is_causal: bool,
}

/// The logarithm of each query's sum of exponentials, `[batch, heads, tokens]`: read as a slice, and what
/// [`Attention::backward`] computes probabilities from.
#[derive(Clone, Debug)]
pub struct LogSumExp {
    values: AlignedVec,
}

impl std::ops::Deref for LogSumExp {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values
    }
}

impl Attention {
    /// Computes attention of `qkv`, `[batch, 3 * heads * head_dim, height, width]`: the channels of all queries, then of
    /// all keys, then of all values, each head by head (the order of PyTorch's `in_proj_weight` and timm's `attn.qkv`).
    ///
    /// Returns `[batch, heads * head_dim, height, width]`, and what [`backward`](Self::backward) needs beside it.
    pub fn forward(
        &self,
        isa: Isa,
        qkv: &Activation,
    ) -> Result<(Activation, LogSumExp), KernelError> {
        self.check(isa, qkv)?;
        Ok(forward::forward(&self.plan(isa, qkv.shape()), qkv))
    }

    /// Computes the gradient by `qkv` for `dy`, the gradient by the output `y` of [`forward`](Self::forward), which gave
    /// `lse` beside it.
    pub fn backward(
        &self,
        isa: Isa,
        qkv: &Activation,
        y: &Activation,
        lse: &LogSumExp,
        dy: &Activation,
    ) -> Result<Activation, KernelError> {
        self.check(isa, qkv)?;
        let [n, _, h, w] = qkv.shape();
        let shape = [n, self.heads * self.head_dim, h, w];
        y.check_shape("the output", shape)?;
        dy.check_shape("the gradient", shape)?;
        check_len("the logarithms", lse.len(), &[n, self.heads, h, w])?;
        let plan = self.plan(isa, qkv.shape());
        Ok(backward::backward(&plan, qkv, y, lse, dy))
    }

    fn check(&self, isa: Isa, qkv: &Activation) -> Result<(), KernelError> {
        check_isa(isa)?;
        let &Self {
            heads, head_dim, ..
        } = self;
        if heads == 0 || head_dim == 0 || !head_dim.is_multiple_of(LANES) {
            return Err(KernelError::InvalidLayer(format!(
                "attention needs at least one head, of a multiple of {LANES} channels, found {heads} of {head_dim}"
            )));
        }
        let expected = heads.saturating_mul(head_dim).saturating_mul(3);
        let found = qkv.shape()[1];
        if found != expected {
            return Err(KernelError::WrongChannels { found, expected });
        }
        Ok(())
    }

    /// Shapes have been checked.
    fn plan(&self, isa: Isa, [pictures, _, h, w]: [usize; 4]) -> Plan {
        let kernels = Kernels::of(isa);
        let tokens = h * w;
        let groups = tokens.div_ceil(LANES);
        let fit = TILE_BYTES / (groups.max(1) * size_of::<Line>());
        let queries = (fit.min(MOST_QUERIES) / kernels.mr).max(1) * kernels.mr;
        Plan {
            kernels,
            heads: self.heads,
            blocks: self.head_dim / LANES,
            is_causal: self.is_causal,
            scale: 1.0 / (self.head_dim as f32).sqrt(),
            pictures,
            tokens,
            groups,
            queries,
        }
    }
}

/// The sizes of one pass.
struct Plan {
    kernels: &'static Kernels,
    heads: usize,
    /// Blocks of channels of a head.
    blocks: usize,
    is_causal: bool,
    scale: f32,
    pictures: usize,
    tokens: usize,
    /// Sixteens of tokens, the last perhaps not full.
    groups: usize,
    /// Queries of a tile at most.
    queries: usize,
}

/// Queries, keys or values within `qkv`.
#[derive(Clone, Copy)]
enum Part {
    Query,
    Key,
    Value,
}

impl Plan {
    /// Returns the first line of a head's `part` of `qkv`, where `head` counts through all images.
    fn line(&self, head: usize, part: Part) -> usize {
        let (picture, head) = (head / self.heads, head % self.heads);
        ((picture * 3 + part as usize) * self.heads + head) * self.head_lines()
    }

    /// Returns the lines of a head from the `first` of `map` on; none where there is no such head, or too many lines to fetch
    /// them ahead.
    fn ahead<'a>(&self, map: &'a Activation, head: usize, first: usize) -> &'a [Line] {
        let lines = self.head_lines();
        match head < self.pictures * self.heads && lines <= MOST_AHEAD {
            true => &map.lines()[first..][..lines],
            false => &[],
        }
    }

    /// Counts the lines of one head's queries, keys, values or outputs.
    fn head_lines(&self) -> usize {
        self.blocks * self.tokens
    }

    /// Counts the same for a multiple of sixteen tokens.
    fn padded_lines(&self) -> usize {
        self.blocks * self.groups * LANES
    }

    /// Counts the lines of a tile.
    fn tile_lines(&self) -> usize {
        self.groups * self.queries
    }

    /// Tells which keys each query from `first` on sees.
    fn seen(&self, first: usize) -> Seen {
        let (first, step) = match self.is_causal {
            true => (first + 1, 1),
            false => (self.tokens, 0),
        };
        Seen {
            first,
            step,
            keys: self.tokens,
        }
    }

    /// Counts the sixteens of keys that some query before `end` sees.
    fn seen_groups(&self, end: usize) -> usize {
        if self.is_causal {
            end.div_ceil(LANES)
        } else {
            self.groups
        }
    }
}

//! Operations without parameters.

use super::Builder;
use crate::GraphError;
use crate::graph::Value;
use crate::op::{Activation, Attention, Op, Pool2d};

impl Builder {
    /// Adds a function of each number.
    pub fn activation(&mut self, x: Value, activation: Activation) -> Value {
        self.add_op("act", Op::Activation(activation), vec![x])
    }

    /// Adds a ReLU.
    pub fn relu(&mut self, x: Value) -> Value {
        self.activation(x, Activation::Relu)
    }

    /// Adds a sum.
    pub fn add(&mut self, x: Value, y: Value) -> Value {
        self.add_op("add", Op::Add, vec![x, y])
    }

    /// Adds a difference, of `y` from `x`.
    pub fn sub(&mut self, x: Value, y: Value) -> Value {
        self.add_op("sub", Op::Sub, vec![x, y])
    }

    /// Adds a product of feature maps with others of their shape, or with a number per channel, `[batch, channels, 1, 1]`.
    pub fn mul(&mut self, x: Value, gate: Value) -> Value {
        self.add_op("mul", Op::Mul, vec![x, gate])
    }

    /// Adds a max pooling.
    pub fn max_pool(&mut self, x: Value, pool: Pool2d) -> Value {
        self.add_op("maxpool", Op::MaxPool(pool), vec![x])
    }

    /// Adds an average pooling that doesn't count its padding.
    pub fn avg_pool(&mut self, x: Value, pool: Pool2d) -> Value {
        self.add_op("avgpool", Op::AvgPool(pool), vec![x])
    }

    /// Adds an average over height and width that keeps both, as 1.
    pub fn global_avg_pool(&mut self, x: Value) -> Value {
        self.add_op("avgpool", Op::GlobalAvgPool, vec![x])
    }

    /// Adds a turn of feature maps into rows.
    pub fn flatten(&mut self, x: Value) -> Value {
        self.add_op("flatten", Op::Flatten, vec![x])
    }

    /// Adds an average over height and width, and turns it into rows: what most classifiers stand on.
    pub fn global_pool(&mut self, x: Value) -> Value {
        let x = self.global_avg_pool(x);
        self.flatten(x)
    }

    /// Adds a concatenation along the channels.
    pub fn concat(&mut self, parts: &[Value]) -> Value {
        self.add_op("concat", Op::Concat, parts.to_vec())
    }

    /// Adds a choice of `channels` channels from `start` on.
    pub fn slice(&mut self, x: Value, start: usize, channels: usize) -> Value {
        self.add_op("slice", Op::Slice { start, channels }, vec![x])
    }

    /// Adds an interleaving of groups of channels.
    pub fn channel_shuffle(&mut self, x: Value, groups: usize) -> Value {
        self.add_op("shuffle", Op::ChannelShuffle { groups }, vec![x])
    }

    /// Adds a dropout; none for a rate of zero.
    pub fn dropout(&mut self, x: Value, rate: f64) -> Value {
        match rate > 0.0 {
            true => self.add_op("drop", Op::Dropout { rate }, vec![x]),
            false => x,
        }
    }

    /// Adds a drop path behind a branch; none for a rate of zero.
    pub fn drop_path(&mut self, x: Value, rate: f64) -> Value {
        match rate > 0.0 {
            true => self.add_op("drop_path", Op::DropPath { rate }, vec![x]),
            false => x,
        }
    }

    /// Adds an attention of `heads` heads on what a linear layer gave for queries, keys and values.
    pub fn attention(&mut self, x: Value, heads: usize) -> Value {
        self.attend(x, heads, false)
    }

    /// Adds an [`attention`](Self::attention) in which a token sees only itself and those before it.
    pub fn causal_attention(&mut self, x: Value, heads: usize) -> Value {
        self.attend(x, heads, true)
    }

    fn attend(&mut self, x: Value, heads: usize, is_causal: bool) -> Value {
        let attention = Attention {
            channels: self.channels(x) / 3,
            heads,
            is_causal,
        };
        if heads == 0 || !attention.channels.is_multiple_of(heads) {
            let mistake = GraphError::Groups {
                node: self.full("attention"),
                in_channels: self.channels(x),
                out_channels: attention.channels,
                groups: heads,
            };
            return self.mistaken(x, mistake);
        }
        self.add_op("attention", Op::Attention(attention), vec![x])
    }

    /// Adds the choice of a token, as rows.
    pub fn token(&mut self, x: Value, index: usize) -> Value {
        self.add_op("token", Op::Token { index }, vec![x])
    }
}

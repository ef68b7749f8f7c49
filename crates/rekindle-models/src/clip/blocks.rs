//! Builds the transformer blocks that both towers consist of.

use rekindle_nn::{Activation, Builder, Value};

/// Channels of a head, in both towers.
pub(crate) const HEAD: usize = 64;

/// Adds a block of a transformer whose norms stand in front of its branches, under OpenAI's names; `rate` is that of its
/// drop path.
pub(super) fn block(
    b: &mut Builder,
    x: Value,
    activation: Activation,
    is_causal: bool,
    rate: f64,
) -> Value {
    let width = b.channels(x);
    let y = b.layer_norm("ln_1", x);
    let y = b.scope("attn", |b| {
        let y = b.linear_of(y, 3 * width, ["in_proj_weight", "in_proj_bias"]);
        let y = match is_causal {
            true => b.causal_attention(y, width / HEAD),
            false => b.attention(y, width / HEAD),
        };
        b.linear("out_proj", y, width)
    });
    let y = b.drop_path(y, rate);
    let x = b.add(y, x);
    let y = b.layer_norm("ln_2", x);
    let y = b.scope("mlp", |b| {
        let y = b.linear("c_fc", y, 4 * width);
        let y = b.activation(y, activation);
        b.linear("c_proj", y, width)
    });
    let y = b.drop_path(y, rate);
    b.add(y, x)
}

/// Adds blocks in at most four stages.
pub(super) fn blocks(
    b: &mut Builder,
    mut x: Value,
    count: usize,
    mut block: impl FnMut(&mut Builder, Value, usize) -> Value,
) -> Value {
    const STAGES: usize = 4;
    for first in (0..count).step_by(count.div_ceil(STAGES).max(1)) {
        let range = first..count.min(first + count.div_ceil(STAGES));
        let stage = format!("blocks{}-{}", range.start, range.end - 1);
        x = b.stage(stage, |b| {
            range.fold(x, |x, index| {
                let scope = format!("transformer.resblocks.{index}");
                b.scope(scope, |b| b.block(|b| block(b, x, index)))
            })
        });
    }
    x
}

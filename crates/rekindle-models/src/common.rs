//! Layers that several families have in common.

use std::fmt::Display;

use rekindle_nn::{Activation, Builder, Conv, Value};

use crate::Options;

/// Defines a public function per variant: it passes its name, its sizes and the options on to the family's function.
macro_rules! variants {
    ($family:ident: $($(#[$doc:meta])* $name:ident($($size:expr),* $(,)?);)*) => {$(
        $(#[$doc])*
        ///
        /// # Errors
        ///
        /// Those of [`Builder::finish`](rekindle_nn::Builder::finish), for options that don't fit.
        pub fn $name(options: &$crate::Options) -> Result<rekindle_nn::Graph, rekindle_nn::GraphError> {
            $family(stringify!($name), $($size,)* options)
        }
    )*};
}
pub(crate) use variants;

/// Begins a network.
pub(crate) fn begin(name: &str, options: &Options) -> Builder {
    Builder::new(name, options.in_channels)
}

/// Adds convolution, normalisation and perhaps activation under two names.
pub(crate) fn conv_norm(
    b: &mut Builder,
    [conv_name, norm_name]: [&str; 2],
    x: Value,
    conv: Conv,
    act: Option<Activation>,
) -> Value {
    let x = b.conv2d(conv_name, x, conv);
    let x = b.batch_norm(norm_name, x);
    act.map_or(x, |act| b.activation(x, act))
}

/// Adds torchvision's `Conv2dNormActivation`: `name.0` and `name.1`.
pub(crate) fn conv_norm_act(
    b: &mut Builder,
    name: impl Display,
    x: Value,
    conv: Conv,
    act: Option<Activation>,
) -> Value {
    b.scope(name, |b| conv_norm(b, ["0", "1"], x, conv, act))
}

/// Adds squeeze-and-excitation (Hu et al. 2018, <https://arxiv.org/abs/1709.01507>) under torchvision's names: the means
/// of the channels, through `squeeze` channels, scale the channels.
pub(crate) fn squeeze_excitation(
    b: &mut Builder,
    name: impl Display,
    x: Value,
    squeeze: usize,
    [act, gate]: [Activation; 2],
) -> Value {
    b.scope(name, |b| {
        let channels = b.channels(x);
        let s = b.global_avg_pool(x);
        let s = b.conv2d("fc1", s, Conv::new(squeeze, 1).bias());
        let s = b.activation(s, act);
        let s = b.conv2d("fc2", s, Conv::new(channels, 1).bias());
        let s = b.activation(s, gate);
        b.mul(x, s)
    })
}

/// Adds the shortcut where input and output have one shape, with a drop path on the branch.
pub(crate) fn shortcut(
    b: &mut Builder,
    x: Value,
    branch: Value,
    stride: usize,
    rate: f64,
) -> Value {
    if stride != 1 || b.channels(x) != b.channels(branch) {
        return branch;
    }
    let branch = b.drop_path(branch, rate);
    b.add(branch, x)
}

/// Rounds a number of channels to a multiple of 8, at most a tenth down.
pub(crate) fn make_divisible(channels: f64) -> usize {
    let rounded = ((channels + 4.0) as usize / 8 * 8).max(8);
    match (rounded as f64) < 0.9 * channels {
        true => rounded + 8,
        false => rounded,
    }
}

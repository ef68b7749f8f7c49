//! The operations that networks are built of.

use serde::{Deserialize, Serialize};

/// One operation of a network, with its sizes. Parameters are named by the [`Node`](crate::Node) that holds it.
///
/// An interpreter matches on it without a wildcard, so an operation that it can't run is seen when it is compiled.
/// Feature maps are `[batch, channels, height, width]`, rows `[batch, channels]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Op {
    /// Convolves feature maps; parameters `weight` `[out, in / groups, height, width]` and perhaps `bias` `[out]`.
    Conv2d(Conv2d),
    /// Normalises each channel (Ioffe and Szegedy 2015, <https://arxiv.org/abs/1502.03167>); `weight`, `bias`,
    /// `running_mean` and `running_var`, each `[channels]`.
    BatchNorm(BatchNorm),
    /// Applies a function to each number.
    Activation(Activation),
    /// Adds two values of one shape.
    Add,
    /// Subtracts the second of two values of one shape from the first.
    Sub,
    /// Multiplies feature maps by others of their shape, or by values `[batch, channels, 1, 1]`, repeated over height and
    /// width.
    Mul,
    /// Takes the largest number of each window; padding never wins.
    MaxPool(Pool2d),
    /// Averages each window, padding not counted.
    AvgPool(Pool2d),
    /// Averages over height and width: `[batch, channels, 1, 1]`.
    GlobalAvgPool,
    /// Turns feature maps into rows `[batch, channels * height * width]`.
    Flatten,
    /// Multiplies rows, or the channels of each pixel, by a matrix; `weight` `[out, in]`, or `[in, out]` where it is a
    /// [plain matrix](crate::TensorKind::PlainMatrix), and perhaps `bias` `[out]`.
    Linear(Linear),
    /// Normalises the channels of each pixel, or a row, by their own mean and deviation (Ba et al. 2016,
    /// <https://arxiv.org/abs/1607.06450>); `weight` and `bias` `[channels]`.
    LayerNorm(LayerNorm),
    /// Normalises each group of channels of an image by its own mean and deviation (Wu and He 2018,
    /// <https://arxiv.org/abs/1803.08494>); `weight` and `bias` `[channels]`. As many groups as channels are instance
    /// normalisation.
    GroupNorm(GroupNorm),
    /// Multiplies each channel by a number that is learnt (Touvron et al. 2021, <https://arxiv.org/abs/2103.17239>);
    /// `gamma`, `[channels]` or `[channels, 1, 1]`.
    LayerScale {
        /// Channels of input and output.
        channels: usize,
    },
    /// Lets the channels of an image compete by their norms over height and width (Woo et al. 2023,
    /// <https://arxiv.org/abs/2301.00808>): `x + bias + weight * x * n`, where `n` is a channel's norm over the mean of
    /// all; `weight` and `bias` `[channels]`.
    GlobalResponseNorm(LayerNorm),
    /// Turns a grid of patches into a row of tokens: maps `[batch, channels, 1, tokens]`. Tensors as [`Tokens`] says.
    Tokens(Tokens),
    /// Lets every token look at all others, or at itself and those before it (Vaswani et al. 2017, <https://arxiv.org/abs/1706.03762>): takes queries,
    /// keys and values one behind the other along the channels, head by head.
    Attention(Attention),
    /// Takes one token, as rows.
    Token {
        /// Its place.
        index: usize,
    },
    /// Takes the mean of all tokens from one on, as rows.
    TokenMean {
        /// The place of the first of them.
        start: usize,
    },
    /// Puts feature maps of one height and width, or rows, one behind the other, along the channels.
    Concat,
    /// Takes some of the channels.
    Slice {
        /// The first of them.
        start: usize,
        /// Their number.
        channels: usize,
    },
    /// Interleaves groups of channels (Zhang et al. 2018, <https://arxiv.org/abs/1707.01083>): channel `j` of group `i`
    /// becomes channel `i` of group `j`.
    ChannelShuffle {
        /// Number of groups.
        groups: usize,
    },
    /// Zeroes numbers at random in training and scales the others up; the identity in evaluation.
    Dropout {
        /// Share that is zeroed.
        rate: f64,
    },
    /// Zeroes whole images of a batch at random in training, on a branch with a shortcut (Huang et al. 2016,
    /// <https://arxiv.org/abs/1603.09382>); the identity in evaluation.
    DropPath {
        /// Share that is zeroed.
        rate: f64,
    },
}

/// Sizes of a convolution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Conv2d {
    /// Channels of the input.
    pub in_channels: usize,
    /// Channels of the output.
    pub out_channels: usize,
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps along height and width.
    pub stride: [usize; 2],
    /// Zeros around the input.
    pub padding: Padding,
    /// Distances between the kernel's numbers.
    pub dilation: [usize; 2],
    /// Groups of channels that don't see each other; as many as channels in a depthwise convolution.
    pub groups: usize,
    /// Adds a number per channel.
    pub has_bias: bool,
}

/// Sizes of a layer normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct LayerNorm {
    /// Channels of input and output.
    pub channels: usize,
    /// Added to the variance before the square root.
    pub epsilon: f64,
}

/// Sizes of a group normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct GroupNorm {
    /// Channels of input and output.
    pub channels: usize,
    /// Number of groups, which divides that of the channels.
    pub groups: usize,
    /// Added to the variance before the square root.
    pub epsilon: f64,
}

/// Sizes of an attention: `channels / heads` numbers per head, scaled by the root of their count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Attention {
    /// Channels of the output; the input has three times as many.
    pub channels: usize,
    /// Number of heads.
    pub heads: usize,
    /// Lets a token look only at itself and those before it.
    pub is_causal: bool,
}

/// Conversion of patches into tokens (Dosovitskiy et al. 2021, <https://arxiv.org/abs/2010.11929>).
///
/// Tensors are the class token `[1, 1, channels]` where there is one, the registers `[1, registers, channels]` where there are any, and the
/// positions `[1, positions, channels]`; class token and positions may lack the extents of 1. On another grid than that of the positions, these are resampled by a cubic filter
/// with antialiasing, as timm does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Tokens {
    /// Channels of a token.
    pub channels: usize,
    /// Tokens behind the class token that stand for no patch (Darcet et al. 2024, <https://arxiv.org/abs/2309.16588>).
    pub registers: usize,
    /// Rows and columns of the patches that positions are known for.
    pub grid: [usize; 2],
    /// The class token has a position of its own, the first.
    pub has_class_position: bool,
    /// There are patches alone, or behind registers, whose mean stands for the image.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lacks_class_token: bool,
}

impl Tokens {
    /// Returns the number of tokens in front of the patches.
    pub fn prefix(&self) -> usize {
        usize::from(!self.lacks_class_token) + self.registers
    }

    /// Returns the number of positions.
    pub fn positions(&self) -> usize {
        usize::from(self.has_class_position) + self.grid[0] * self.grid[1]
    }
}

/// Numbers around an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Padding {
    /// A fixed number on each side.
    Explicit {
        /// Above.
        top: usize,
        /// Padding to the left.
        left: usize,
        /// Below.
        bottom: usize,
        /// Padding to the right.
        right: usize,
    },
    /// As many as give `ceil(size / stride)`, the odd one below and to the right: TensorFlow's "same".
    Same,
}

impl Padding {
    /// Returns the same number on all sides.
    pub const fn all(count: usize) -> Self {
        Self::Explicit {
            top: count,
            left: count,
            bottom: count,
            right: count,
        }
    }

    /// Computes numbers before and behind, along height and width, for a window whose extents are `window` on an input
    /// of `size`.
    pub fn pairs(
        &self,
        size: [usize; 2],
        window: [usize; 2],
        stride: [usize; 2],
    ) -> [[usize; 2]; 2] {
        match *self {
            Self::Explicit {
                top,
                left,
                bottom,
                right,
            } => [[top, bottom], [left, right]],
            Self::Same => [0, 1].map(|axis| {
                let steps = size[axis].div_ceil(stride[axis].max(1));
                let covered = steps.saturating_sub(1) * stride[axis] + window[axis];
                let total = covered.saturating_sub(size[axis]);
                [total / 2, total - total / 2]
            }),
        }
    }
}

impl Conv2d {
    /// Returns a convolution that sees single pixels: a matrix of channels, or one per group.
    pub(crate) const fn of_pixels(
        [in_channels, out_channels]: [usize; 2],
        groups: usize,
        has_bias: bool,
    ) -> Self {
        Self {
            in_channels,
            out_channels,
            kernel: [1, 1],
            stride: [1, 1],
            padding: Padding::all(0),
            dilation: [1, 1],
            groups,
            has_bias,
        }
    }

    /// Computes the extents that a dilated kernel covers.
    pub fn window(&self) -> [usize; 2] {
        [0, 1].map(|axis| (self.kernel[axis].max(1) - 1) * self.dilation[axis] + 1)
    }

    /// Tells whether every channel has a kernel of its own.
    pub fn is_depthwise(&self) -> bool {
        self.groups == self.in_channels && self.groups == self.out_channels
    }
}

/// Sizes of a batch normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct BatchNorm {
    /// Channels of input and output.
    pub channels: usize,
    /// Added to the variance before the square root.
    pub epsilon: f64,
    /// Share of a batch's statistics that enters the running statistics.
    pub momentum: f64,
}

/// Functions of one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Activation {
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * sigmoid(x)`.
    Silu,
    /// `x * min(max(x + 3, 0), 6) / 6`.
    HardSwish,
    /// `min(max(x + 3, 0), 6) / 6`.
    HardSigmoid,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `x` times the normal distribution's share below it, by the error function.
    Gelu,
    /// `x * sigmoid(1.702 x)`: OpenAI's CLIP.
    QuickGelu,
    /// `x * (1 + tanh(sqrt(2 / pi) (x + 0.044715 x³))) / 2`: GELU without the error function.
    GeluTanh,
    /// `x * tanh(ln(1 + exp(x)))`.
    Mish,
    /// The hyperbolic tangent.
    Tanh,
    /// `x` above zero and `exp(x) - 1` below.
    Elu,
    /// `x` above zero and `0.01 x` below.
    LeakyRelu,
    /// `x` above zero and `0.1 x` below.
    LeakyReluTenth,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Relu,
        Self::Relu6,
        Self::Silu,
        Self::HardSwish,
        Self::HardSigmoid,
        Self::Sigmoid,
        Self::Gelu,
        Self::QuickGelu,
        Self::GeluTanh,
        Self::Mish,
        Self::Tanh,
        Self::Elu,
        Self::LeakyRelu,
        Self::LeakyReluTenth,
    ];
}

/// Sizes of a pooling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Pool2d {
    /// Height and width of a window.
    pub kernel: [usize; 2],
    /// Steps along height and width.
    pub stride: [usize; 2],
    /// Numbers above and below, and to the left and right.
    pub padding: [usize; 2],
    /// Lets a last window stand over the lower or right edge where it begins inside, as PyTorch's `ceil_mode`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ceil_mode: bool,
}

impl Pool2d {
    /// Returns square windows.
    pub const fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [padding; 2],
            ceil_mode: false,
        }
    }

    /// Lets a last window stand over the lower or right edge.
    pub const fn ceil(self) -> Self {
        Self {
            ceil_mode: true,
            ..self
        }
    }

    /// Computes the numbers before and behind that windows cover around an input of `size`, along height and width.
    pub fn pairs(&self, size: [usize; 2]) -> [[usize; 2]; 2] {
        [0, 1].map(|axis| {
            let [before, stride] = [self.padding[axis], self.stride[axis].max(1)];
            let padded = size[axis] + 2 * before;
            let Some(room) = padded.checked_sub(self.kernel[axis]) else {
                return [before; 2];
            };
            let last = room.div_ceil(stride) * stride;
            // A window that begins in the padding behind the input sees nothing.
            match self.ceil_mode && last > room && last < size[axis] + before {
                true => [before, before + last - room],
                false => [before; 2],
            }
        })
    }
}

/// Sizes of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub struct Linear {
    /// Length of the input rows.
    pub in_features: usize,
    /// Length of the output rows.
    pub out_features: usize,
    /// Adds a number per output.
    pub has_bias: bool,
}

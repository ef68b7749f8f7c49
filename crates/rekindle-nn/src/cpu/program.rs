//! A part of a network as steps on feature maps: what the kernels run.

use rekindle_kernels::{ActivationFn, Attention, Conv2dParams, Padding};

/// Steps that take one value and give one.
///
/// Values are numbered: 0 is what enters, `i + 1` is what step `i` gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Program {
    pub steps: Vec<Step>,
    /// Channels, height and width of each value.
    pub shapes: Vec<[usize; 3]>,
    /// The value that leaves.
    pub output: usize,
    /// Indices of the parameters in [`Graph::tensors`](crate::Graph::tensors).
    pub tensors: Vec<usize>,
    /// Another size of the input may need other padding.
    pub depends_on_size: bool,
}

/// One pass of the kernels over feature maps.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub kind: Kind,
    pub input: usize,
    /// A layer's summand, or a scaling's factors.
    pub other: Option<usize>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Layer(Layer),
    Linear(Linear),
    /// Averages over height and width.
    Means,
    /// Multiplies each channel of each image by a factor.
    Scale,
    /// Multiplies two values of one shape.
    Product,
    /// Subtracts one value from another.
    Difference,
    MaxPool(Window),
    /// An average pooling, as a depthwise convolution by equal weights.
    AvgPool(Conv2dParams),
    /// Zeroes whole images; the number is the node's.
    DropPath(usize),
    Pixels(Pixels),
}

/// A step on all pixels with statistics of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pixels {
    /// Normalises the channels of each pixel.
    LayerNorm(PixelNorm),
    /// Lets channels compete by their norms.
    ResponseNorm(PixelNorm),
    /// Normalises groups of channels of each image; the number is that of the groups.
    GroupNorm(PixelNorm, usize),
    /// Lets tokens look at each other.
    Attention(Attention),
}

/// `function(norm(conv(x)) + summand)` without what there isn't.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    pub conv: Option<Conv>,
    pub norm: Option<Norm>,
    pub function: ActivationFn,
}

/// Parameters are positions in [`Program::tensors`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Conv {
    pub params: Conv2dParams,
    pub weight: usize,
    pub bias: Option<usize>,
    /// A linear layer on each pixel: its weight lies as Burn's matrices do, `[in, out]`.
    pub is_matrix: bool,
}

/// A normalisation by statistics, or a factor per channel as one by those of a standard normal distribution.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Norm {
    pub node: usize,
    pub epsilon: f32,
    pub gamma: usize,
    pub beta: Option<usize>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct PixelNorm {
    pub weight: usize,
    pub bias: usize,
    pub epsilon: f32,
}

/// `function(x weightᵀ + bias)` on maps of one pixel: a 1 x 1 convolution behind [`Kind::Means`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    pub weight: usize,
    pub bias: Option<usize>,
    pub function: ActivationFn,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Window {
    pub size: usize,
    pub stride: usize,
    pub padding: Padding,
}

impl Layer {
    /// Tells whether the output says as much as the input does about the derivative of the function.
    pub fn is_told_by_output(&self) -> bool {
        matches!(
            self.function,
            ActivationFn::Identity | ActivationFn::Relu | ActivationFn::Relu6
        )
    }
}

impl Step {
    pub fn inputs(&self) -> impl Iterator<Item = usize> {
        std::iter::once(self.input).chain(self.other)
    }

    /// Lists the positions of its parameters.
    pub fn parameters(&self) -> Vec<usize> {
        match &self.kind {
            Kind::Layer(layer) => {
                let conv = layer.conv.iter();
                let conv = conv.flat_map(|conv| std::iter::once(conv.weight).chain(conv.bias));
                let norm = layer.norm.iter();
                let norm = norm.flat_map(|norm| std::iter::once(norm.gamma).chain(norm.beta));
                conv.chain(norm).collect()
            }
            Kind::Linear(linear) => std::iter::once(linear.weight).chain(linear.bias).collect(),
            Kind::Pixels(
                Pixels::LayerNorm(norm) | Pixels::ResponseNorm(norm) | Pixels::GroupNorm(norm, _),
            ) => {
                vec![norm.weight, norm.bias]
            }
            Kind::Means
            | Kind::Scale
            | Kind::Product
            | Kind::Difference
            | Kind::MaxPool(_)
            | Kind::AvgPool(_)
            | Kind::DropPath(_)
            | Kind::Pixels(Pixels::Attention(_)) => Vec::new(),
        }
    }
}

impl Program {
    pub fn in_channels(&self) -> usize {
        self.shapes[0][0]
    }

    pub fn out_channels(&self) -> usize {
        self.shapes[self.output][0]
    }

    /// Returns for each step the normalisation in it.
    pub fn norms(&self) -> impl Iterator<Item = Option<&Norm>> {
        self.steps.iter().map(|step| match &step.kind {
            Kind::Layer(layer) => layer.norm.as_ref(),
            _ => None,
        })
    }

    /// Lists for each value the last step that reads it; none for the output.
    pub fn last_readers(&self) -> Vec<Option<usize>> {
        let mut last = vec![None; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            step.inputs().for_each(|value| last[value] = Some(index));
        }
        last[self.output] = None;
        last
    }

    /// Tells for each value whether the backward pass reads it.
    pub fn kept(&self) -> Vec<bool> {
        let mut kept = vec![false; self.steps.len() + 1];
        for (index, step) in self.steps.iter().enumerate() {
            match &step.kind {
                Kind::Layer(layer) => {
                    kept[step.input] |= layer.conv.is_some() && !self.is_cheap(step.input);
                    if let (Some(other), Some(_)) = (step.other, &layer.norm) {
                        match layer.function {
                            ActivationFn::Identity => {}
                            ActivationFn::Relu => kept[index + 1] = true,
                            _ => kept[other] = true,
                        }
                    }
                }
                Kind::Linear(_) => kept[step.input] = true,
                Kind::Pixels(pixels) => {
                    kept[step.input] = true;
                    kept[index + 1] |= matches!(pixels, Pixels::Attention(_));
                }
                Kind::Scale | Kind::Product => step.inputs().for_each(|value| kept[value] = true),
                Kind::MaxPool(_) => {
                    kept[index + 1] = true;
                    kept[step.input] |= self.repeatable(step.input).is_none();
                }
                Kind::Means | Kind::AvgPool(_) | Kind::DropPath(_) | Kind::Difference => {}
            }
        }
        kept
    }

    /// Tells whether a value is computed again, in one pass over memory, from what its step keeps for itself: in a
    /// transformer, what the linear layers take would be half of all that is kept.
    pub fn is_cheap(&self, value: usize) -> bool {
        let Some(index) = value.checked_sub(1) else {
            return false;
        };
        match &self.steps[index] {
            Step {
                kind: Kind::Pixels(Pixels::LayerNorm(_)),
                ..
            } => true,
            Step {
                kind: Kind::Layer(layer),
                other: None,
                ..
            } => layer.norm.is_none() && !layer.is_told_by_output(),
            _ => false,
        }
    }

    /// Returns the step and the layer that a value can be computed by again from what the layer keeps for itself.
    pub fn repeatable(&self, value: usize) -> Option<(usize, &Layer)> {
        let index = value.checked_sub(1)?;
        match &self.steps[index] {
            Step {
                kind: Kind::Layer(layer),
                other: None,
                ..
            } if layer.norm.is_some() => Some((index, layer)),
            _ => None,
        }
    }
}

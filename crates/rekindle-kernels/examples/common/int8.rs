//! A ResNet's forward pass in eight bits.

use super::{Times, blocks, describe, random, random_weight};
use rekindle_kernels::{
    Conv2dParams, Isa, KernelError, PackedLinear, Quantization, QuantizedActivation,
    QuantizedConv2d, global_average_pool, max_pool_quantized,
};

/// A network in evaluation mode, all maps with one range.
pub struct Network {
    isa: Isa,
    input: Quantization,
    maps: Quantization,
    stem: QuantizedConv2d,
    blocks: Vec<Block>,
    head: PackedLinear,
}

struct Block {
    convs: Vec<QuantizedConv2d>,
    downsample: Option<QuantizedConv2d>,
}

impl Network {
    pub fn new(isa: Isa, arch: &str) -> Result<Self, KernelError> {
        let (plans, features) = blocks(arch);
        let mut blocks = Vec::new();
        for plan in plans {
            let convs = plan.convs.iter().map(|p| conv(isa, p));
            blocks.push(Block {
                convs: convs.collect::<Result<_, _>>()?,
                downsample: plan.downsample.map(|p| conv(isa, &p)).transpose()?,
            });
        }
        Ok(Self {
            isa,
            input: Quantization::of_range(-1.0, 1.0)?,
            maps: Quantization::of_range(0.0, 4.0)?,
            stem: conv(isa, &Conv2dParams::new(3, 64, 7, 2))?,
            blocks,
            head: PackedLinear::new(isa, [1000, features], &random(1000 * features), None)?,
        })
    }

    pub fn forward(
        &self,
        x: &[f32],
        shape: [usize; 4],
        times: &mut Times,
    ) -> Result<Vec<f32>, KernelError> {
        let n = shape[0];
        let work = self.stem.params().multiply_adds(n, [shape[2], shape[3]])?;
        let x = times.run("stem 7x7", work, || {
            self.stem
                .forward_nchw(x, shape, self.input, true, self.maps)
        })?;
        let mut x = times.run("max pool", 0, || max_pool_quantized(self.isa, &x, 3, 2, 1))?;
        for block in &self.blocks {
            let identity = match &block.downsample {
                Some(conv) => Some(self.timed(conv, &x, None, false, times)?),
                None => None,
            };
            let identity = identity.as_ref().unwrap_or(&x);
            let Some((last, first)) = block.convs.split_last() else {
                continue;
            };
            let mut y: Option<QuantizedActivation> = None;
            for conv in first {
                y = Some(self.timed(conv, y.as_ref().unwrap_or(&x), None, true, times)?);
            }
            x = self.timed(last, y.as_ref().unwrap_or(&x), Some(identity), true, times)?;
        }
        let pooled = times.run("average pool", 0, || global_average_pool(&x.dequantize()))?;
        let work = n * x.shape()[1] * 1000;
        times.run("linear", work, || self.head.forward(&pooled, n))
    }

    fn timed(
        &self,
        conv: &QuantizedConv2d,
        x: &QuantizedActivation,
        residual: Option<&QuantizedActivation>,
        relu: bool,
        times: &mut Times,
    ) -> Result<QuantizedActivation, KernelError> {
        let p = conv.params();
        let [n, _, h, w] = x.shape();
        let sum = if residual.is_some() { " +" } else { "" };
        let kind = format!("{}{sum}", describe(p, h));
        times.run(&kind, p.multiply_adds(n, [h, w])?, || {
            conv.forward(x, residual, relu, self.maps)
        })
    }
}

fn conv(isa: Isa, params: &Conv2dParams) -> Result<QuantizedConv2d, KernelError> {
    let shift = vec![0.0; params.out_channels];
    let scale = vec![0.7; params.out_channels];
    QuantizedConv2d::new(isa, params, &random_weight(params), Some((&scale, &shift)))
}

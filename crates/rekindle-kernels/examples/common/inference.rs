//! A ResNet's forward pass with BatchNorm folded in.

use super::{Times, blocks, describe, random, random_weight};
use rekindle_kernels::{
    Activation, Algorithm, Conv2dParams, Isa, KernelError, PackedConv2d, PackedLinear,
    global_average_pool, max_pool,
};

/// A network in evaluation mode.
pub struct Network {
    isa: Isa,
    stem: PackedConv2d,
    blocks: Vec<Block>,
    head: PackedLinear,
}

struct Block {
    convs: Vec<PackedConv2d>,
    downsample: Option<PackedConv2d>,
}

impl Network {
    pub fn new(isa: Isa, arch: &str) -> Result<Self, KernelError> {
        let (plans, features) = blocks(arch);
        let mut blocks = Vec::new();
        for plan in plans {
            blocks.push(Block {
                convs: plan
                    .convs
                    .iter()
                    .map(|p| conv(isa, p))
                    .collect::<Result<_, _>>()?,
                downsample: plan.downsample.map(|p| conv(isa, &p)).transpose()?,
            });
        }
        Ok(Self {
            isa,
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
        let x = times.run("stem 7x7", work, || self.stem.forward_nchw(x, shape, true))?;
        let mut x = times.run("max pool", 0, || max_pool(self.isa, &x, 3, 2, 1))?;
        for block in &self.blocks {
            let identity = match &block.downsample {
                Some(conv) => Some(timed(conv, &x, None, false, times)?),
                None => None,
            };
            let identity = identity.as_ref().unwrap_or(&x);
            let Some((last, first)) = block.convs.split_last() else {
                continue;
            };
            let mut y: Option<Activation> = None;
            for conv in first {
                y = Some(timed(conv, y.as_ref().unwrap_or(&x), None, true, times)?);
            }
            x = timed(last, y.as_ref().unwrap_or(&x), Some(identity), true, times)?;
        }
        let pooled = times.run("average pool", 0, || global_average_pool(&x))?;
        let work = n * x.shape()[1] * 1000;
        times.run("linear", work, || self.head.forward(&pooled, n))
    }
}

fn timed(
    conv: &PackedConv2d,
    x: &Activation,
    residual: Option<&Activation>,
    relu: bool,
    times: &mut Times,
) -> Result<Activation, KernelError> {
    let p = conv.params();
    let [n, _, h, w] = x.shape();
    let algorithm = match conv.algorithm() {
        Algorithm::Winograd => " winograd",
        Algorithm::Direct | Algorithm::Depthwise => "",
    };
    let sum = if residual.is_some() { " +" } else { "" };
    let kind = format!("{}{algorithm}{sum}", describe(p, h));
    times.run(&kind, p.multiply_adds(n, [h, w])?, || {
        conv.forward(x, residual, relu)
    })
}

fn conv(isa: Isa, params: &Conv2dParams) -> Result<PackedConv2d, KernelError> {
    let shift = vec![0.0; params.out_channels];
    let scale = vec![0.7; params.out_channels];
    let weight = random_weight(params);
    PackedConv2d::new(isa, params, &weight, Some((&scale, &shift)))
}

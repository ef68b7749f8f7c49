//! ResNet (He et al. 2016, <https://arxiv.org/abs/1512.03385>), ResNeXt (Xie et al. 2017,
//! <https://arxiv.org/abs/1611.05431>) and Wide ResNet (Zagoruyko and Komodakis 2016,
//! <https://arxiv.org/abs/1605.07146>) as in torchvision, with the stride in the 3x3 convolution.

use rekindle_nn::{
    Activation::Relu, Builder, Conv, ConvInit, Graph, GraphError, LinearInit, Pool2d, Value,
};

use crate::Options;
use crate::common::{begin, conv_norm, variants};

/// A residual block's kind: two 3x3 convolutions, or 1x1, 3x3 and 1x1 with four times as many channels at the end.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Basic,
    Bottleneck,
}
use Kind::{Basic, Bottleneck};

variants! { resnet:
    /// Describes ResNet-18.
    resnet18(Basic, [2, 2, 2, 2], 1, 64);
    /// Describes ResNet-34.
    resnet34(Basic, [3, 4, 6, 3], 1, 64);
    /// Describes ResNet-50.
    resnet50(Bottleneck, [3, 4, 6, 3], 1, 64);
    /// Describes ResNet-101.
    resnet101(Bottleneck, [3, 4, 23, 3], 1, 64);
    /// Describes ResNet-152.
    resnet152(Bottleneck, [3, 8, 36, 3], 1, 64);
    /// Describes ResNeXt-50 with 32 groups of 4 channels.
    resnext50_32x4d(Bottleneck, [3, 4, 6, 3], 32, 4);
    /// Describes ResNeXt-101 with 32 groups of 8 channels.
    resnext101_32x8d(Bottleneck, [3, 4, 23, 3], 32, 8);
    /// Describes ResNeXt-101 with 64 groups of 4 channels.
    resnext101_64x4d(Bottleneck, [3, 4, 23, 3], 64, 4);
    /// Describes Wide ResNet-50, twice as wide inside its blocks.
    wide_resnet50_2(Bottleneck, [3, 4, 6, 3], 1, 128);
    /// Describes Wide ResNet-101, twice as wide inside its blocks.
    wide_resnet101_2(Bottleneck, [3, 4, 23, 3], 1, 128);
}

fn resnet(
    name: &str,
    kind: Kind,
    layers: [usize; 4],
    groups: usize,
    width_per_group: usize,
    options: &Options,
) -> Result<Graph, GraphError> {
    let mut b = begin(name, options)
        .init(ConvInit::KaimingFanOut, LinearInit::PyTorch)
        .head_dropout(options.drop_rate.unwrap_or(0.0));
    let mut x = b.images();
    x = b.stage("stem", |b| {
        b.block(|b| {
            let stem = Conv::new(64, 7).stride(2);
            let x = conv_norm(b, ["conv1", "bn1"], x, stem, Some(Relu));
            b.max_pool(x, Pool2d::new(3, 2, 1))
        })
    });
    let last = options.drop_path_rate.unwrap_or(0.0) / (layers.iter().sum::<usize>() - 1) as f64;
    let mut done = 0;
    for (stage, blocks) in layers.into_iter().enumerate() {
        let planes = 64 << stage;
        let width = planes * width_per_group / 64 * groups;
        let name = format!("layer{}", stage + 1);
        x = b.stage(&name, |b| {
            (0..blocks).fold(x, |x, index| {
                let stride = if index == 0 && stage > 0 { 2 } else { 1 };
                let rate = last * done as f64;
                done += 1;
                b.scope(format!("{name}.{index}"), |b| {
                    b.block(|b| block(b, x, kind, planes, width, groups, stride, rate))
                })
            })
        });
    }
    x = b.global_pool(x);
    b.finish("fc", x, options.classes)
}

#[allow(clippy::too_many_arguments)] // The sizes of a block.
fn block(
    b: &mut Builder,
    x: Value,
    kind: Kind,
    planes: usize,
    width: usize,
    groups: usize,
    stride: usize,
    rate: f64,
) -> Value {
    let wide = Conv::new(width, 3).groups(groups);
    let (convs, channels) = match kind {
        Basic => (
            vec![Conv::new(planes, 3).stride(stride), Conv::new(planes, 3)],
            planes,
        ),
        Bottleneck => {
            let channels = 4 * planes;
            (
                vec![
                    Conv::new(width, 1),
                    wide.stride(stride),
                    Conv::new(channels, 1),
                ],
                channels,
            )
        }
    };
    let last = convs.len();
    let y = (1..).zip(convs).fold(x, |y, (number, conv)| {
        let names = [&*format!("conv{number}"), &*format!("bn{number}")];
        conv_norm(b, names, y, conv, (number < last).then_some(Relu))
    });
    let identity = match stride != 1 || b.channels(x) != channels {
        true => {
            let conv = Conv::new(channels, 1).stride(stride);
            conv_norm(b, ["downsample.0", "downsample.1"], x, conv, None)
        }
        false => x,
    };
    let y = b.drop_path(y, rate);
    let sum = b.add(y, identity);
    b.relu(sum)
}

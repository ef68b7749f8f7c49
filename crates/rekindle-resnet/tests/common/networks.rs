//! Small networks and images for them.
#![allow(dead_code)]

use burn::prelude::*;
use burn::tensor::Distribution;
use rekindle_resnet::{BlockKind, ResNetConfig};

/// Small networks with everything that the large ones have.
pub fn configurations() -> Vec<(&'static str, ResNetConfig)> {
    let basic = ResNetConfig::new(BlockKind::Basic, [1, 2, 1, 1]).with_num_classes(7);
    let bottleneck = ResNetConfig::new(BlockKind::Bottleneck, [1, 1, 2, 1]).with_num_classes(7);
    vec![
        ("basic", basic.clone().with_stem_width(16)),
        // Channels that don't fill a block of sixteen.
        ("narrow", basic.clone().with_stem_width(6)),
        ("grey", basic.with_stem_width(8).with_in_channels(1)),
        ("bottleneck", bottleneck.clone().with_stem_width(16)),
        (
            "grouped",
            bottleneck
                .with_stem_width(16)
                .with_groups(4)
                .with_width_per_group(16),
        ),
    ]
}

pub fn images(channels: usize, device: &Device) -> Tensor<4> {
    // An odd size, so that windows hang over the edge.
    Tensor::random(
        [4, channels, 77, 69],
        Distribution::Normal(0.0, 1.0),
        device,
    )
}

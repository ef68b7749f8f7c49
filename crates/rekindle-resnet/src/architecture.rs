//! The ten ResNets of torchvision by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{BlockKind, Error, ResNetConfig};

/// One of torchvision's ten ResNet architectures.
///
/// Names are torchvision's (`"resnet18"`, `"resnext50_32x4d"`, ...), for parsing and printing alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Architecture {
    /// ResNet-18 (He et al. 2016, <https://arxiv.org/abs/1512.03385>).
    #[serde(rename = "resnet18")]
    ResNet18,
    /// ResNet-34.
    #[serde(rename = "resnet34")]
    ResNet34,
    /// ResNet-50, v1.5: the stride sits in the 3x3 convolution.
    #[serde(rename = "resnet50")]
    ResNet50,
    /// ResNet-101, v1.5.
    #[serde(rename = "resnet101")]
    ResNet101,
    /// ResNet-152, v1.5.
    #[serde(rename = "resnet152")]
    ResNet152,
    /// ResNeXt-50 32x4d (Xie et al. 2017, <https://arxiv.org/abs/1611.05431>).
    #[serde(rename = "resnext50_32x4d")]
    ResNeXt50_32x4d,
    /// ResNeXt-101 32x8d.
    #[serde(rename = "resnext101_32x8d")]
    ResNeXt101_32x8d,
    /// ResNeXt-101 64x4d.
    #[serde(rename = "resnext101_64x4d")]
    ResNeXt101_64x4d,
    /// Wide ResNet-50-2 (Zagoruyko and Komodakis 2016, <https://arxiv.org/abs/1605.07146>).
    #[serde(rename = "wide_resnet50_2")]
    WideResNet50_2,
    /// Wide ResNet-101-2.
    #[serde(rename = "wide_resnet101_2")]
    WideResNet101_2,
}

impl Architecture {
    /// All ten, from small to large within each family.
    pub const ALL: [Architecture; 10] = [
        Architecture::ResNet18,
        Architecture::ResNet34,
        Architecture::ResNet50,
        Architecture::ResNet101,
        Architecture::ResNet152,
        Architecture::ResNeXt50_32x4d,
        Architecture::ResNeXt101_32x8d,
        Architecture::ResNeXt101_64x4d,
        Architecture::WideResNet50_2,
        Architecture::WideResNet101_2,
    ];

    /// torchvision's name, such as `"resnet18"`.
    pub fn name(self) -> &'static str {
        match self {
            Architecture::ResNet18 => "resnet18",
            Architecture::ResNet34 => "resnet34",
            Architecture::ResNet50 => "resnet50",
            Architecture::ResNet101 => "resnet101",
            Architecture::ResNet152 => "resnet152",
            Architecture::ResNeXt50_32x4d => "resnext50_32x4d",
            Architecture::ResNeXt101_32x8d => "resnext101_32x8d",
            Architecture::ResNeXt101_64x4d => "resnext101_64x4d",
            Architecture::WideResNet50_2 => "wide_resnet50_2",
            Architecture::WideResNet101_2 => "wide_resnet101_2",
        }
    }

    /// The configuration with ImageNet's 1000 classes and RGB input.
    pub fn config(self) -> ResNetConfig {
        let (block, layers, groups, width_per_group) = match self {
            Architecture::ResNet18 => (BlockKind::Basic, [2, 2, 2, 2], 1, 64),
            Architecture::ResNet34 => (BlockKind::Basic, [3, 4, 6, 3], 1, 64),
            Architecture::ResNet50 => (BlockKind::Bottleneck, [3, 4, 6, 3], 1, 64),
            Architecture::ResNet101 => (BlockKind::Bottleneck, [3, 4, 23, 3], 1, 64),
            Architecture::ResNet152 => (BlockKind::Bottleneck, [3, 8, 36, 3], 1, 64),
            Architecture::ResNeXt50_32x4d => (BlockKind::Bottleneck, [3, 4, 6, 3], 32, 4),
            Architecture::ResNeXt101_32x8d => (BlockKind::Bottleneck, [3, 4, 23, 3], 32, 8),
            Architecture::ResNeXt101_64x4d => (BlockKind::Bottleneck, [3, 4, 23, 3], 64, 4),
            Architecture::WideResNet50_2 => (BlockKind::Bottleneck, [3, 4, 6, 3], 1, 128),
            Architecture::WideResNet101_2 => (BlockKind::Bottleneck, [3, 4, 23, 3], 1, 128),
        };
        ResNetConfig::new(block, layers)
            .with_groups(groups)
            .with_width_per_group(width_per_group)
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Architecture {
    type Err = Error;

    /// Accepts torchvision's names, whatever the case.
    fn from_str(name: &str) -> Result<Self, Error> {
        let wanted = name.to_ascii_lowercase();
        Architecture::ALL
            .into_iter()
            .find(|architecture| architecture.name() == wanted)
            .ok_or_else(|| Error::UnknownArchitecture {
                found: name.to_string(),
            })
    }
}

//! All models by name: one line each, with their published weights.

use rekindle_nn::{Graph, GraphError};
use rekindle_preprocess::Interpolation::{Bicubic, Bilinear};
use rekindle_preprocess::{Interpolation, Preprocess};
use thiserror::Error;

use crate::Options;
use crate::densenet::*;
use crate::efficientnet::*;
use crate::efficientnet_lite::*;
use crate::mobilenet_v2::*;
use crate::mobilenet_v3::*;
use crate::mobilenet_v4::*;
use crate::regnet::*;
use crate::resnet::*;
use crate::shufflenet_v2::*;

/// A model: a function that describes it, and what has been published for it.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Whose code the names and sizes follow, a slash, and the model's name there: `torchvision/mobilenet_v2`.
    pub name: &'static str,
    /// Describes it.
    pub describe: fn(&Options) -> Result<Graph, GraphError>,
    /// Weights that can be had, the best last.
    pub weights: &'static [Weights],
}

/// Published weights and what they need.
#[derive(Clone, Debug, PartialEq)]
pub struct Weights {
    /// Their name where they are published: `IMAGENET1K_V2`.
    pub name: &'static str,
    /// Where they are.
    pub source: Source,
    /// Number of classes.
    pub classes: usize,
    /// Accuracy on ImageNet's validation images, in percent, as published; none where no number was.
    pub top1: Option<f32>,
    /// The preprocessing that they were evaluated with.
    pub preprocess: Preprocess,
}

/// Where weights are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file below <https://download.pytorch.org/models/>.
    Torchvision {
        /// Its name, whose last part is the beginning of its SHA-256.
        file: &'static str,
    },
    /// A repository of the Hugging Face hub with a `model.safetensors`.
    HuggingFace {
        /// Owner and name.
        repository: &'static str,
    },
}

/// A name that no model has.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("there is no model called {name:?}; {}", suggestion(near))]
pub struct UnknownModel {
    /// The name.
    pub name: String,
    /// The nearest names, the nearest first.
    pub near: Vec<&'static str>,
}

fn suggestion(near: &[&str]) -> String {
    match near.is_empty() {
        true => "`models()` lists them".into(),
        false => format!("near it are {}", near.join(", ")),
    }
}

/// Lists all models.
pub fn models() -> &'static [Model] {
    &MODELS
}

impl Model {
    /// Finds a model by its name, with or without the part in front of the slash.
    ///
    /// # Errors
    ///
    /// [`UnknownModel`], with the names nearest to it.
    pub fn named(name: &str) -> Result<&'static Self, UnknownModel> {
        let found = MODELS.iter().find(|model| model.name == name);
        if let Some(model) = found.or_else(|| MODELS.iter().find(|model| model.bare_name() == name))
        {
            return Ok(model);
        }
        let wanted = name.rsplit('/').next().unwrap_or(name);
        let mut near: Vec<(f64, &str)> = MODELS
            .iter()
            .map(|model| (strsim::jaro_winkler(wanted, model.bare_name()), model.name))
            .filter(|(likeness, _)| *likeness > 0.8)
            .collect();
        near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        Err(UnknownModel {
            name: name.to_string(),
            near: near.into_iter().take(3).map(|(_, name)| name).collect(),
        })
    }

    /// Returns the name without the part in front of the slash: `mobilenet_v2`.
    pub fn bare_name(&self) -> &'static str {
        self.name
            .split_once('/')
            .map_or(self.name, |(_, bare)| bare)
    }

    /// Finds published weights by their name; `DEFAULT` is the best.
    pub fn weights(&self, name: &str) -> Option<&'static Weights> {
        match name {
            "DEFAULT" => self.weights.last(),
            _ => self.weights.iter().find(|weights| weights.name == name),
        }
    }
}

type Describe = fn(&Options) -> Result<Graph, GraphError>;

const fn model(name: &'static str, describe: Describe, weights: &'static [Weights]) -> Model {
    Model {
        name,
        describe,
        weights,
    }
}

/// torchvision's first recipe: 224 pixels out of 256.
const fn v1(file: &'static str, top1: f32) -> Weights {
    tv("IMAGENET1K_V1", file, top1, 256, 224, Bilinear)
}

/// torchvision's newer recipe: 224 pixels out of 232.
const fn v2(file: &'static str, top1: f32) -> Weights {
    tv("IMAGENET1K_V2", file, top1, 232, 224, Bilinear)
}

const fn tv(
    name: &'static str,
    file: &'static str,
    top1: f32,
    resize: usize,
    crop: usize,
    interpolation: Interpolation,
) -> Weights {
    Weights {
        name,
        source: Source::Torchvision { file },
        classes: 1000,
        top1: Some(top1),
        preprocess: Preprocess {
            resize,
            crop,
            interpolation,
            ..Preprocess::IMAGENET
        },
    }
}

/// EfficientNet-B's first weights, resized by a cubic filter.
const fn b(file: &'static str, top1: f32, resize: usize, crop: usize) -> Weights {
    tv("IMAGENET1K_V1", file, top1, resize, crop, Bicubic)
}

/// timm's weights by their repository, whose name ends in the weights' behind a dot.
const fn hf(repository: &'static str, name: &'static str, resize: usize, crop: usize) -> Weights {
    Weights {
        name,
        source: Source::HuggingFace { repository },
        classes: 1000,
        top1: None,
        preprocess: Preprocess {
            resize,
            crop,
            interpolation: Bicubic,
            ..Preprocess::IMAGENET
        },
    }
}

/// The same with mean and standard deviation of one half.
const fn hf_half(
    repository: &'static str,
    name: &'static str,
    resize: usize,
    crop: usize,
) -> Weights {
    let weights = hf(repository, name, resize, crop);
    Weights {
        preprocess: Preprocess {
            mean: [0.5; 3],
            std: [0.5; 3],
            ..weights.preprocess
        },
        ..weights
    }
}

#[rustfmt::skip]
static MODELS: [Model; 35] = [
    model("torchvision/resnet18", resnet18, &[v1("resnet18-f37072fd.pth", 69.758)]),
    model("torchvision/resnet34", resnet34, &[v1("resnet34-b627a593.pth", 73.314)]),
    model("torchvision/resnet50", resnet50, &[v1("resnet50-0676ba61.pth", 76.13), v2("resnet50-11ad3fa6.pth", 80.858)]),
    model("torchvision/resnet101", resnet101, &[v1("resnet101-63fe2227.pth", 77.374), v2("resnet101-cd907fc2.pth", 81.886)]),
    model("torchvision/resnet152", resnet152, &[v1("resnet152-394f9c45.pth", 78.312), v2("resnet152-f82ba261.pth", 82.284)]),
    model("torchvision/resnext50_32x4d", resnext50_32x4d, &[v1("resnext50_32x4d-7cdf4587.pth", 77.618), v2("resnext50_32x4d-1a0047aa.pth", 81.198)]),
    model("torchvision/resnext101_32x8d", resnext101_32x8d, &[v1("resnext101_32x8d-8ba56ff5.pth", 79.312), v2("resnext101_32x8d-110c445d.pth", 82.834)]),
    model("torchvision/resnext101_64x4d", resnext101_64x4d, &[tv("IMAGENET1K_V1", "resnext101_64x4d-173b62eb.pth", 83.246, 232, 224, Bilinear)]),
    model("torchvision/wide_resnet50_2", wide_resnet50_2, &[v1("wide_resnet50_2-95faca4d.pth", 78.468), v2("wide_resnet50_2-9ba9bcbe.pth", 81.602)]),
    model("torchvision/wide_resnet101_2", wide_resnet101_2, &[v1("wide_resnet101_2-32ee1156.pth", 78.848), v2("wide_resnet101_2-d733dc28.pth", 82.51)]),
    model("torchvision/mobilenet_v2", mobilenet_v2, &[v1("mobilenet_v2-b0353104.pth", 71.878), v2("mobilenet_v2-7ebf99e0.pth", 72.154)]),
    model("torchvision/mobilenet_v3_small", mobilenet_v3_small, &[v1("mobilenet_v3_small-047dcff4.pth", 67.668)]),
    model("torchvision/mobilenet_v3_large", mobilenet_v3_large, &[v1("mobilenet_v3_large-8738ca79.pth", 74.042), v2("mobilenet_v3_large-5c1a4163.pth", 75.274)]),
    model("torchvision/efficientnet_b0", efficientnet_b0, &[b("efficientnet_b0_rwightman-7f5810bc.pth", 77.692, 256, 224)]),
    model("torchvision/efficientnet_b1", efficientnet_b1, &[b("efficientnet_b1_rwightman-bac287d4.pth", 78.642, 256, 240), tv("IMAGENET1K_V2", "efficientnet_b1-c27df63c.pth", 79.838, 255, 240, Bilinear)]),
    model("torchvision/efficientnet_b2", efficientnet_b2, &[b("efficientnet_b2_rwightman-c35c1473.pth", 80.608, 288, 288)]),
    model("torchvision/efficientnet_b3", efficientnet_b3, &[b("efficientnet_b3_rwightman-b3899882.pth", 82.008, 320, 300)]),
    model("torchvision/efficientnet_b4", efficientnet_b4, &[b("efficientnet_b4_rwightman-23ab8bcd.pth", 83.384, 384, 380)]),
    model("torchvision/efficientnet_v2_s", efficientnet_v2_s, &[tv("IMAGENET1K_V1", "efficientnet_v2_s-dd5fe13b.pth", 84.228, 384, 384, Bilinear)]),
    model("torchvision/regnet_y_400mf", regnet_y_400mf, &[v1("regnet_y_400mf-c65dace8.pth", 74.046), v2("regnet_y_400mf-e6988f5f.pth", 75.804)]),
    model("torchvision/regnet_y_800mf", regnet_y_800mf, &[v1("regnet_y_800mf-1b27b58c.pth", 76.42), v2("regnet_y_800mf-58fc7688.pth", 78.828)]),
    model("torchvision/regnet_y_1_6gf", regnet_y_1_6gf, &[v1("regnet_y_1_6gf-b11a554e.pth", 77.95), v2("regnet_y_1_6gf-0d7bc02a.pth", 80.876)]),
    model("torchvision/regnet_y_3_2gf", regnet_y_3_2gf, &[v1("regnet_y_3_2gf-b5a9779c.pth", 78.948), v2("regnet_y_3_2gf-9180c971.pth", 81.982)]),
    model("torchvision/regnet_y_8gf", regnet_y_8gf, &[v1("regnet_y_8gf-d0d0e4a8.pth", 80.032), v2("regnet_y_8gf-dc2b1b54.pth", 82.828)]),
    model("torchvision/densenet121", densenet121, &[v1("densenet121-a639ec97.pth", 74.434)]),
    model("torchvision/densenet169", densenet169, &[v1("densenet169-b2777c0a.pth", 75.6)]),
    model("torchvision/densenet201", densenet201, &[v1("densenet201-c1103571.pth", 76.896)]),
    model("torchvision/densenet161", densenet161, &[v1("densenet161-8d451a50.pth", 77.138)]),
    model("torchvision/shufflenet_v2_x0_5", shufflenet_v2_x0_5, &[v1("shufflenetv2_x0.5-f707e7126e.pth", 60.552)]),
    model("torchvision/shufflenet_v2_x1_0", shufflenet_v2_x1_0, &[v1("shufflenetv2_x1-5666bf0f80.pth", 69.362)]),
    model("timm/tf_efficientnet_lite0", tf_efficientnet_lite0, &[hf_half("timm/tf_efficientnet_lite0.in1k", "in1k", 256, 224)]),
    model("timm/tf_efficientnet_lite1", tf_efficientnet_lite1, &[hf_half("timm/tf_efficientnet_lite1.in1k", "in1k", 272, 240)]),
    model("timm/tf_efficientnet_lite2", tf_efficientnet_lite2, &[hf_half("timm/tf_efficientnet_lite2.in1k", "in1k", 292, 260)]),
    model("timm/mobilenetv4_conv_small", mobilenetv4_conv_small, &[hf("timm/mobilenetv4_conv_small.e1200_r224_in1k", "e1200_r224_in1k", 256, 224), hf("timm/mobilenetv4_conv_small.e2400_r224_in1k", "e2400_r224_in1k", 256, 224), hf_half("timm/mobilenetv4_conv_small.e3600_r256_in1k", "e3600_r256_in1k", 269, 256)]),
    model("timm/mobilenetv4_conv_medium", mobilenetv4_conv_medium, &[hf("timm/mobilenetv4_conv_medium.e500_r224_in1k", "e500_r224_in1k", 235, 224), hf("timm/mobilenetv4_conv_medium.e500_r256_in1k", "e500_r256_in1k", 269, 256), hf("timm/mobilenetv4_conv_medium.e250_r384_in12k_ft_in1k", "e250_r384_in12k_ft_in1k", 404, 384)]),
];

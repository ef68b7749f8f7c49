//! All models by name: one line each, with their published weights.

use rekindle_nn::{Graph, GraphError};
use rekindle_preprocess::Interpolation::{Bicubic, Bilinear};
use rekindle_preprocess::{Interpolation, Preprocess};

use crate::densenet::*;
use crate::efficientnet::*;
use crate::efficientnet_lite::*;
use crate::mobilenet_v2::*;
use crate::mobilenet_v3::*;
use crate::mobilenet_v4::*;
use crate::regnet::*;
use crate::resnet::*;
use crate::shufflenet_v2::*;
use crate::{Error, Options, clip, convnext, vision_transformer};

/// A model: a function that describes it, and what has been published for it.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Full name: the library whose code the names and sizes follow, a slash, and the model's name there, as
    /// `torchvision/mobilenet_v2`.
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
    /// Location of the weights.
    pub source: Source,
    /// Number of classes; 0 where there is no classifier.
    pub classes: usize,
    /// Share of ImageNet's validation images whose class comes first, in percent, as published; none where no number was.
    pub top1: Option<f64>,
    /// Share of them whose class is among the first five, in percent.
    pub top5: Option<f64>,
    /// Size of the file in MiB, where it is published.
    pub size_mib: Option<f64>,
    /// SPDX name of the licence that they are published under; none where the publisher names none. All but CLIP's
    /// were trained on ImageNet, whose pictures are for non-commercial research.
    pub licence: Option<&'static str>,
    /// The preprocessing that they were evaluated with.
    pub preprocess: Preprocess,
}

/// Location of published weights.
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
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "there is no model called `{name}`{}{}",
    suggestion(near),
    other_place(name)
)]
pub struct UnknownModel {
    /// The name.
    pub name: String,
    /// The nearest names, the nearest first.
    pub near: Vec<&'static str>,
}

fn suggestion(near: &[&str]) -> String {
    let bare = |name: &&str| name.rsplit('/').next().unwrap_or(name).to_string();
    let names: Vec<String> = near.iter().map(bare).collect();
    match names.split_last() {
        None => "; `rekindle models` lists them".into(),
        Some((only, [])) => format!(", did you mean {only}?"),
        Some((last, others)) => format!(", did you mean {} or {last}?", others.join(", ")),
    }
}

/// Says where a name with a slash may be known.
fn other_place(name: &str) -> &'static str {
    match name.contains('/') {
        true => "; weights of a repository on the Hugging Face hub are called hf:OWNER/NAME",
        false => "",
    }
}

/// Finds the names that are a slip of the keyboard away, or else those that look like it, the nearest first.
fn nearest(wanted: &str) -> Vec<&'static str> {
    let distance = |model: &Model| strsim::damerau_levenshtein(wanted, model.bare_name());
    let least = MODELS.iter().map(distance).min().unwrap_or(usize::MAX);
    if least <= 2 {
        let slips = MODELS.iter().filter(|model| distance(model) == least);
        return slips.map(|model| model.name).take(3).collect();
    }
    let mut near: Vec<(f64, &str)> = MODELS
        .iter()
        .map(|model| (strsim::jaro_winkler(wanted, model.bare_name()), model.name))
        .filter(|(likeness, _)| *likeness > 0.8)
        .collect();
    near.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    near.into_iter().take(3).map(|(_, name)| name).collect()
}

/// Lists all models.
pub fn models() -> &'static [Model] {
    &MODELS
}

impl Model {
    /// Finds a model by its name, with or without the part in front of the slash, in any case.
    ///
    /// # Errors
    ///
    /// [`UnknownModel`], with the names nearest to it.
    pub fn named(name: &str) -> Result<&'static Self, UnknownModel> {
        let lower = name.to_ascii_lowercase();
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let found = MODELS.iter().find(|model| is(model.name));
        let bare = || MODELS.iter().find(|model| is(model.bare_name()));
        if let Some(model) = found.or_else(bare) {
            return Ok(model);
        }
        Err(UnknownModel {
            name: name.to_string(),
            near: nearest(lower.rsplit('/').next().unwrap_or(&lower)),
        })
    }

    /// Returns the name without the part in front of the slash: `mobilenet_v2`.
    pub fn bare_name(&self) -> &'static str {
        self.name
            .split_once('/')
            .map_or(self.name, |(_, bare)| bare)
    }

    /// Returns the shortest name that [`named`](Self::named) finds it by: `mobilenet_v2`, but `timm/convnext_tiny`, since
    /// torchvision has a network of that name too.
    pub fn short_name(&self) -> &'static str {
        let bare = self.bare_name();
        match Self::named(bare) {
            Ok(found) if found.name == self.name => bare,
            _ => self.name,
        }
    }

    /// Finds published weights by their name, in any case; `DEFAULT` is the best.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownWeights`], which lists what there is.
    pub fn weights(&self, name: &str) -> Result<&'static Weights, Error> {
        let found = match name.eq_ignore_ascii_case("default") {
            true => self.weights.last(),
            false => {
                let mut weights = self.weights.iter();
                weights.find(|weights| weights.name.eq_ignore_ascii_case(name))
            }
        };
        found.ok_or_else(|| Error::UnknownWeights {
            model: self.name,
            name: name.to_string(),
            known: self
                .weights
                .iter()
                .map(|w| w.name)
                .collect::<Vec<_>>()
                .join(", "),
        })
    }
}

/// Finds published weights by one text: the model's name and, behind a dot, the weights'; the best without.
///
/// ```
/// let (model, weights) = rekindle_models::registry::published("resnet50.IMAGENET1K_V1")?;
/// assert_eq!((model.name, weights.name), ("torchvision/resnet50", "IMAGENET1K_V1"));
/// let (_, best) = rekindle_models::registry::published("torchvision/resnet50")?;
/// assert_eq!((best.preprocess.resize, best.preprocess.crop), (232, 224));
/// # Ok::<(), rekindle_models::Error>(())
/// ```
///
/// # Errors
///
/// [`UnknownModel`] and [`Error::UnknownWeights`], which say what there is.
pub fn published(text: &str) -> Result<(&'static Model, &'static Weights), Error> {
    let (model, weights) = text.split_once('.').unwrap_or((text, "DEFAULT"));
    let model = Model::named(model)?;
    Ok((model, model.weights(weights)?))
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
const fn v1(file: &'static str, top: (f64, f64), size_mib: f64) -> Weights {
    tv("IMAGENET1K_V1", file, top, size_mib, [256, 224], Bilinear)
}

/// torchvision's newer recipe: 224 pixels out of 232.
const fn v2(file: &'static str, top: (f64, f64), size_mib: f64) -> Weights {
    tv("IMAGENET1K_V2", file, top, size_mib, [232, 224], Bilinear)
}

const fn tv(
    name: &'static str,
    file: &'static str,
    (top1, top5): (f64, f64),
    size_mib: f64,
    [resize, crop]: [usize; 2],
    interpolation: Interpolation,
) -> Weights {
    Weights {
        name,
        source: Source::Torchvision { file },
        classes: 1000,
        top1: Some(top1),
        top5: Some(top5),
        size_mib: Some(size_mib),
        licence: None,
        preprocess: Preprocess {
            resize,
            crop,
            interpolation,
            ..Preprocess::IMAGENET
        },
    }
}

/// EfficientNet-B's first weights, resized by a cubic filter.
const fn b(file: &'static str, top: (f64, f64), size_mib: f64, sides: [usize; 2]) -> Weights {
    tv("IMAGENET1K_V1", file, top, size_mib, sides, Bicubic)
}

/// timm's weights by their repository, whose name ends in the weights' behind a dot.
const fn hf(repository: &'static str, name: &'static str, resize: usize, crop: usize) -> Weights {
    Weights {
        name,
        source: Source::HuggingFace { repository },
        classes: 1000,
        top1: None,
        top5: None,
        size_mib: None,
        licence: Some("Apache-2.0"),
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

/// Weights under another licence.
const fn licensed(licence: &'static str, weights: Weights) -> Weights {
    Weights {
        licence: Some(licence),
        ..weights
    }
}

/// Weights without a classifier.
const fn trunk(weights: Weights) -> Weights {
    Weights {
        classes: 0,
        ..weights
    }
}

/// CLIP's weights by their repository.
const fn of_clip(
    repository: &'static str,
    name: &'static str,
    licence: Option<&'static str>,
) -> Weights {
    let weights = trunk(hf(repository, name, 224, 224));
    Weights {
        licence,
        preprocess: clip::PREPROCESS,
        ..weights
    }
}

#[rustfmt::skip]
static MODELS: [Model; 64] = [
    model("torchvision/resnet18", resnet18, &[v1("resnet18-f37072fd.pth", (69.758, 89.078), 44.661)]),
    model("torchvision/resnet34", resnet34, &[v1("resnet34-b627a593.pth", (73.314, 91.42), 83.275)]),
    model("torchvision/resnet50", resnet50, &[v1("resnet50-0676ba61.pth", (76.13, 92.862), 97.781), v2("resnet50-11ad3fa6.pth", (80.858, 95.434), 97.79)]),
    model("torchvision/resnet101", resnet101, &[v1("resnet101-63fe2227.pth", (77.374, 93.546), 170.511), v2("resnet101-cd907fc2.pth", (81.886, 95.78), 170.53)]),
    model("torchvision/resnet152", resnet152, &[v1("resnet152-394f9c45.pth", (78.312, 94.046), 230.434), v2("resnet152-f82ba261.pth", (82.284, 96.002), 230.474)]),
    model("torchvision/resnext50_32x4d", resnext50_32x4d, &[v1("resnext50_32x4d-7cdf4587.pth", (77.618, 93.698), 95.789), v2("resnext50_32x4d-1a0047aa.pth", (81.198, 95.34), 95.833)]),
    model("torchvision/resnext101_32x8d", resnext101_32x8d, &[v1("resnext101_32x8d-8ba56ff5.pth", (79.312, 94.526), 339.586), v2("resnext101_32x8d-110c445d.pth", (82.834, 96.228), 339.673)]),
    model("torchvision/resnext101_64x4d", resnext101_64x4d, &[tv("IMAGENET1K_V1", "resnext101_64x4d-173b62eb.pth", (83.246, 96.454), 319.318, [232, 224], Bilinear)]),
    model("torchvision/wide_resnet50_2", wide_resnet50_2, &[v1("wide_resnet50_2-95faca4d.pth", (78.468, 94.086), 131.82), v2("wide_resnet50_2-9ba9bcbe.pth", (81.602, 95.758), 263.124)]),
    model("torchvision/wide_resnet101_2", wide_resnet101_2, &[v1("wide_resnet101_2-32ee1156.pth", (78.848, 94.284), 242.896), v2("wide_resnet101_2-d733dc28.pth", (82.51, 96.02), 484.747)]),
    model("torchvision/mobilenet_v2", mobilenet_v2, &[v1("mobilenet_v2-b0353104.pth", (71.878, 90.286), 13.555), v2("mobilenet_v2-7ebf99e0.pth", (72.154, 90.822), 13.598)]),
    model("torchvision/mobilenet_v3_small", mobilenet_v3_small, &[v1("mobilenet_v3_small-047dcff4.pth", (67.668, 87.402), 9.829)]),
    model("torchvision/mobilenet_v3_large", mobilenet_v3_large, &[v1("mobilenet_v3_large-8738ca79.pth", (74.042, 91.34), 21.114), v2("mobilenet_v3_large-5c1a4163.pth", (75.274, 92.566), 21.107)]),
    model("torchvision/efficientnet_b0", efficientnet_b0, &[b("efficientnet_b0_rwightman-7f5810bc.pth", (77.692, 93.532), 20.451, [256, 224])]),
    model("torchvision/efficientnet_b1", efficientnet_b1, &[b("efficientnet_b1_rwightman-bac287d4.pth", (78.642, 94.186), 30.134, [256, 240]), tv("IMAGENET1K_V2", "efficientnet_b1-c27df63c.pth", (79.838, 94.934), 30.136, [255, 240], Bilinear)]),
    model("torchvision/efficientnet_b2", efficientnet_b2, &[b("efficientnet_b2_rwightman-c35c1473.pth", (80.608, 95.31), 35.174, [288, 288])]),
    model("torchvision/efficientnet_b3", efficientnet_b3, &[b("efficientnet_b3_rwightman-b3899882.pth", (82.008, 96.054), 47.184, [320, 300])]),
    model("torchvision/efficientnet_b4", efficientnet_b4, &[b("efficientnet_b4_rwightman-23ab8bcd.pth", (83.384, 96.594), 74.489, [384, 380])]),
    model("torchvision/efficientnet_v2_s", efficientnet_v2_s, &[tv("IMAGENET1K_V1", "efficientnet_v2_s-dd5fe13b.pth", (84.228, 96.878), 82.704, [384, 384], Bilinear)]),
    model("torchvision/regnet_y_400mf", regnet_y_400mf, &[v1("regnet_y_400mf-c65dace8.pth", (74.046, 91.716), 16.806), v2("regnet_y_400mf-e6988f5f.pth", (75.804, 92.742), 16.806)]),
    model("torchvision/regnet_y_800mf", regnet_y_800mf, &[v1("regnet_y_800mf-1b27b58c.pth", (76.42, 93.136), 24.774), v2("regnet_y_800mf-58fc7688.pth", (78.828, 94.502), 24.774)]),
    model("torchvision/regnet_y_1_6gf", regnet_y_1_6gf, &[v1("regnet_y_1_6gf-b11a554e.pth", (77.95, 93.966), 43.152), v2("regnet_y_1_6gf-0d7bc02a.pth", (80.876, 95.444), 43.152)]),
    model("torchvision/regnet_y_3_2gf", regnet_y_3_2gf, &[v1("regnet_y_3_2gf-b5a9779c.pth", (78.948, 94.576), 74.567), v2("regnet_y_3_2gf-9180c971.pth", (81.982, 95.972), 74.567)]),
    model("torchvision/regnet_y_8gf", regnet_y_8gf, &[v1("regnet_y_8gf-d0d0e4a8.pth", (80.032, 95.048), 150.701), v2("regnet_y_8gf-dc2b1b54.pth", (82.828, 96.33), 150.701)]),
    model("torchvision/densenet121", densenet121, &[v1("densenet121-a639ec97.pth", (74.434, 91.972), 30.845)]),
    model("torchvision/densenet169", densenet169, &[v1("densenet169-b2777c0a.pth", (75.6, 92.806), 54.708)]),
    model("torchvision/densenet201", densenet201, &[v1("densenet201-c1103571.pth", (76.896, 93.37), 77.373)]),
    model("torchvision/densenet161", densenet161, &[v1("densenet161-8d451a50.pth", (77.138, 93.56), 110.369)]),
    model("torchvision/shufflenet_v2_x0_5", shufflenet_v2_x0_5, &[v1("shufflenetv2_x0.5-f707e7126e.pth", (60.552, 81.746), 5.282)]),
    model("torchvision/shufflenet_v2_x1_0", shufflenet_v2_x1_0, &[v1("shufflenetv2_x1-5666bf0f80.pth", (69.362, 88.316), 8.791)]),
    model("torchvision/convnext_tiny", convnext::torchvision::convnext_tiny, &[tv("IMAGENET1K_V1", "convnext_tiny-983f1562.pth", (82.52, 96.146), 109.119, [236, 224], Bilinear)]),
    model("torchvision/convnext_small", convnext::torchvision::convnext_small, &[tv("IMAGENET1K_V1", "convnext_small-0c510722.pth", (83.616, 96.65), 191.703, [230, 224], Bilinear)]),
    model("torchvision/convnext_base", convnext::torchvision::convnext_base, &[tv("IMAGENET1K_V1", "convnext_base-6075fbad.pth", (84.062, 96.87), 338.064, [232, 224], Bilinear)]),
    model("torchvision/vit_b_16", vision_transformer::torchvision::vit_b_16, &[licensed("CC-BY-NC-4.0", tv("IMAGENET1K_SWAG_LINEAR_V1", "vit_b_16_lc_swag-4e70ced5.pth", (81.886, 96.18), 330.285, [224, 224], Bicubic)), licensed("CC-BY-NC-4.0", tv("IMAGENET1K_SWAG_E2E_V1", "vit_b_16_swag-9ac1b537.pth", (85.304, 97.65), 331.398, [384, 384], Bicubic)), v1("vit_b_16-c867db91.pth", (81.072, 95.318), 330.285)]),
    model("torchvision/vit_b_32", vision_transformer::torchvision::vit_b_32, &[v1("vit_b_32-d86f8d99.pth", (75.912, 92.466), 336.604)]),
    model("timm/tf_efficientnet_lite0", tf_efficientnet_lite0, &[hf_half("timm/tf_efficientnet_lite0.in1k", "in1k", 256, 224)]),
    model("timm/tf_efficientnet_lite1", tf_efficientnet_lite1, &[hf_half("timm/tf_efficientnet_lite1.in1k", "in1k", 272, 240)]),
    model("timm/tf_efficientnet_lite2", tf_efficientnet_lite2, &[hf_half("timm/tf_efficientnet_lite2.in1k", "in1k", 292, 260)]),
    model("timm/mobilenetv4_conv_small", mobilenetv4_conv_small, &[hf("timm/mobilenetv4_conv_small.e1200_r224_in1k", "e1200_r224_in1k", 256, 224), hf("timm/mobilenetv4_conv_small.e2400_r224_in1k", "e2400_r224_in1k", 256, 224), hf_half("timm/mobilenetv4_conv_small.e3600_r256_in1k", "e3600_r256_in1k", 269, 256)]),
    model("timm/mobilenetv4_conv_medium", mobilenetv4_conv_medium, &[hf("timm/mobilenetv4_conv_medium.e500_r224_in1k", "e500_r224_in1k", 235, 224), hf("timm/mobilenetv4_conv_medium.e500_r256_in1k", "e500_r256_in1k", 269, 256), hf("timm/mobilenetv4_conv_medium.e250_r384_in12k_ft_in1k", "e250_r384_in12k_ft_in1k", 404, 384)]),
    model("timm/convnext_atto", convnext::timm::convnext_atto, &[hf("timm/convnext_atto.d2_in1k", "d2_in1k", 256, 224)]),
    model("timm/convnext_femto", convnext::timm::convnext_femto, &[hf("timm/convnext_femto.d1_in1k", "d1_in1k", 256, 224)]),
    model("timm/convnext_pico", convnext::timm::convnext_pico, &[hf("timm/convnext_pico.d1_in1k", "d1_in1k", 256, 224)]),
    model("timm/convnext_nano", convnext::timm::convnext_nano, &[hf("timm/convnext_nano.d1h_in1k", "d1h_in1k", 235, 224), hf("timm/convnext_nano.in12k_ft_in1k", "in12k_ft_in1k", 235, 224), hf("timm/convnext_nano.r384_in12k_ft_in1k", "r384_in12k_ft_in1k", 384, 384)]),
    model("timm/convnext_tiny", convnext::timm::convnext_tiny, &[hf("timm/convnext_tiny.fb_in1k", "fb_in1k", 256, 224), hf("timm/convnext_tiny.fb_in22k_ft_in1k", "fb_in22k_ft_in1k", 256, 224), hf("timm/convnext_tiny.fb_in22k_ft_in1k_384", "fb_in22k_ft_in1k_384", 384, 384), hf("timm/convnext_tiny.in12k_ft_in1k", "in12k_ft_in1k", 235, 224), hf("timm/convnext_tiny.in12k_ft_in1k_384", "in12k_ft_in1k_384", 384, 384)]),
    model("timm/convnext_small", convnext::timm::convnext_small, &[hf("timm/convnext_small.fb_in1k", "fb_in1k", 256, 224), hf("timm/convnext_small.fb_in22k_ft_in1k", "fb_in22k_ft_in1k", 256, 224), hf("timm/convnext_small.fb_in22k_ft_in1k_384", "fb_in22k_ft_in1k_384", 384, 384), hf("timm/convnext_small.in12k_ft_in1k", "in12k_ft_in1k", 235, 224), hf("timm/convnext_small.in12k_ft_in1k_384", "in12k_ft_in1k_384", 384, 384)]),
    model("timm/convnext_base", convnext::timm::convnext_base, &[hf("timm/convnext_base.fb_in1k", "fb_in1k", 256, 224), hf("timm/convnext_base.fb_in22k_ft_in1k", "fb_in22k_ft_in1k", 256, 224), hf("timm/convnext_base.fb_in22k_ft_in1k_384", "fb_in22k_ft_in1k_384", 384, 384)]),
    model("timm/convnextv2_atto", convnext::timm::convnextv2_atto, &[licensed("CC-BY-NC-4.0", hf("timm/convnextv2_atto.fcmae_ft_in1k", "fcmae_ft_in1k", 256, 224))]),
    model("timm/convnextv2_nano", convnext::timm::convnextv2_nano, &[licensed("CC-BY-NC-4.0", hf("timm/convnextv2_nano.fcmae_ft_in1k", "fcmae_ft_in1k", 256, 224)), licensed("CC-BY-NC-4.0", hf("timm/convnextv2_nano.fcmae_ft_in22k_in1k", "fcmae_ft_in22k_in1k", 256, 224)), licensed("CC-BY-NC-4.0", hf("timm/convnextv2_nano.fcmae_ft_in22k_in1k_384", "fcmae_ft_in22k_in1k_384", 384, 384))]),
    model("timm/vit_tiny_patch16_224", vision_transformer::timm::vit_tiny_patch16_224, &[hf_half("timm/vit_tiny_patch16_224.augreg_in21k_ft_in1k", "augreg_in21k_ft_in1k", 248, 224)]),
    model("timm/vit_small_patch16_224", vision_transformer::timm::vit_small_patch16_224, &[hf_half("timm/vit_small_patch16_224.augreg_in1k", "augreg_in1k", 248, 224), hf_half("timm/vit_small_patch16_224.augreg_in21k_ft_in1k", "augreg_in21k_ft_in1k", 248, 224)]),
    model("timm/vit_base_patch16_224", vision_transformer::timm::vit_base_patch16_224, &[hf_half("timm/vit_base_patch16_224.augreg2_in21k_ft_in1k", "augreg2_in21k_ft_in1k", 248, 224), hf_half("timm/vit_base_patch16_224.augreg_in1k", "augreg_in1k", 248, 224), hf_half("timm/vit_base_patch16_224.augreg_in21k_ft_in1k", "augreg_in21k_ft_in1k", 248, 224), hf_half("timm/vit_base_patch16_224.orig_in21k_ft_in1k", "orig_in21k_ft_in1k", 248, 224), hf_half("timm/vit_base_patch16_224.sam_in1k", "sam_in1k", 248, 224)]),
    model("timm/vit_base_patch32_224", vision_transformer::timm::vit_base_patch32_224, &[hf_half("timm/vit_base_patch32_224.augreg_in1k", "augreg_in1k", 248, 224), hf_half("timm/vit_base_patch32_224.augreg_in21k_ft_in1k", "augreg_in21k_ft_in1k", 248, 224), hf_half("timm/vit_base_patch32_224.sam_in1k", "sam_in1k", 248, 224)]),
    model("timm/deit_tiny_patch16_224", vision_transformer::timm::deit_tiny_patch16_224, &[hf("timm/deit_tiny_patch16_224.fb_in1k", "fb_in1k", 248, 224)]),
    model("timm/deit_small_patch16_224", vision_transformer::timm::deit_small_patch16_224, &[hf("timm/deit_small_patch16_224.fb_in1k", "fb_in1k", 248, 224)]),
    model("timm/deit_base_patch16_224", vision_transformer::timm::deit_base_patch16_224, &[hf("timm/deit_base_patch16_224.fb_in1k", "fb_in1k", 248, 224)]),
    model("timm/vit_small_patch14_dinov2", vision_transformer::timm::vit_small_patch14_dinov2, &[trunk(hf("timm/vit_small_patch14_dinov2.lvd142m", "lvd142m", 518, 518))]),
    model("timm/vit_base_patch14_dinov2", vision_transformer::timm::vit_base_patch14_dinov2, &[trunk(hf("timm/vit_base_patch14_dinov2.lvd142m", "lvd142m", 518, 518))]),
    model("timm/vit_small_patch14_reg4_dinov2", vision_transformer::timm::vit_small_patch14_reg4_dinov2, &[trunk(hf("timm/vit_small_patch14_reg4_dinov2.lvd142m", "lvd142m", 518, 518))]),
    model("timm/vit_base_patch14_reg4_dinov2", vision_transformer::timm::vit_base_patch14_reg4_dinov2, &[trunk(hf("timm/vit_base_patch14_reg4_dinov2.lvd142m", "lvd142m", 518, 518))]),
    model("open_clip/ViT-B-32", clip::vit_b_32, &[of_clip("laion/CLIP-ViT-B-32-laion2B-s34B-b79K", "laion2b_s34b_b79k", Some("MIT"))]),
    model("open_clip/ViT-B-16", clip::vit_b_16, &[of_clip("laion/CLIP-ViT-B-16-laion2B-s34B-b88K", "laion2b_s34b_b88k", Some("MIT"))]),
    model("open_clip/ViT-B-32-quickgelu", clip::vit_b_32_quickgelu, &[of_clip("openai/clip-vit-base-patch32", "openai", None)]),
    model("open_clip/ViT-B-16-quickgelu", clip::vit_b_16_quickgelu, &[of_clip("openai/clip-vit-base-patch16", "openai", None)]),
];

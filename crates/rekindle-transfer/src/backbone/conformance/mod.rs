//! Tests the contract of [`Backbone`], for implementations of one's own.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use rekindle_models::resnet::ResNetConfig;
//! use rekindle_transfer::backbone::conformance;
//!
//! let device = Device::flex();
//! let config = ResNetConfig::RESNET18.with_stem_width(8).with_num_classes(0);
//! let images = Tensor::random([2, 3, 32, 32], Distribution::Default, &device);
//! conformance::check(&config.network(0, &device).unwrap(), images)?;
//! # Ok::<(), conformance::ConformanceError>(())
//! ```

mod error;
mod parameters;

pub use error::ConformanceError;

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::prelude::*;
use rekindle_weights::state_dict;

use super::{Backbone, check_channels};

/// Relative difference between two ways to compute the same: fused kernels round otherwise than one by one.
const TOLERANCE: f32 = 1e-3;

/// Checks `backbone` against the contract of [`Backbone`], number by number, on `images`
/// `[batch, in_channels, height, width]`: at least two of a size that the network takes, on a device without autodiff.
/// Small ones will do; a backbone of five stages runs some thirty times.
///
/// # Errors
///
/// The first promise that is broken, with what was found.
pub fn check<B: Backbone>(backbone: &B, images: Tensor<4>) -> Result<(), ConformanceError> {
    if images.dims()[0] < 2 || images.is_autodiff() {
        return Err(ConformanceError::Images {
            found: format!("{:?} on {:?}", images.dims(), images.device()),
            expected: "at least two images, on a device without autodiff".into(),
        });
    }
    check_channels(backbone, &images).map_err(|error| ConformanceError::Images {
        found: error.to_string(),
        expected: format!("{} channels", backbone.in_channels()),
    })?;
    let backbone = backbone.valid();
    names(&backbone)?;
    parameters::names(&backbone)?;
    let before = state_dict::collect(&backbone);
    let maps = maps(&backbone, &images);
    composition(&backbone, &maps)?;
    pooling(&backbone, &maps)?;
    each_image_alone(&backbone, &images)?;
    evaluation(&backbone, &images, &before)?;
    parameters::stages(&backbone, &maps)?;
    beyond_the_last(&backbone, &maps)?;
    eight_bits(&backbone, &images)?;
    fresh_weights(&backbone, &images)
}

/// Returns the input of each stage, and the output of the last.
fn maps<B: Backbone>(backbone: &B, images: &Tensor<4>) -> Vec<Tensor<4>> {
    let mut maps = vec![images.clone()];
    for stage in 0..backbone.stage_names().len() {
        let x = maps[stage].clone();
        maps.push(backbone.forward_stage(stage, x));
    }
    maps
}

fn names<B: Backbone>(backbone: &B) -> Result<(), ConformanceError> {
    let names = backbone.stage_names();
    let unique: BTreeSet<&&str> = names.iter().collect();
    if names.is_empty() || unique.len() < names.len() || names.contains(&"") {
        return Err(ConformanceError::StageNames {
            found: names.iter().map(ToString::to_string).collect(),
        });
    }
    Ok(())
}

fn composition<B: Backbone>(backbone: &B, maps: &[Tensor<4>]) -> Result<(), ConformanceError> {
    for start in 0..maps.len() {
        for end in start..maps.len() {
            let found = backbone.forward_stages(start, end, maps[start].clone());
            let difference = distance(found, maps[end].clone());
            if difference.is_none_or(|difference| difference > TOLERANCE) {
                return Err(ConformanceError::Composition {
                    start,
                    end,
                    difference,
                });
            }
        }
    }
    Ok(())
}

fn pooling<B: Backbone>(backbone: &B, maps: &[Tensor<4>]) -> Result<(), ConformanceError> {
    let last = &maps[maps.len() - 1];
    let pooled = backbone.pool(last.clone());
    let expected = [last.dims()[0], backbone.num_features()];
    if pooled.dims() != expected || expected[1] == 0 {
        return Err(ConformanceError::Features {
            found: pooled.dims().to_vec(),
            expected: expected.to_vec(),
        });
    }
    for (start, x) in maps.iter().enumerate() {
        let found = backbone.pool_stages(start, x.clone());
        let difference = distance(found, pooled.clone());
        if difference.is_none_or(|difference| difference > TOLERANCE) {
            return Err(ConformanceError::Pooling { start, difference });
        }
    }
    Ok(())
}

fn each_image_alone<B: Backbone>(backbone: &B, images: &Tensor<4>) -> Result<(), ConformanceError> {
    let together = backbone.pool_stages(0, images.clone());
    for image in 0..images.dims()[0] {
        let alone = backbone.pool_stages(0, images.clone().narrow(0, image, 1));
        let difference = distance(alone, together.clone().narrow(0, image, 1));
        if difference.is_none_or(|difference| difference > TOLERANCE) {
            return Err(ConformanceError::Batch { image, difference });
        }
    }
    Ok(())
}

fn evaluation<B: Backbone>(
    backbone: &B,
    images: &Tensor<4>,
    before: &std::collections::BTreeMap<String, state_dict::HostTensor>,
) -> Result<(), ConformanceError> {
    let run = || backbone.pool_stages(0, images.clone());
    let difference = distance(run(), run());
    if difference.is_none_or(|difference| difference > TOLERANCE) {
        return Err(ConformanceError::Chance { difference });
    }
    let after = state_dict::collect(backbone);
    match before
        .iter()
        .find(|(name, tensor)| after.get(*name) != Some(*tensor))
    {
        Some((name, _)) => Err(ConformanceError::Moved { name: name.clone() }),
        None => Ok(()),
    }
}

/// Checks that a stage which doesn't exist is refused and no identity.
fn beyond_the_last<B: Backbone>(backbone: &B, maps: &[Tensor<4>]) -> Result<(), ConformanceError> {
    let stages = maps.len() - 1;
    let x = || maps[stages].clone();
    let calls: [(&'static str, &dyn Fn()); 3] = [
        ("forward_stage", &|| {
            drop(backbone.forward_stage(stages, x()))
        }),
        ("forward_stages", &|| {
            drop(backbone.forward_stages(stages, stages + 1, x()));
        }),
        ("pool_stages", &|| {
            drop(backbone.pool_stages(stages + 1, x()))
        }),
    ];
    for (method, call) in calls {
        if catch_unwind(AssertUnwindSafe(call)).is_ok() {
            return Err(ConformanceError::BeyondTheLast { method, stages });
        }
    }
    Ok(())
}

/// Checks that a backbone that runs in eight bits pools as the backbone does.
fn eight_bits<B: Backbone>(backbone: &B, images: &Tensor<4>) -> Result<(), ConformanceError> {
    let stages = backbone.stage_names().len();
    let Ok(quantized) = backbone.quantize(stages, std::slice::from_ref(images)) else {
        return Ok(());
    };
    let failed = |error: crate::TransferError| ConformanceError::EightBits {
        reason: error.to_string(),
    };
    let maps = quantized.forward(images.clone()).map_err(failed)?;
    let pooled = quantized.pool(images.clone()).map_err(failed)?;
    match distance(pooled, backbone.pool(maps)) {
        Some(difference) if difference <= TOLERANCE => Ok(()),
        difference => Err(ConformanceError::EightBits {
            reason: format!("its pooling differs from the backbone's by {difference:?}"),
        }),
    }
}

/// Checks that a backbone's fresh weights are new, and a function of the seed.
fn fresh_weights<B: Backbone>(backbone: &B, images: &Tensor<4>) -> Result<(), ConformanceError> {
    let fresh = |seed| backbone.clone().reinitialise(seed);
    let (Ok(first), Ok(again), Ok(other)) = (fresh(1), fresh(1), fresh(2)) else {
        return Ok(());
    };
    let wrong = |reason: &str| {
        Err(ConformanceError::FreshWeights {
            reason: reason.into(),
        })
    };
    let shapes = state_dict::shapes;
    if shapes(&first) != shapes(backbone) {
        return wrong("the network has other parameters");
    }
    let of = |backbone: &B| state_dict::collect(backbone);
    if of(&first) == of(backbone) || of(&first) == of(&other) {
        return wrong("the weights are the same as before, or for two seeds");
    }
    if of(&first) != of(&again) {
        return wrong("two calls with one seed give different weights");
    }
    let features = first.valid().pool_stages(0, images.clone()).dims();
    match features == [images.dims()[0], backbone.num_features()] {
        true => Ok(()),
        false => wrong("the features have another length"),
    }
}

/// Computes the largest difference over the largest value; none for different shapes and for values that are no
/// numbers.
fn distance<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> Option<f32> {
    if found.dims() != expected.dims() {
        return None;
    }
    let largest = expected.clone().abs().max().into_scalar::<f32>();
    let difference = (found - expected).abs().max().into_scalar::<f32>();
    let relative = difference / largest.max(f32::MIN_POSITIVE);
    relative.is_finite().then_some(relative)
}

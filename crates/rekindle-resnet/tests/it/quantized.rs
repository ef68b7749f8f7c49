//! Stages in eight bits against the same in f32.

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_resnet::{Block, Error, QuantizedStages, ResNet, STAGES};

use crate::networks::{configurations, images};

/// Nothing where this machine has no instructions for it.
fn quantized(model: &ResNet, stages: usize, images: &Tensor<4>) -> Option<QuantizedStages> {
    match model.quantize_stages(stages, std::slice::from_ref(images)) {
        Err(Error::NotQuantizable { reason, .. }) if reason.contains("this machine") => {
            test_support::skip(test_support::Needs::Instructions, reason);
            None
        }
        quantized => Some(quantized.unwrap()),
    }
}

/// Mean square of the difference, relative to that of the expected values.
fn distance<const D: usize>(found: Tensor<D>, expected: Tensor<D>) -> f32 {
    assert_eq!(found.dims(), expected.dims());
    let difference = (found - expected.clone()).square().mean();
    (difference / expected.square().mean())
        .sqrt()
        .into_scalar::<f32>()
}

#[test]
fn every_prefix_is_near_that_in_f32() {
    let device = Device::flex();
    for (name, config) in configurations() {
        let model = config.init(&device);
        let images = images(config.in_channels, &device);
        for stages in 1..=STAGES.len() {
            let Some(quantized) = quantized(&model, stages, &images) else {
                return;
            };
            assert_eq!(quantized.stages(), stages);
            let maps = quantized.forward(images.clone()).unwrap();
            let expected = model.forward_stages(0..stages, images.clone()).unwrap();
            let error = distance(maps.clone(), expected);
            // Rounded, but to 255 steps: a few thousandths a layer.
            assert!((1e-4..0.05).contains(&error), "{name} {stages}: {error}");
            let pooled = quantized.pool(images.clone()).unwrap();
            assert!(distance(pooled, model.pool(maps)) < 1e-5, "{name} {stages}");
        }
    }
}

#[test]
fn the_same_images_give_the_same_numbers_and_others_do_not() {
    let device = Device::flex();
    let (_, config) = configurations().remove(0);
    let mut model = config.init(&device);
    let of = images(3, &device);
    let Some(first) = quantized(&model, 3, &of) else {
        return;
    };
    let second = quantized(&model, 3, &of).unwrap();
    let before = first.forward(of.clone()).unwrap().into_data();
    assert_eq!(before, second.forward(of.clone()).unwrap().into_data());
    assert_eq!(first.digest(), second.digest());
    let other = quantized(&model, 3, &(of.clone() * 1.5)).unwrap();
    assert_ne!(first.digest(), other.digest());

    // Weights as they stood when it was made.
    let Some(Block::Basic(block)) = model.layer1.first_mut() else {
        unreachable!("a basic network");
    };
    block.conv2.weight = Param::from_tensor(block.conv2.weight.val().mul_scalar(-3.0));
    assert_eq!(before, first.forward(of.clone()).unwrap().into_data());
    let moved = quantized(&model, 3, &of).unwrap();
    let expected = model.forward_stages(0..3, of.clone()).unwrap();
    assert!(distance(moved.forward(of).unwrap(), expected) < 0.05);
}

#[test]
fn images_beyond_the_measured_range_saturate() {
    let device = Device::flex();
    let (_, config) = configurations().remove(0);
    let model = config.init(&device);
    let of = images(3, &device);
    let Some(quantized) = quantized(&model, 2, &of) else {
        return;
    };
    let largest = of.clone().abs().max().into_scalar::<f32>();
    let far = quantized.forward(of * 1e6).unwrap();
    let far = far.abs().max().into_scalar::<f32>();
    assert!(far.is_finite() && far < 1e3 * largest, "{far}");
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let device = Device::flex();
    let (_, config) = configurations().remove(0);
    let model = config.init(&device);
    let of = images(3, &device);
    let Some(made) = quantized(&model, 2, &of) else {
        return;
    };
    let reason = |result: Result<QuantizedStages, Error>| match result {
        Err(Error::NotQuantizable { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("quantised"),
    };
    let one = std::slice::from_ref(&of);
    assert!(reason(model.quantize_stages(0, one)).contains("1 to 5"));
    assert!(reason(model.quantize_stages(6, one)).contains("1 to 5"));
    let trained = config.init(&device.clone().autodiff());
    assert!(reason(trained.quantize_stages(2, one)).contains("valid()"));
    trained.valid().quantize_stages(2, one).unwrap();
    let off = model.clone().with_kernels(false);
    assert!(reason(off.quantize_stages(2, one)).contains("switched on"));
    assert!(reason(model.quantize_stages(2, &[])).contains("no images"));
    let grey = images(1, &device);
    assert!(reason(model.quantize_stages(2, std::slice::from_ref(&grey))).contains("channels"));
    let broken = of.clone() * f32::NAN;
    assert!(reason(model.quantize_stages(2, &[broken])).contains("range"));
    let mut broken = model.clone();
    broken.conv1.weight = Param::from_tensor(broken.conv1.weight.val() * f32::INFINITY);
    reason(broken.quantize_stages(2, one));

    let refused = |images: Tensor<4>| {
        matches!(
            made.forward(images),
            Err(Error::NotQuantizable { stages: 2, .. })
        )
    };
    assert!(refused(grey));
    assert!(refused(images(3, &device.clone().autodiff())));
    assert!(refused(Tensor::zeros([1, 3, 0, 7], &device)));
}

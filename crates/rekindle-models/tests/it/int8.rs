//! Stages in eight bits against the same in f32.

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, Pipeline};
use rekindle_kernels::Isa;
use rekindle_models::resnet::{BlockKind, ResNetConfig};
use rekindle_models::{Model, Options, Pretrained};
use rekindle_nn::{
    Activation::{Relu, Relu6},
    Builder, Conv, Graph, Network, NotQuantizable, QuantizedStages,
};
use rekindle_weights::state_dict;
use test_support::{StateDict, shared, uniform};

use crate::zoo::formula;

const BASIC: ResNetConfig = ResNetConfig::new(BlockKind::Basic, [1, 2, 1, 1])
    .with_num_classes(7)
    .with_stem_width(16);
const BOTTLENECK: ResNetConfig = ResNetConfig::new(BlockKind::Bottleneck, [1, 1, 2, 1])
    .with_num_classes(7)
    .with_stem_width(16);

/// Small ResNets with everything that the large ones have: channels that don't fill a block of sixteen, one channel of
/// images, groups.
const SMALL: [(&str, ResNetConfig); 5] = [
    ("basic", BASIC),
    ("narrow", BASIC.with_stem_width(6)),
    ("grey", BASIC.with_stem_width(8).with_in_channels(1)),
    ("bottleneck", BOTTLENECK),
    (
        "grouped",
        BOTTLENECK.with_groups(4).with_width_per_group(16),
    ),
];

fn small(config: ResNetConfig, device: &Device) -> Network {
    filled(config.network(0, device).unwrap())
}

/// A formula's weights and running statistics.
fn filled(network: Network) -> Network {
    let mut values = StateDict::new(state_dict::shapes(&network));
    state_dict::assign(network, |name| Some(values.next(name)))
}

fn described(name: &str, options: &Options) -> Graph {
    (Model::named(name).unwrap().describe)(options).unwrap()
}

/// Images of an odd size, so that windows hang over the edge.
fn images(channels: usize, device: &Device) -> Tensor<4> {
    sized_images(channels, [77, 69], device)
}

fn sized_images(channels: usize, [height, width]: [usize; 2], device: &Device) -> Tensor<4> {
    let (count, size) = (4, height * width);
    let value = |index: usize| 2.0 * uniform(1 << 20, index) + uniform(1 << 21, index / size);
    let values: Vec<f32> = (0..count * channels * size).map(value).collect();
    let shape = [count, channels, height, width];
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Nothing where this machine has no instructions for it.
fn quantized(network: &Network, stages: usize, images: &Tensor<4>) -> Option<QuantizedStages> {
    match network.quantize_stages(stages, std::slice::from_ref(images)) {
        Err(NotQuantizable { reason, .. }) if reason.contains("this machine") => {
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
fn every_prefix_of_a_resnet_is_near_that_in_f32() {
    let device = Device::flex();
    for (name, config) in SMALL {
        let network = small(config, &device);
        let images = images(config.in_channels, &device);
        for stages in 1..=5 {
            let Some(quantized) = quantized(&network, stages, &images) else {
                return;
            };
            assert_eq!(quantized.stages(), stages);
            let maps = quantized.forward(images.clone()).unwrap();
            let expected = network.forward_stages(0..stages, images.clone()).unwrap();
            let error = distance(maps.clone(), expected);
            println!("{name} {stages}: {error:.1e}");
            // Rounded, but to 255 steps: a few thousandths per layer.
            assert!((1e-4..0.05).contains(&error), "{name} {stages}: {error}");
            let pooled = quantized.pool(images.clone()).unwrap();
            // The same sums as of the same maps in f32.
            assert_eq!(pooled.into_data(), network.pool(maps).into_data());
        }
    }
}

/// Models in which not all steps have a kernel for bytes, and the errors seen by prefix. A byte's step is a 255th of the
/// range, which is some 8 standard deviations wide, so that each rounding adds about 0.01 of the standard deviation. These
/// add up as the root of their number: MobileNetV2 and Lite0 have some 35 dense convolutions in a row, of which input,
/// weights and output are rounded, and the root of a hundred is 0.1. With real weights features are off by as much.
const OTHERS: [(&str, &[f32]); 7] = [
    // No byte in the stem, whose convolution steps by four pixels.
    ("convnextv2_atto", &[0.0, 1.9e-2, 3.1e-2, 4.2e-2, 5.6e-2]),
    (
        "mobilenet_v2",
        &[
            6.4e-3, 9.1e-3, 2.2e-2, 4.2e-2, 6.3e-2, 9.1e-2, 1.0e-1, 1.3e-1, 1.3e-1,
        ],
    ),
    (
        "mobilenet_v3_large",
        &[6.7e-3, 1.0e-2, 2.2e-2, 4.3e-2, 5.9e-2, 8.2e-2, 8.5e-2],
    ),
    (
        "mobilenetv4_conv_small",
        &[6.4e-3, 1.2e-2, 1.4e-2, 3.8e-2, 4.7e-2, 4.9e-2],
    ),
    (
        "efficientnet_b0",
        &[
            6.6e-3, 1.8e-2, 3.0e-2, 2.3e-2, 1.1e-2, 1.1e-2, 1.1e-2, 1.4e-2, 1.3e-2,
        ],
    ),
    (
        "tf_efficientnet_lite0",
        &[
            6.4e-3, 9.1e-3, 2.2e-2, 3.0e-2, 5.0e-2, 6.1e-2, 8.1e-2, 9.7e-2, 9.9e-2,
        ],
    ),
    ("regnet_y_400mf", &[6.4e-3, 1.2e-2, 1.6e-2, 2.2e-2, 2.6e-2]),
];

/// Errors may be this many times those seen, on other kernels of `f32` and for other compilers' rounding.
const TIMES: f32 = 2.0;

/// Variance of weights times the numbers that are summed, as for ReLU after He et al.
const GAIN: f64 = 6.0;

#[test]
fn every_prefix_of_other_families_is_near_that_in_f32() {
    let device = Device::flex();
    let mut failed = Vec::new();
    for (name, seen) in OTHERS {
        let network = formula::filled(name, GAIN, &device);
        let images = images(3, &device);
        assert_eq!(seen.len(), network.graph().stages().len());
        for (stages, seen) in (1..).zip(seen) {
            let Some(quantized) = quantized(&network, stages, &images) else {
                return;
            };
            let maps = quantized.forward(images.clone()).unwrap();
            let expected = network.forward_stages(0..stages, images.clone()).unwrap();
            let error = distance(maps, expected);
            println!("{name} {stages}: {error:.1e}");
            let is_right = match *seen {
                0.0 => error == 0.0,
                seen => (1e-4..TIMES * seen).contains(&error),
            };
            if !is_right {
                failed.push(format!("{name} {stages}: {error:.1e}, seen {seen:.1e}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A pooling that is more than the means: layers of its own, as MobileNetV3 has.
#[test]
fn features_are_pooled_as_the_network_pools() {
    let device = Device::flex();
    for name in ["mobilenet_v3_large", "efficientnet_b0"] {
        let network = formula::filled(name, GAIN, &device);
        let images = images(3, &device);
        let stages = network.graph().stages().len();
        let Some(quantized) = quantized(&network, stages, &images) else {
            return;
        };
        let maps = quantized.forward(images.clone()).unwrap();
        let pooled = quantized.pool(images).unwrap();
        assert_eq!(pooled.into_data(), network.pool(maps).into_data(), "{name}");
    }
}

#[test]
fn the_same_images_give_the_same_numbers_and_others_do_not() {
    let device = Device::flex();
    let network = small(BASIC, &device);
    let of = images(3, &device);
    let Some(first) = quantized(&network, 3, &of) else {
        return;
    };
    let second = quantized(&network, 3, &of).unwrap();
    let before = first.forward(of.clone()).unwrap().into_data();
    assert_eq!(before, second.forward(of.clone()).unwrap().into_data());
    assert_eq!(first.digest(), second.digest());
    let other = quantized(&network, 3, &(of.clone() * 1.5)).unwrap();
    assert_ne!(first.digest(), other.digest());

    // Weights as they stood when it was made.
    let moved = times(network, "layer1.0.conv2.weight", -3.0);
    assert_eq!(before, first.forward(of.clone()).unwrap().into_data());
    let quantized = quantized(&moved, 3, &of).unwrap();
    let expected = moved.forward_stages(0..3, of.clone()).unwrap();
    assert!(distance(quantized.forward(of).unwrap(), expected) < 0.05);
}

/// Multiplies one tensor.
fn times(network: Network, tensor: &str, factor: f32) -> Network {
    let mut values = state_dict::collect(&network);
    for value in &mut values.get_mut(tensor).unwrap().values {
        *value *= factor;
    }
    state_dict::assign(network, |name| Some(values.remove(name).unwrap().values))
}

#[test]
fn images_beyond_the_measured_range_saturate() {
    let device = Device::flex();
    let network = small(BASIC, &device);
    let of = images(3, &device);
    let Some(quantized) = quantized(&network, 2, &of) else {
        return;
    };
    let largest = of.clone().abs().max().into_scalar::<f32>();
    let far = quantized.forward(of * 1e6).unwrap();
    let far = far.abs().max().into_scalar::<f32>();
    assert!(far.is_finite() && far < 1e3 * largest, "{far}");
}

/// Paddings of strided convolutions follow the size, here of images of another size than ranges were measured on, and of
/// two sizes to measure on.
#[test]
fn images_of_any_size_are_taken() {
    let device = Device::flex();
    for name in ["tf_efficientnet_lite0", "resnet18"] {
        let network = formula::filled(name, GAIN, &device);
        let sizes = [[64, 64], [77, 69], [65, 80]];
        let [first, second, third] = sizes.map(|size| sized_images(3, size, &device));
        let both = [first.clone(), second.clone()];
        let Some(one) = quantized(&network, 3, &first) else {
            return;
        };
        let two = network.quantize_stages(3, &both).unwrap();
        assert_ne!(one.digest(), two.digest());
        for images in [first, second, third] {
            let expected = network.forward_stages(0..3, images.clone()).unwrap();
            for quantized in [&one, &two] {
                let error = distance(quantized.forward(images.clone()).unwrap(), expected.clone());
                assert!(error < 0.05, "{name} {:?}: {error}", images.dims());
            }
        }
    }
}

#[test]
fn what_cannot_be_quantized_is_refused() {
    let device = Device::flex();
    let network = small(BASIC, &device);
    let of = images(3, &device);
    let Some(made) = quantized(&network, 2, &of) else {
        return;
    };
    let reason = |result: Result<QuantizedStages, NotQuantizable>| {
        let error = result.unwrap_err();
        assert!(error.to_string().contains(&error.reason), "{error}");
        error.reason
    };
    let one = std::slice::from_ref(&of);
    assert!(reason(network.quantize_stages(0, one)).contains("1 to 5"));
    assert!(reason(network.quantize_stages(6, one)).contains("1 to 5"));
    let trained = small(BASIC, &device.clone().autodiff());
    assert!(reason(trained.quantize_stages(2, one)).contains("valid()"));
    trained.valid().quantize_stages(2, one).unwrap();
    let off = network.clone().with_kernels(false);
    assert!(reason(off.quantize_stages(2, one)).contains("switched on"));
    assert!(reason(network.quantize_stages(2, &[])).contains("no images"));
    let grey = images(1, &device);
    assert!(reason(network.quantize_stages(2, std::slice::from_ref(&grey))).contains("channels"));
    let broken = of.clone() * f32::NAN;
    assert!(reason(network.quantize_stages(2, &[broken])).contains("range"));
    let broken = times(network, "conv1.weight", f32::INFINITY);
    assert!(reason(broken.quantize_stages(2, one)).contains("finite"));
    // Where a layer runs in f32, too.
    let depthwise = formula::filled("mobilenet_v2", GAIN, &device);
    let broken = times(depthwise, "features.1.conv.0.0.weight", f32::INFINITY);
    broken.quantize_stages(1, one).unwrap();
    assert!(reason(broken.quantize_stages(2, one)).contains("finite"));

    let refused = |images: Tensor<4>| {
        let refused = made.forward(images);
        matches!(refused, Err(NotQuantizable { stages: 2, .. }))
    };
    assert!(refused(grey));
    assert!(refused(images(3, &device.clone().autodiff())));
    assert!(refused(Tensor::zeros([1, 3, 0, 7], &device)));
    assert!(refused(of.cast(burn::tensor::DType::F64)));
}

/// Stages with operations that are left to Burn.
#[test]
fn operations_without_a_kernel_are_named() {
    let device = Device::flex();
    for (name, stages, operation) in [
        ("densenet121", 2, "a concatenation"),
        ("shufflenet_v2_x0_5", 2, "a concatenation"),
        ("shufflenet_v2_x0_5", 5, "a concatenation"),
        ("deit_tiny_patch16_224", 1, "a turn of patches into tokens"),
    ] {
        let network = Network::new(described(name, &Options::default()), 0, &device);
        let images = images(3, &device);
        if !Isa::detect().has_byte_products() {
            return;
        }
        let error = network.quantize_stages(stages, &[images]).unwrap_err();
        assert!(error.reason.contains(operation), "{name}: {error}");
    }
}

#[test]
fn stages_go_from_thread_to_thread() {
    fn is<T: Send + Sync + std::fmt::Debug>() {}
    is::<QuantizedStages>();
}

/// Two convolutions with a function between them, of large numbers.
fn two(function: rekindle_nn::Activation, device: &Device) -> Network {
    let mut b = Builder::new("two", 3);
    let x = b.images();
    let x = b.stage("stem", |b| {
        let x = b.conv2d("conv1", x, Conv::new(24, 3).bias());
        let x = b.activation(x, function);
        b.conv2d("conv2", x, Conv::new(8, 1))
    });
    let x = b.global_pool(x);
    let network = Network::new(b.finish("fc", x, 2).unwrap(), 0, device);
    times(network, "conv1.weight", 20.0)
}

#[test]
fn the_largest_byte_is_where_relu6_ends() {
    let device = Device::flex();
    let images = images(3, &device);
    let network = two(Relu6, &device);
    let Some(quantized) = quantized(&network, 1, &images) else {
        return;
    };
    let expected = network.forward_stages(0..1, images.clone()).unwrap();
    let error = distance(quantized.forward(images.clone()).unwrap(), expected.clone());
    assert!((1e-4..0.02).contains(&error), "{error}");
    let endless = two(Relu, &device).forward_stages(0..1, images).unwrap();
    let error = distance(endless, expected);
    assert!(error > 0.2, "{error}");
}

#[test]
#[ignore = "runs 500 pictures of 224 pixels twice, a minute or two"]
fn lite0_recognises_the_sample_in_eight_bits() {
    let (Some(weights), Some(pictures)) = (
        shared("data/weights/efficientnet-lite0.pth"),
        shared("data/imagenet_sample"),
    ) else {
        return;
    };
    let device = Device::flex();
    let opened = Pretrained::open(&weights, &device).unwrap();
    let network = opened.model;
    let folder = ImageFolder::open(&pictures).unwrap();
    let pipeline = Pipeline::imagenet_eval(&opened.preprocess);
    let loader = Loader::new(ImageDataset::new(&folder, pipeline).unwrap()).batch_size(50);
    let (mut made, mut same, mut all) = (None, 0, 0);
    for batch in loader.epoch(0) {
        let images = batch.unwrap().to_device(&device).images;
        if made.is_none() {
            made = quantized(&network, network.graph().stages().len(), &images);
        }
        let Some(quantized) = &made else { return };
        let best = |maps| -> Vec<i64> {
            let best = network.forward_head(maps).argmax(1);
            best.into_data().iter().collect()
        };
        let found = best(quantized.forward(images.clone()).unwrap());
        let expected = best(network.forward_features(images));
        same += found.iter().zip(&expected).filter(|(a, b)| a == b).count();
        all += found.len();
    }
    println!("{same} of {all} as in f32");
    // 484 were seen; 426 were right, of f32's 423.
    assert!(same * 100 >= all * 95, "{same} of {all}");
}

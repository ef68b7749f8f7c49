//! Small networks of unusual sizes, by the CPU's own kernels and by Burn's operations.

use burn::module::{Flag, Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::Distribution;
use rekindle_models::conv_net::ConvNetConfig;
use rekindle_models::resnet::{BlockKind, ResNetConfig};
use rekindle_nn::{Member, Network, SideBySide, TensorKind};

use crate::step::{Found, floats, step};

/// Relative error of outputs: two ways of summing in f32.
const TOLERANCE: f64 = 1e-4;
/// Draws of images. Where a sum lies at a ReLU's corner, the two ways may take different sides and the gradients
/// really differ; that is rare, so of several draws the best has to agree.
const DRAWS: usize = 4;

/// Small networks with everything that the large ones have.
fn networks(device: &Device) -> Vec<(&'static str, Network)> {
    let basic = ResNetConfig::new(BlockKind::Basic, [1, 2, 1, 1]).with_num_classes(7);
    let bottleneck = ResNetConfig::new(BlockKind::Bottleneck, [1, 1, 2, 1]).with_num_classes(7);
    let grouped = bottleneck.with_groups(4).with_width_per_group(16);
    let conv_net = |width| {
        let config = ConvNetConfig {
            in_channels: 3,
            width,
            ..ConvNetConfig::default()
        };
        config.network(5, device).unwrap()
    };
    let resnets = [
        ("basic", basic.with_stem_width(16)),
        // Channels that don't fill a block of sixteen.
        ("narrow", basic.with_stem_width(6)),
        ("grey", basic.with_stem_width(8).with_in_channels(1)),
        ("bottleneck", bottleneck.with_stem_width(16)),
        ("grouped", grouped.with_stem_width(16)),
    ];
    let resnets = resnets.map(|(name, config)| (name, config.network(5, device).unwrap()));
    let few_shot = [("conv_net", conv_net(16)), ("wider", conv_net(24))];
    let two_levels = resnets[0].1.clone().with_multilevel_features().unwrap();
    let two_levels = [("two levels", two_levels.network)];
    (resnets.into_iter().chain(few_shot))
        .chain(two_levels)
        .collect()
}

/// The first two, the second given other pixels.
fn side_by_side(device: &Device) -> Network {
    let rescaling = vec![[0.9, 0.1], [1.1, -0.2], [0.8, 0.0]];
    let rescalings = [None, Some(rescaling)];
    let members: Vec<Member> = networks(device)
        .into_iter()
        .zip(rescalings)
        .map(|((_, network), rescaling)| Member { network, rescaling })
        .collect();
    let SideBySide { network, .. } = Network::side_by_side(&members).unwrap();
    network.reset_classifier(5, 3)
}

fn images(network: &Network, device: &Device) -> Tensor<4> {
    // An odd size, so that windows hang over the edge.
    let shape = [4, network.graph().in_channels(), 77, 69];
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

#[test]
fn inference_is_burns() {
    let device = Device::flex();
    for (name, network) in networks(&device) {
        let burn = network.clone().with_kernels(false);
        let images = images(&network, &device);
        let stages = network.forward_intermediates(images.clone());
        for (found, expected) in stages
            .into_iter()
            .zip(burn.forward_intermediates(images.clone()))
        {
            close(found, expected, name);
        }
        close(
            network.forward(images.clone()),
            burn.forward(images.clone()),
            name,
        );
        let middle = network.forward_stages(0..2, images).unwrap();
        close(
            network.pool_stages(2, middle.clone()).unwrap(),
            burn.pool_stages(2, middle).unwrap(),
            name,
        );
    }
}

#[test]
fn training_is_burns() {
    let device = Device::flex().autodiff();
    let joined = [("side by side", side_by_side(&device))];
    for (name, network) in networks(&device).into_iter().chain(joined) {
        compare_steps(name, &network, |network| network);
    }
}

#[test]
fn frozen_parts_get_no_gradient_and_keep_their_statistics() {
    let device = Device::flex().autodiff();
    for (name, network) in networks(&device) {
        let first = network.graph().nodes()[0].name.clone();
        let frozen = |network: Network| network.map(&mut Frozen::default());
        let found = compare_steps(name, &network, frozen);
        assert!(!found.contains_key(&format!("{first}.weight")), "{name}");
        let mut tensors = network.graph().tensors().iter();
        let first_mean = tensors.find(|tensor| tensor.kind == TensorKind::RunningMean);
        let mean = &found[&first_mean.unwrap().name];
        assert!(mean.iter().all(|value| *value == 0.0), "{name}");
    }
}

#[test]
fn a_stage_alone_passes_its_gradient_on() {
    let device = Device::flex().autodiff();
    let (_, network) = networks(&device).remove(0);
    let burn = separate(&network).with_kernels(false);
    let x = Tensor::<4>::random([2, 16, 9, 11], Distribution::Default, &device).require_grad();
    let gradient = |network: &Network| {
        let y = network.forward_stages(1..3, x.clone()).unwrap();
        let grads = (y.clone() * y).sum().backward();
        x.grad(&grads).unwrap()
    };
    close(gradient(&network), gradient(&burn), "gradient by the input");
}

/// Takes the first layers, and a normalisation farther back, out of training.
#[derive(Default)]
struct Frozen(Vec<String>);

impl Frozen {
    fn is_at(&self, parts: &[&str]) -> bool {
        let path = self.0.join(".");
        parts.iter().any(|part| path.starts_with(part))
    }
}

/// Names of the first layers.
const FIRST: [&str; 4] = ["conv1.", "bn1.", "layer1.", "blocks.0."];

impl ModuleMapper for Frozen {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.is_at(&FIRST) {
            true => param.set_require_grad(false),
            false => param,
        }
    }

    fn map_flag(&mut self, flag: Param<Flag>) -> Param<Flag> {
        // A layer that learns but normalises by its running statistics.
        match self.is_at(&FIRST) || self.is_at(&["layer3.0.bn2.", "blocks.2."]) {
            true => flag.with_value(false),
            false => flag,
        }
    }
}

/// A copy with running statistics of its own.
fn separate(network: &Network) -> Network {
    network.valid().train()
}

/// Compares a step both ways, and returns what the kernels gave.
fn compare_steps(name: &str, network: &Network, change: impl Fn(Network) -> Network) -> Found {
    let device = network.device();
    // A smooth loss in which every logit counts differently.
    let loss = |logits: Tensor<2>| (logits.clone().tanh() * logits).cumsum(1).mean();
    let draw = |_| {
        let images = images(network, &device);
        let ours = change(separate(network));
        let found = step(&ours, images.clone(), loss);
        let burn = change(separate(network)).with_kernels(false);
        let expected = step(&burn, images, loss);
        assert!(found.keys().eq(expected.keys()), "{name}");
        let errors = expected
            .iter()
            .map(|(key, expected)| relative(&found[key], expected));
        (errors.fold(0.0, f64::max), found)
    };
    let draws = (0..DRAWS).map(draw);
    let best = draws.min_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    println!("{name}: worst tensor {:.1e}", best.0);
    assert!(best.0 < TOLERANCE, "{name}: {:e}", best.0);
    best.1
}

fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let error = relative(&floats(found), &floats(expected));
    assert!(error < TOLERANCE, "{what}: {error:e}");
}

/// Euclidean norm of the difference over that of what was expected.
fn relative(found: &[f64], expected: &[f64]) -> f64 {
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>().sqrt();
    let scale = norm(&mut expected.iter().copied()).max(1e-6);
    norm(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / scale
}

//! The CPU's kernels against Burn's own operations: outputs, gradients, running statistics, frozen parts.

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use burn::tensor::{Distribution, Gradients};
use rekindle_resnet::{BatchNorm, Block, ResNet, STAGES};

use crate::networks::{configurations, images};

/// Relative error of outputs: two ways of summing in f32.
const TOLERANCE: f32 = 1e-4;
/// Draws of images. Where a sum lies at a ReLU's corner, the two ways may take different sides and the gradients
/// really differ; that is rare, so of several draws the best has to agree.
const DRAWS: usize = 4;

#[test]
fn inference_is_burns() {
    let device = Device::flex();
    for (name, config) in configurations() {
        let model = config.init(&device);
        let burn = model.clone().with_kernels(false);
        let images = images(config.in_channels, &device);
        let expected = burn.forward_intermediates(images.clone());
        for (stage, (found, expected)) in model
            .forward_intermediates(images.clone())
            .into_iter()
            .zip(expected)
            .enumerate()
        {
            close(found, expected, &format!("{name} {}", STAGES[stage]));
        }
        close(
            model.forward(images.clone()),
            burn.forward(images.clone()),
            name,
        );
        let middle = model.forward_stages(0..2, images).unwrap();
        close(
            model.pool_stages(2, middle.clone()).unwrap(),
            burn.pool_stages(2, middle).unwrap(),
            name,
        );
    }
}

#[test]
fn what_was_packed_follows_the_weights() {
    let device = Device::flex();
    let (_, config) = configurations().remove(0);
    let mut model = config.init(&device);
    let images = images(config.in_channels, &device);
    let before = model.forward(images.clone());
    close(model.forward(images.clone()), before.clone(), "unchanged");

    let Some(Block::Basic(block)) = model.layer3.first_mut() else {
        unreachable!("a basic network");
    };
    let weight = block.conv2.weight.val().mul_scalar(-3.0);
    block.conv2.weight = Param::from_tensor(weight);
    let moved = model.forward(images.clone());
    assert!(distance(&moved, &before) > 1e-3);
    let burn = model.clone().with_kernels(false);
    close(moved, burn.forward(images.clone()), "a weight moved");

    let mean = &model.bn1.running_mean;
    mean.update(mean.value() + 0.5);
    mean.value_sync();
    close(
        model.forward(images.clone()),
        burn.forward(images),
        "statistics moved",
    );
}

#[test]
fn training_is_burns() {
    let device = Device::flex().autodiff();
    for (name, config) in configurations() {
        let model = config.init(&device);
        let (model, burn) = (separate(&model), separate(&model).with_kernels(false));
        compare_steps(name, &model, &burn, || {
            images(config.in_channels, &device).require_grad()
        });
        compare_statistics(name, &model, &burn);
    }
}

#[test]
fn frozen_parts_get_no_gradient_and_keep_their_statistics() {
    let device = Device::flex().autodiff();
    for (name, config) in configurations() {
        let model = config.init(&device);
        let (model, burn) = (separate(&model), separate(&model).with_kernels(false));
        let (model, burn) = (partly_frozen(model), partly_frozen(burn));
        compare_steps(name, &model, &burn, || images(config.in_channels, &device));
        compare_statistics(name, &model, &burn);
        let mean = model.bn1.running_mean.value();
        assert_eq!(mean.abs().sum().into_scalar::<f32>(), 0.0);
    }
}

#[test]
fn a_stage_alone_passes_its_gradient_on() {
    let device = Device::flex().autodiff();
    let (_, config) = configurations().remove(0);
    let model = config.init(&device);
    let burn = separate(&model).with_kernels(false);
    let x = Tensor::<4>::random([2, 16, 9, 11], Distribution::Default, &device).require_grad();
    let gradient = |model: &ResNet| {
        let y = model.forward_stages(1..3, x.clone()).unwrap();
        let grads = (y.clone() * y).sum().backward();
        x.grad(&grads).unwrap()
    };
    close(gradient(&model), gradient(&burn), "gradient by the input");
}

fn partly_frozen(mut model: ResNet) -> ResNet {
    model.conv1 = model.conv1.no_grad();
    model.bn1 = frozen(model.bn1.no_grad());
    model.layer1 = model.layer1.into_iter().map(Module::no_grad).collect();
    // A layer that learns but normalises by its running statistics.
    if let Some(Block::Bottleneck(block)) = model.layer3.first_mut() {
        block.bn2 = frozen(block.bn2.clone());
    }
    model
}

fn frozen(mut norm: BatchNorm) -> BatchNorm {
    norm.training = Param::from_bool(false);
    norm
}

/// A copy with running statistics of its own.
fn separate(model: &ResNet) -> ResNet {
    model.valid().train()
}

fn compare_steps(name: &str, model: &ResNet, burn: &ResNet, images: impl Fn() -> Tensor<4>) {
    let errors = (0..DRAWS).map(|_| worst_of_step(name, model, burn, images()));
    let best = errors.fold(f32::INFINITY, f32::min);
    println!("{name}: gradients, worst tensor {best:.1e}");
    assert!(best < TOLERANCE, "{name}: {best:e}");
}

/// The relative error of the gradient that differs most.
fn worst_of_step(name: &str, model: &ResNet, burn: &ResNet, images: Tensor<4>) -> f32 {
    let (logits, grads) = step(model, images.clone());
    let (expected, expected_grads) = step(burn, images.clone());
    close(logits.inner(), expected.inner(), &format!("{name} logits"));
    let mut worst = 0.0f32;
    if let (Some(found), Some(expected)) = (images.grad(&grads), images.grad(&expected_grads)) {
        worst = worst.max(distance(&found, &expected));
    }
    let found = GradientsByName::of(model, &grads);
    let expected = GradientsByName::of(burn, &expected_grads);
    assert_eq!(found.len(), expected.len(), "{name}");
    for ((path, found), (other, expected)) in found.iter().zip(&expected) {
        assert_eq!(path, other);
        assert_eq!(found.is_some(), expected.is_some(), "{name} {path}");
        if let (Some(found), Some(expected)) = (found, expected) {
            worst = worst.max(relative(found, expected));
        }
    }
    worst
}

fn step(model: &ResNet, images: Tensor<4>) -> (Tensor<2>, Gradients) {
    let logits = model.forward(images);
    // A smooth loss in which every logit counts differently.
    let loss = (logits.clone().tanh() * logits.clone()).cumsum(1).mean();
    (logits.clone(), loss.backward())
}

fn compare_statistics(name: &str, model: &ResNet, burn: &ResNet) {
    for (found, expected) in [
        (&model.bn1.running_mean, &burn.bn1.running_mean),
        (&model.bn1.running_var, &burn.bn1.running_var),
    ] {
        close(found.value(), expected.value(), name);
    }
    for (found, expected) in model.layer4.iter().zip(&burn.layer4) {
        if let (Block::Basic(found), Block::Basic(expected)) = (found, expected) {
            let (found, expected) = (&found.bn2.running_var, &expected.bn2.running_var);
            close(found.value(), expected.value(), name);
        }
    }
}

struct GradientsByName<'a> {
    grads: &'a Gradients,
    path: Vec<String>,
    found: Vec<(String, Option<Vec<f32>>)>,
}

impl<'a> GradientsByName<'a> {
    fn of(model: &ResNet, grads: &'a Gradients) -> Vec<(String, Option<Vec<f32>>)> {
        let mut visitor = Self {
            grads,
            path: Vec::new(),
            found: Vec::new(),
        };
        model.visit(&mut visitor);
        visitor.found
    }
}

impl ModuleVisitor for GradientsByName<'_> {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let gradient = param.val().grad(self.grads);
        let values = gradient.map(|gradient| gradient.into_data().iter::<f32>().collect());
        self.found.push((self.path.join("."), values));
    }
}

fn close<const D: usize>(found: Tensor<D>, expected: Tensor<D>, what: &str) {
    assert_eq!(found.dims(), expected.dims(), "{what}");
    let error = distance(&found, &expected);
    assert!(error < TOLERANCE, "{what}: {error:e}");
}

fn distance<const D: usize>(a: &Tensor<D>, b: &Tensor<D>) -> f32 {
    let host = |x: &Tensor<D>| x.to_data().iter::<f32>().collect::<Vec<_>>();
    relative(&host(a), &host(b))
}

/// Euclidean norm of the difference over that of what was expected.
fn relative(found: &[f32], expected: &[f32]) -> f32 {
    let norm = |values: &mut dyn Iterator<Item = f32>| values.map(|v| v * v).sum::<f32>().sqrt();
    let scale = norm(&mut expected.iter().copied()).max(1e-6);
    norm(&mut found.iter().zip(expected).map(|(a, b)| a - b)) / scale
}

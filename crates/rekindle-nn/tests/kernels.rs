//! Networks by the CPU's own kernels against Burn's operations, combination by combination.
#![cfg(feature = "kernels")]
#![allow(clippy::unwrap_used)]

#[path = "common/step.rs"]
mod step;

use burn::module::{Module, ModuleMapper, Param};
use burn::prelude::*;
use burn::tensor::{DType, TensorData};
use rekindle_nn::{
    Activation, Builder, Conv, Graph, Init, Network, Padding, Pool2d, Tokens, Value,
};
use step::{Found, ToF64, floats, step as step_of};

/// A network of one stage without marked blocks.
fn graph(inside: impl FnOnce(&mut Builder, Value) -> Value) -> Graph {
    let mut b = Builder::new("net", 5);
    let x = b.images();
    let x = b.stage("stem", |b| {
        let x = inside(b, x);
        // Without it, gradients would be alike for all pixels, and cancel in normalisations.
        b.activation(x, Activation::Silu)
    });
    let x = b.global_pool(x);
    b.finish("fc", x, 3).unwrap()
}

/// As [`graph`], with the inside as a block between two convolutions.
fn block(inside: impl FnOnce(&mut Builder, Value) -> Value) -> Graph {
    graph(|b, x| {
        let x = b.conv2d("in", x, Conv::new(20, 3));
        let x = b.block(|b| inside(b, x));
        b.conv2d("out", x, Conv::new(7, 1).bias())
    })
}

fn gate(b: &mut Builder, x: Value, inner: Activation, outer: Activation) -> Value {
    let channels = b.channels(x);
    let s = b.global_avg_pool(x);
    let s = b.conv2d("fc1", s, Conv::new(6, 1).bias());
    let s = b.activation(s, inner);
    let s = b.conv2d("fc2", s, Conv::new(channels, 1).bias());
    let s = b.activation(s, outer);
    b.mul(x, s)
}

/// Graphs by what is in them.
fn graphs() -> Vec<(String, Graph)> {
    let mut all = Vec::new();
    let mut add = |name: &str, graph: Graph| all.push((name.to_string(), graph));
    for act in Activation::ALL {
        let name = format!("{act:?}");
        add(
            &format!("conv norm add {name}"),
            block(|b, x| {
                let y = b.conv2d("conv", x, Conv::new(20, 3));
                let y = b.batch_norm("norm", y);
                let y = b.add(x, y);
                b.activation(y, act)
            }),
        );
        add(
            &format!("conv norm {name} bias {name} add {name}"),
            block(|b, x| {
                let y = b.conv2d("conv", x, Conv::new(24, 3).bias());
                let y = b.batch_norm("norm", y);
                let y = b.activation(y, act);
                let y = b.conv2d("second", y, Conv::new(20, 3).bias());
                let y = b.activation(y, act);
                let y = b.add(y, x);
                b.activation(y, act)
            }),
        );
        add(
            &format!("norm {name} conv add {name} alone {name}"),
            block(|b, x| {
                let y = b.batch_norm("norm", x);
                let y = b.activation(y, act);
                let y = b.conv2d("conv", y, Conv::new(20, 3));
                let y = b.add(y, x);
                let y = b.activation(y, act);
                b.activation(y, act)
            }),
        );
        add(
            &format!("squeeze-excitation {name}"),
            block(|b, x| {
                let y = b.conv2d("conv", x, Conv::depthwise(5).stride(1));
                let y = b.batch_norm("norm", y);
                let y = b.activation(y, Activation::HardSwish);
                let y = gate(b, y, act, Activation::Sigmoid);
                let y = b.conv2d("project", y, Conv::new(20, 1));
                let y = b.batch_norm("norm2", y);
                b.add(y, x)
            }),
        );
    }
    add(
        "gate on a shared input, by itself a sigmoid",
        block(|b, x| {
            let y = gate(b, x, Activation::Relu, Activation::HardSigmoid);
            let s = b.global_avg_pool(y);
            let s = b.activation(s, Activation::Sigmoid);
            let z = b.mul(y, s);
            let z = b.add(z, x);
            b.add(z, z)
        }),
    );
    add(
        "a norm in a gate",
        block(|b, x| {
            let s = b.global_avg_pool(x);
            let s = b.conv2d("fc", s, Conv::new(20, 1));
            let s = b.batch_norm("norm", s);
            let s = b.activation(s, Activation::Sigmoid);
            b.mul(x, s)
        }),
    );
    add(
        "stem with max pool, same padding, groups",
        graph(|b, x| {
            let x = b.conv2d("stem", x, Conv::new(24, 3).stride(2).padding(Padding::Same));
            let x = b.batch_norm("norm", x);
            let x = b.relu(x);
            let x = b.max_pool(x, Pool2d::new(3, 2, 1));
            let x = b.conv2d("groups", x, Conv::new(48, 3).groups(3));
            let x = b.batch_norm("norm2", x);
            let x = b.activation(x, Activation::Silu);
            let x = b.conv2d(
                "deep",
                x,
                Conv::depthwise(5).stride(2).padding(Padding::Same),
            );
            b.batch_norm("norm3", x)
        }),
    );
    add(
        "pools of sums",
        graph(|b, x| {
            let x = b.conv2d("stem", x, Conv::new(24, 7).stride(2));
            let y = b.conv2d("conv", x, Conv::new(24, 3));
            let y = b.batch_norm("norm", y);
            let y = b.add(x, y);
            let y = b.relu(y);
            let y = b.max_pool(y, Pool2d::new(2, 2, 0));
            let y = b.conv2d("conv2", y, Conv::new(16, 1));
            b.avg_pool(y, Pool2d::new(2, 2, 0))
        }),
    );
    add(
        "without a kernel in the middle",
        graph(|b, x| {
            let x = b.conv2d("stem", x, Conv::new(16, 3));
            let y = b.block(|b| {
                let y = b.batch_norm("norm", x);
                let y = b.relu(y);
                let y = b.conv2d("conv", y, Conv::new(8, 3));
                b.concat(&[x, y])
            });
            let z = b.conv2d("dilated", y, Conv::new(24, 3).dilation(2));
            let z = b.channel_shuffle(z, 3);
            let z = b.conv2d("odd", z, Conv::new(24, 3).stride(3).groups(2));
            b.conv2d("last", z, Conv::new(24, 3))
        }),
    );
    add(
        "groups normalised, gated and subtracted",
        block(|b, x| {
            let y = b.group_norm("groups", x, 5);
            let y = b.activation(y, Activation::Silu);
            let y = b.conv2d("conv", y, Conv::new(20, 3));
            let z = b.group_norm("single", y, 20);
            let y = b.mul(y, z);
            let y = b.sub(y, x);
            let y = b.group_norm("whole", y, 1);
            let y = b.mul(y, y);
            b.sub(x, y)
        }),
    );
    add(
        "windows over the lower and right edge",
        graph(|b, x| {
            let x = b.conv2d("stem", x, Conv::new(24, 3));
            let x = b.batch_norm("norm", x);
            let x = b.relu(x);
            let x = b.max_pool(x, Pool2d::new(3, 2, 0).ceil());
            let x = b.conv2d("conv", x, Conv::new(20, 3));
            let y = b.max_pool(x, Pool2d::new(2, 2, 0).ceil());
            let z = b.avg_pool(x, Pool2d::new(2, 2, 0).ceil());
            b.add(y, z)
        }),
    );
    add("tokens of which none looks ahead", causal());
    all
}

/// A transformer whose class token and positions have no extents of 1, with a projection behind it.
fn causal() -> Graph {
    let mut b = Builder::new("causal", 5);
    let x = b.images();
    let x = b.stage("stem", |b| {
        let class = b.parameter("class", &[32], Init::Normal { std: 1.0 });
        let positions = b.plain_matrix("positions", [13, 32], Init::Normal { std: 1.0 });
        let tokens = Tokens {
            channels: 32,
            registers: 0,
            grid: [4, 3],
            has_class_position: true,
            lacks_class_token: false,
        };
        let x = b.conv2d(
            "conv",
            x,
            Conv::new(32, 4).stride(4).padding(Padding::all(0)),
        );
        b.tokens(x, tokens, vec![class, positions])
    });
    let x = b.stage("blocks", |b| {
        let x = b.layer_norm("ln_pre", x);
        b.block(|b| {
            let y = b.layer_norm("norm", x);
            let y = b.linear("qkv", y, 96);
            let y = b.causal_attention(y, 2);
            let y = b.linear("out", y, 32);
            let x = b.add(x, y);
            let y = b.linear("fc", x, 40);
            let y = b.activation(y, Activation::QuickGelu);
            let y = b.linear("proj", y, 32);
            b.add(x, y)
        })
    });
    // The last token sees all others, the first none.
    let x = b.layer_norm("ln_post", x);
    let x = b.token(x, 12);
    let proj = b.plain_matrix("last", [32, 24], Init::Normal { std: 0.2 });
    let x = b.project(x, proj);
    b.finish("fc", x, 3).unwrap()
}

fn images(count: usize, device: &Device) -> Tensor<4> {
    let shape = [count, 5, 17, 13];
    let wave = |i: usize| ((i * i % 1013) as f32 * 0.37).sin();
    let values: Vec<f32> = (0..shape.iter().product()).map(wave).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn step(network: &Network, images: Tensor<4>) -> Found {
    step_of(network, images, |y| {
        (y.clone().powi_scalar(2) + y.sin()).sum()
    })
}

/// Takes the parameters whose names contain a word out of training.
struct NoGradients(Vec<String>, &'static str);

impl ModuleMapper for NoGradients {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.0.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.0.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match self.0.join(".").contains(self.1) {
            true => param.set_require_grad(false),
            false => param,
        }
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

#[test]
fn gradients_are_those_of_double_precision() {
    let device = Device::flex().autodiff();
    let mut failed = Vec::new();
    for (name, graph) in graphs() {
        for count in [3, 1] {
            let made = || Network::new(graph.clone(), 11, &device);
            let exact = made().map(&mut ToF64);
            let exact = step(&exact, images(count, &device).cast(DType::F64));
            let plain = step(&made().with_kernels(false), images(count, &device));
            let found = step(&made(), images(count, &device));
            assert!(found.keys().eq(exact.keys()), "{name}");
            let gradients = exact.iter().filter(|(name, _)| name.contains("weight"));
            let largest = gradients.map(|(_, g)| norm(g)).fold(0.0, f64::max);
            for (tensor, expected) in &exact {
                let error = |run: &Found| {
                    let off = run[tensor].iter().zip(expected).map(|(a, b)| a - b);
                    norm(&off.collect::<Vec<_>>())
                };
                let (ours, theirs) = (error(&found), error(&plain));
                // What is zero but for rounding, such as the gradient by a bias in front of a normalisation, has no
                // relative error.
                let scale = norm(expected).max(0.03 * largest);
                let is_near = ours <= (1e-5 * scale).max(2.0 * theirs);
                if !is_near || theirs.is_nan() {
                    failed.push(format!(
                        "{name}, {count}: {tensor} {ours:.1e} of {scale:.1e}, {theirs:.1e}"
                    ));
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn inference_is_that_of_burn_s_operations_at_any_size() {
    let device = Device::flex();
    for (name, graph) in graphs() {
        let network = Network::new(graph, 11, &device);
        let plain = network.clone().with_kernels(false);
        for [height, width] in [[0, 0], [1, 0], [0, 1]] {
            let x = images(3, &device)
                .narrow(2, 0, 17 - height)
                .narrow(3, 0, 13 - width);
            let found = floats(network.forward(x.clone()));
            let expected = floats(plain.forward(x));
            let off: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
            let error = norm(&off) / norm(&expected);
            assert!(error < 2e-6, "{name}: {error:.1e}");
        }
    }
}

#[test]
fn nothing_but_gradients_that_are_asked_for_is_computed_and_frozen_weights_change_nothing() {
    let device = Device::flex().autodiff();
    for (name, graph) in graphs() {
        let whole = step(
            &Network::new(graph.clone(), 11, &device),
            images(3, &device),
        );
        for part in ["weight", "bias", "conv", "norm"] {
            let frozen = Network::new(graph.clone(), 11, &device);
            let frozen = frozen.map(&mut NoGradients(Vec::new(), part));
            let found = step(&frozen, images(3, &device));
            for (tensor, values) in &found {
                assert!(
                    tensor.contains("running_") || !tensor.contains(part),
                    "{name}: {tensor}"
                );
                assert!(*values == whole[tensor], "{name}: {tensor} without {part}");
            }
            let frozen = whole
                .keys()
                .filter(|k| k.contains(part) && !k.contains("running_"));
            assert_eq!(
                found.len() + frozen.count(),
                whole.len(),
                "{name} without {part}"
            );
        }
    }
}

#[test]
fn small_segments_run_where_they_can_and_the_rest_is_named() {
    let left = |name: &str| {
        let (_, graph) = graphs()
            .into_iter()
            .find(|(n, _)| n.starts_with(name))
            .unwrap();
        let network = Network::new(graph, 0, &Device::flex());
        let left = network.left_to_burn(17, 13, true).unwrap();
        left.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert!(left("pools").is_empty());
    let left = left("without");
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(
        left.iter()
            .any(|reason| reason.ends_with("a concatenation"))
    );
    assert!(
        left.iter()
            .any(|reason| reason.starts_with("dilated: dilation"))
    );
    assert!(
        left.iter()
            .any(|reason| reason.starts_with("odd: only equal strides"))
    );
}

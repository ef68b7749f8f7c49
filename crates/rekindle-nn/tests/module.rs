//! A network as one of Burn's modules.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::prelude::*;
use burn::tensor::Distribution;
use rekindle_nn::{Builder, Conv, GraphError, Network};

fn network(seed: u64, device: &Device) -> Network {
    let mut b = Builder::new("small", 3).head_dropout(0.5);
    let mut x = b.images();
    x = b.stage("stem", |b| {
        let x = b.conv2d("conv1", x, Conv::new(8, 3).stride(2).bias());
        let x = b.batch_norm("bn1", x);
        b.relu(x)
    });
    x = b.stage("layer1", |b| {
        b.scope("layer1.0", |b| {
            let y = b.conv2d("conv", x, Conv::new(8, 3));
            let y = b.batch_norm("bn", y);
            let y = b.drop_path(y, 0.5);
            b.add(x, y)
        })
    });
    x = b.global_pool(x);
    Network::new(b.finish("fc", x, 5).unwrap(), seed, device)
}

fn images(device: &Device) -> Tensor<4> {
    Tensor::random([4, 3, 16, 16], Distribution::Default, device)
}

fn floats<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter().collect()
}

/// Values and identities by path.
fn tensors(network: &Network) -> BTreeMap<String, (Vec<f32>, ParamId)> {
    #[derive(Default)]
    struct All {
        path: Vec<String>,
        found: BTreeMap<String, (Vec<f32>, ParamId)>,
    }
    impl ModuleVisitor for All {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, name: &str, _container: &str) {
            assert_eq!(self.path.pop().unwrap(), name);
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let values = floats(param.val());
            self.found.insert(self.path.join("."), (values, param.id));
        }
    }
    let mut all = All::default();
    network.visit(&mut all);
    assert!(all.path.is_empty());
    all.found
}

fn values(network: &Network) -> BTreeMap<String, Vec<f32>> {
    let tensors = tensors(network).into_iter();
    tensors.map(|(name, (values, _))| (name, values)).collect()
}

#[test]
fn fresh_weights_are_a_function_of_the_seed_whenever_they_are_drawn() {
    let device = Device::flex();
    let first = network(7, &device);
    drop(first.forward(images(&device)));
    assert_eq!(values(&first), values(&network(7, &device)));
    assert_ne!(values(&first), values(&network(8, &device)));
    assert_eq!(values(&first.reinitialise(8)), values(&network(8, &device)));
    assert_eq!(
        Module::num_params(&network(7, &device)),
        224 + 32 + 576 + 32 + 45
    );
}

#[test]
fn records_carry_every_tensor() {
    let device = Device::flex();
    let saved = network(1, &device);
    let record = saved.clone().into_record();
    let loaded = network(2, &device).load_record(record);
    assert_eq!(values(&loaded), values(&saved));
}

#[test]
fn in_training_the_batch_counts_and_in_evaluation_nothing_moves() {
    let device = Device::flex().autodiff();
    let x = images(&device);
    let net = network(1, &device);
    let plain = net.valid();
    let before = values(&plain);
    let run = |net: &Network| floats(net.forward(x.clone().inner()));
    assert_eq!(run(&plain), run(&plain));
    assert_eq!(values(&plain), before);

    let trained = net.forward(x.clone());
    let gradients = trained.sum().backward();
    drop(gradients);
    let after = values(&net);
    let moved: Vec<&String> = after
        .keys()
        .filter(|name| after[*name] != before[*name])
        .collect();
    let expected =
        ["bn1", "layer1.0.bn"].map(|n| [format!("{n}.running_mean"), format!("{n}.running_var")]);
    assert_eq!(moved, expected.iter().flatten().collect::<Vec<_>>());
    // Dropout and drop path make two runs differ.
    let twice = [0, 1].map(|_| floats(net.forward(x.clone()).inner()));
    assert_ne!(twice[0], twice[1]);
    // What was taken out of training goes back into it.
    let back = net.valid().train();
    let twice = [0, 1].map(|_| floats(back.forward(x.clone()).inner()));
    assert_ne!(twice[0], twice[1]);
}

#[test]
fn a_frozen_part_computes_as_in_evaluation() {
    let device = Device::flex().autodiff();
    let x = images(&device);
    let net = network(1, &device).freeze();
    let found = floats(net.forward(x.clone()).inner());
    assert_eq!(found, floats(net.valid().forward(x.clone().inner())));
    let net = network(1, &device).freeze_group(ParamGroup::from_predicate("bn1"));
    let before = values(&net);
    drop(net.forward(x.clone()));
    let after = values(&net);
    assert_eq!(before["bn1.running_mean"], after["bn1.running_mean"]);
    assert_ne!(
        before["layer1.0.bn.running_mean"],
        after["layer1.0.bn.running_mean"]
    );
}

#[test]
fn stages_compose_and_wrong_ones_are_errors() {
    let device = Device::flex();
    let (net, x) = (network(1, &device), images(&device));
    let maps = net.forward_stages(0..1, x.clone()).unwrap();
    let maps = net.forward_stages(1..2, maps).unwrap();
    assert_eq!(
        floats(maps.clone()),
        floats(net.forward_features(x.clone()))
    );
    let same = net.forward_stages(1..1, x.clone()).unwrap();
    assert_eq!(floats(same), floats(x.clone()));
    let logits = net.classify(net.pool(maps.clone()));
    assert_eq!(floats(logits), floats(net.forward(x.clone())));
    assert_eq!(
        floats(net.forward_head(maps)),
        floats(net.forward(x.clone()))
    );
    let error = net.forward_stages(1..3, x.clone()).unwrap_err();
    assert!(matches!(error, GraphError::UnknownStage { .. }));
    assert_eq!(net.check(&x), Ok(()));
    let grey = Tensor::<4>::zeros([1, 1, 16, 16], &device);
    let error = net.check(&grey).unwrap_err().to_string();
    assert_eq!(
        error,
        "small takes images of 3 channels, found maps [batch, 1, 16, 16]"
    );
}

#[test]
fn the_classifier_can_be_exchanged_and_taken_away() {
    let device = Device::flex().autodiff();
    let net = network(1, &device).freeze();
    let before = values(&net);
    let net = net.reset_classifier(2, 9);
    let after = values(&net);
    assert_eq!((after["fc.weight"].len(), after["fc.bias"].len()), (16, 2));
    assert_eq!(
        before["layer1.0.conv.weight"],
        after["layer1.0.conv.weight"]
    );
    let x = images(&device);
    let features = net.pool(net.forward_features(x.clone()));
    assert_eq!(features.dims(), [4, 8]);
    // The body stays frozen, the new classifier learns.
    let gradients = net.forward(x.clone()).sum().backward();
    struct Trained<'a>(&'a burn::tensor::Gradients, usize);
    impl ModuleVisitor for Trained<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            self.1 += usize::from(param.val().grad(self.0).is_some());
        }
    }
    let mut trained = Trained(&gradients, 0);
    net.visit(&mut trained);
    assert_eq!(trained.1, 2);
    let headless = net.reset_classifier(0, 0);
    assert_eq!(
        floats(headless.forward(x).inner()),
        floats(features.inner())
    );
    assert_eq!(headless.num_classes(), 0);
}

#[test]
fn stable_identities_follow_from_names() {
    let device = Device::flex();
    let of = |net: Network| -> Vec<ParamId> {
        let tensors = tensors(&net).into_iter();
        let parameters = tensors.filter(|(name, _)| !name.contains("running"));
        parameters.map(|(_, (_, id))| id).collect()
    };
    assert_eq!(
        of(network(1, &device).with_stable_ids()),
        of(network(2, &device).with_stable_ids())
    );
    assert_ne!(of(network(1, &device)), of(network(1, &device)));
}

#[test]
fn it_says_what_it_is() {
    let net = network(1, &Device::flex());
    let text = format!("{net}");
    for part in ["Network", "small", "layer1", "params"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn moved_and_forked_networks_compute_the_same() {
    let device = Device::flex();
    let (net, x) = (network(3, &device), images(&device));
    let expected = floats(net.forward(x.clone()));
    let moved = net.clone().to_device(&device);
    assert_eq!(floats(moved.forward(x.clone())), expected);
    let forked = net.clone().train().fork(&device);
    assert_eq!(floats(forked.valid().forward(x)), expected);
    assert_eq!(forked.devices(), [device]);
}

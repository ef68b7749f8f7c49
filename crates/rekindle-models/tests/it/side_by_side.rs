//! Networks side by side, against each of them alone.

use std::collections::BTreeSet;

use burn::prelude::*;
use rekindle_models::{Model, Options, Pretrained};
use rekindle_nn::{Graph, Member, Network, SideBySide};
use rekindle_preprocess::Preprocess;

use crate::common::images;
use crate::multilevel::close;
use crate::step::floats;

fn named(name: &str, seed: u64, device: &Device) -> Network {
    let graph = (Model::named(name).unwrap().describe)(&Options::with_classes(10)).unwrap();
    Network::new(graph, seed, device).reset_classifier(10, 4)
}

fn member(network: Network) -> Member {
    Member {
        network,
        rescaling: None,
    }
}

/// The features of each image, one network after the other.
fn one_by_one(networks: &[(&Network, Tensor<4>)]) -> Vec<f64> {
    let mut rows: Vec<Vec<f64>> = Vec::new();
    for (network, images) in networks {
        let (plain, _) = Network::clone(network).split_classifier();
        let features = plain.forward(images.clone());
        let [count, dim] = features.dims();
        rows.resize(count, Vec::new());
        for (row, own) in rows.iter_mut().zip(floats(features).chunks_exact(dim)) {
            row.extend(own);
        }
    }
    rows.concat()
}

#[test]
fn features_are_those_of_each_in_turn() {
    let device = Device::flex();
    // Poolings that are averages alone, and one with layers behind the average; two networks of one name.
    for names in [
        &["mobilenet_v2", "regnet_y_400mf"][..],
        &["mobilenet_v3_small", "tf_efficientnet_lite0", "densenet121"],
        &["shufflenet_v2_x1_0", "shufflenet_v2_x1_0"],
    ] {
        let networks = names.iter().zip(1..);
        let networks: Vec<Network> = networks
            .map(|(name, seed)| named(name, seed, &device))
            .collect();
        let images = images([3, 96, 96], &device);
        let members: Vec<Member> = networks.iter().cloned().map(member).collect();
        let SideBySide { network, parts } = Network::side_by_side(&members).unwrap();
        let lengths: Vec<usize> = networks.iter().map(Network::num_features).collect();
        assert_eq!(parts, lengths, "{names:?}");
        assert_eq!(network.num_features(), parts.iter().sum::<usize>());
        assert_eq!(network.num_classes(), 0);
        let alone: Vec<(&Network, Tensor<4>)> =
            networks.iter().map(|n| (n, images.clone())).collect();
        let expected = one_by_one(&alone);
        let found = floats(network.forward(images.clone()));
        close(&found, &expected, &format!("{names:?} by kernels"));
        let by_burn = network.clone().with_kernels(false);
        let found = floats(by_burn.forward(images));
        close(&found, &expected, &format!("{names:?} by Burn"));

        let tensors = network.graph().tensors();
        let distinct: BTreeSet<&str> = tensors.iter().map(|t| t.name.as_str()).collect();
        assert_eq!(distinct.len(), tensors.len());
        let text = network.graph().description([96, 96]).unwrap();
        assert_eq!(&Graph::from_json(&text).unwrap(), network.graph());
        assert_eq!(
            network.graph().name(),
            match names {
                ["shufflenet_v2_x1_0", _] => "shufflenet_v2_x1_0+shufflenet_v2_x1_0_2".to_string(),
                _ => names.join("+"),
            }
        );
        // It takes a classifier like others.
        let classifier = network.reset_classifier(3, 1);
        assert_eq!(classifier.num_classes(), 3);
    }
}

#[test]
fn each_is_given_pixels_on_its_own_scale() {
    let device = Device::flex();
    let pixels = images([2, 64, 96], &device).mul_scalar(0.1).add_scalar(0.5);
    let scaled = |preprocess: &Preprocess| {
        let of = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device).reshape([1, 3, 1, 1]);
        (pixels.clone() - of(preprocess.mean)) / of(preprocess.std)
    };
    let seen = [
        Preprocess::IMAGENET,
        Preprocess {
            mean: [0.5, 0.4, 0.3],
            std: [0.5, 0.25, 0.4],
            ..Preprocess::IMAGENET
        },
        // Bytes as they are.
        Preprocess {
            mean: [0.0; 3],
            std: [1.0 / 255.0; 3],
            ..Preprocess::IMAGENET
        },
    ];
    let bytes = tempfile::tempdir().unwrap();
    let open = |at: usize| {
        let name = ["mobilenet_v2", "tf_efficientnet_lite0", "regnet_y_400mf"][at];
        let network = named(name, at as u64 + 1, &device);
        let path = bytes.path().join(format!("{name}.safetensors"));
        let info = rekindle_weights::ModelInfo {
            preprocess: Some(seen[at].clone()),
            ..Default::default()
        };
        rekindle_models::files::save(&network, &path, &info).unwrap();
        Pretrained::open(&path, &device).unwrap()
    };
    let networks = [open(0), open(1), open(2)];
    let (joined, parts) =
        Pretrained::side_by_side(&[&networks[0], &networks[1], &networks[2]]).unwrap();
    assert_eq!(parts, [1280, 1280, 440]);
    assert_eq!(joined.preprocess, seen[0]);
    let alone: Vec<(&Network, Tensor<4>)> = networks
        .iter()
        .zip(&seen)
        .map(|(one, seen)| (&one.model, scaled(seen)))
        .collect();
    let expected = one_by_one(&alone);
    for kernels in [true, false] {
        let network = joined.model.clone().with_kernels(kernels);
        let found = floats(network.forward(scaled(&seen[0])));
        close(&found, &expected, &format!("kernels: {kernels}"));
    }
    let origin = joined.info().provenance.unwrap();
    for one in &networks {
        assert!(origin.contains(&one.sha256), "{origin}");
    }
    assert_ne!(joined.sha256, networks[0].sha256);
}

#[test]
fn what_cannot_be_joined_is_none() {
    let device = Device::flex();
    let member = |name: &str| member(named(name, 1, &device));
    let side_by_side = |members: &[Member]| Network::side_by_side(members);
    assert!(side_by_side(&[]).is_none());
    assert!(side_by_side(&[member("mobilenet_v2")]).is_none());
    assert!(side_by_side(&[member("mobilenet_v2"), member("vit_tiny_patch16_224")]).is_none());
    let mut wrong = member("mobilenet_v2");
    wrong.rescaling = Some(vec![[1.0, 0.0]]);
    assert!(side_by_side(&[member("mobilenet_v2"), wrong]).is_none());
}

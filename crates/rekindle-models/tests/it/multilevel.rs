//! Features of two levels, against what the stages give and loops over it.

use burn::prelude::*;
use rekindle_models::resnet::{BlockKind, ResNetConfig};
use rekindle_models::{Model, Options, models};
use rekindle_nn::{Graph, Multilevel, Network};

use crate::common::images;
use crate::step::floats;

/// Networks of each form of pooling: an average alone, layers behind it, and a normalisation behind it; stages that halve
/// their maps by rounding up and down.
const NAMES: [&str; 9] = [
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenetv4_conv_small",
    "efficientnet_b0",
    "tf_efficientnet_lite0",
    "regnet_y_400mf",
    "convnext_atto",
    "densenet121",
    "shufflenet_v2_x1_0",
];

fn named(name: &str, device: &Device) -> Network {
    let graph = (Model::named(name).unwrap().describe)(&Options::with_classes(10)).unwrap();
    Network::new(graph, 3, device).reset_classifier(10, 4)
}

/// The mean, over a map, of each number's largest neighbour at most `reach` away, seen at every `stride`th place.
fn mean_of_largest(maps: &Tensor<4>, reach: usize, stride: usize) -> Vec<f64> {
    let [count, channels, height, width] = maps.dims();
    let values = floats(maps.clone());
    let mut found = Vec::new();
    for plane in values.chunks_exact(height * width).take(count * channels) {
        let (mut sum, mut places) = (0.0, 0);
        for row in (0..height).step_by(stride) {
            for column in (0..width).step_by(stride) {
                let mut largest = f64::NEG_INFINITY;
                for r in row.saturating_sub(reach)..(row + reach + 1).min(height) {
                    for c in column.saturating_sub(reach)..(column + reach + 1).min(width) {
                        largest = largest.max(plane[r * width + c]);
                    }
                }
                sum += largest;
                places += 1;
            }
        }
        found.push(sum / f64::from(places));
    }
    found
}

pub fn close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let scale = expected
        .iter()
        .fold(1e-3f64, |most, value| most.max(value.abs()));
    for (found, expected) in found.iter().zip(expected) {
        assert!(
            (found - expected).abs() <= 2e-5 * scale,
            "{what}: {found} {expected}"
        );
    }
}

#[test]
fn answers_stay_and_features_are_those_of_both_levels() {
    let device = Device::flex();
    let network = ResNetConfig::new(BlockKind::Basic, [1, 1, 2, 1])
        .with_num_classes(5)
        .with_stem_width(16)
        .network(1, &device)
        .unwrap();
    // Maps of even and odd extents.
    for side in [96, 112, 80] {
        let images = images([3, side, side], &device);
        let Multilevel {
            network: wide,
            parts,
        } = network.clone().with_multilevel_features().unwrap();
        assert_eq!(parts, [128, 128, 64, 64]);
        assert_eq!(wide.num_features(), 384);
        let own = [wide.graph(), network.graph()].map(Graph::own_features);
        assert_eq!(own, [128, 128]);
        assert_eq!(wide.graph().stage_names(), network.graph().stage_names());
        close(
            &floats(wide.forward(images.clone())),
            &floats(network.forward(images.clone())),
            "logits",
        );
        let (plain, _) = network.clone().split_classifier();
        let (wide, head) = wide.split_classifier();
        assert_eq!(head.unwrap().weight.dims(), [384, 5]);
        let stages = plain.forward_intermediates(images.clone());
        let rows = floats(wide.forward(images.clone()));
        let part = |start: usize, length: usize| -> Vec<f64> {
            let rows = rows.chunks_exact(384);
            rows.flat_map(|row| &row[start..start + length])
                .copied()
                .collect()
        };
        close(&part(0, 128), &floats(plain.forward(images)), "own");
        let [.., before, last] = &stages[..] else {
            unreachable!()
        };
        close(
            &part(128, 128),
            &mean_of_largest(last, 3, 1),
            "largest of the last",
        );
        close(
            &part(320, 64),
            &mean_of_largest(before, 3, 2),
            "largest before",
        );
        if before.dims()[2] % 2 == 0 {
            // Windows of three that overlap weigh the edge a little otherwise.
            let mean = floats(before.clone().mean_dim(3).mean_dim(2));
            let found = part(256, 64);
            let error: f64 = found.iter().zip(&mean).map(|(a, b)| (a - b).abs()).sum();
            assert!(error < 0.2 * mean.iter().map(|value| value.abs()).sum::<f64>());
        }
    }
}

#[test]
fn every_form_of_pooling_is_kept() {
    let device = Device::flex();
    for name in NAMES {
        let network = named(name, &device);
        let images = images([2, 96, 96], &device);
        let Multilevel {
            network: wide,
            parts,
        } = network
            .clone()
            .with_multilevel_features()
            .unwrap_or_else(|| panic!("{name}"));
        assert_eq!(parts[0], network.num_features(), "{name}");
        assert_eq!(wide.graph().own_features(), parts[0], "{name}");
        assert_eq!(wide.num_features(), parts.iter().sum::<usize>(), "{name}");
        close(
            &floats(wide.forward(images.clone())),
            &floats(network.forward(images.clone())),
            name,
        );
        let by_burn = wide.clone().with_kernels(false);
        let (found, expected) = (wide.forward(images.clone()), by_burn.forward(images));
        close(&floats(found), &floats(expected), name);
        // A file describes it, and it is not widened twice.
        let text = wide.graph().description([96, 96]).unwrap();
        assert_eq!(&Graph::from_json(&text).unwrap(), wide.graph(), "{name}");
        assert!(wide.with_multilevel_features().is_none(), "{name}");
    }
}

#[test]
fn networks_of_tokens_give_their_mean() {
    let device = Device::flex();
    for name in ["vit_tiny_patch16_224", "vit_small_patch14_reg4_dinov2"] {
        let network = named(name, &device).with_image_size([112, 112]);
        let images = images([2, 112, 112], &device);
        let wide = network.clone().with_multilevel_features();
        let Multilevel {
            network: wide,
            parts,
        } = wide.unwrap_or_else(|| panic!("{name}"));
        let width = network.num_features();
        assert_eq!(parts, [width, width], "{name}");
        assert_eq!(wide.graph().own_features(), width, "{name}");
        assert_eq!(wide.graph().stage_names(), network.graph().stage_names());
        close(
            &floats(wide.forward(images.clone())),
            &floats(network.forward(images.clone())),
            name,
        );
        // The tokens behind the last norm, one by one.
        let (plain, _) = network.clone().split_classifier();
        let stages = plain.forward_intermediates(images.clone());
        let tokens = floats(stages.last().unwrap().clone());
        let [count, channels, _, length] = stages.last().unwrap().dims();
        let parameter = |name: &str| {
            let tensors = rekindle_weights::state_dict::collect(&plain);
            tensors[name].values.clone()
        };
        let (weight, bias) = (parameter("norm.weight"), parameter("norm.bias"));
        let mut expected = Vec::new();
        for image in 0..count {
            let at = |channel: usize, token: usize| {
                tokens[(image * channels + channel) * length + token]
            };
            let mut means = vec![0.0; channels];
            let mut first = Vec::new();
            for token in 0..length {
                let own: Vec<f64> = (0..channels).map(|channel| at(channel, token)).collect();
                let mean = own.iter().sum::<f64>() / channels as f64;
                let squares = own.iter().map(|value| (value - mean).powi(2));
                let deviation = (squares.sum::<f64>() / channels as f64 + 1e-6).sqrt();
                for (channel, value) in own.iter().enumerate() {
                    let normed = (value - mean) / deviation * f64::from(weight[channel])
                        + f64::from(bias[channel]);
                    means[channel] += normed / length as f64;
                    if token == 0 {
                        first.push(normed);
                    }
                }
            }
            expected.extend(first);
            expected.extend(means);
        }
        let (features, _) = wide.clone().split_classifier();
        for kernels in [true, false] {
            let features = features.clone().with_kernels(kernels);
            let found = floats(features.forward(images.clone()));
            close(&found, &expected, &format!("{name}, kernels {kernels}"));
        }
        let text = wide.graph().description([112, 112]).unwrap();
        assert_eq!(&Graph::from_json(&text).unwrap(), wide.graph(), "{name}");
        assert!(wide.with_multilevel_features().is_none(), "{name}");
    }
}

#[test]
fn nearly_all_networks_have_more_features() {
    let (mut with, mut without) = (0, Vec::new());
    for model in models() {
        let graph = (model.describe)(&Options::with_classes(0)).unwrap();
        if graph.num_params() > 30_000_000 {
            continue;
        }
        let wide = Network::new(graph, 0, &Device::flex()).with_multilevel_features();
        match wide {
            Some(_) => with += 1,
            None => without.push(model.name),
        }
    }
    assert!(with > 20 && without.is_empty(), "{with}, {without:?}");
}

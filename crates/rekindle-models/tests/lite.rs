//! EfficientNet-Lite with Google's weights.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, Pipeline};
use rekindle_models::efficientnet_lite::{
    original_name, tf_efficientnet_lite0, tf_efficientnet_lite2,
};
use rekindle_models::{Model, Options};
use rekindle_nn::{Graph, Network};
use rekindle_resnet::{state_dict, weights};
use test_support::shared;

/// Reads a file of the original names.
fn original(graph: Graph, path: &std::path::Path) -> Network {
    let file = weights::read(path).unwrap();
    let tensors = file
        .tensors
        .iter()
        .filter(|(name, _)| !name.ends_with("num_batches_tracked"));
    let mut tensors: BTreeMap<String, _> = tensors
        .map(|(name, tensor)| {
            let name = original_name(&graph, name).unwrap_or_else(|| panic!("{name}"));
            (name, tensor.clone())
        })
        .collect();
    assert_eq!(tensors.len(), graph.tensors().len());
    for spec in graph.tensors() {
        assert_eq!(tensors[&spec.name].shape(), spec.shape, "{}", spec.name);
    }
    let network = Network::new(graph, 0, &Device::flex());
    let network = state_dict::assign(network, |name| {
        Some(tensors.remove(name).unwrap().read_f32().unwrap())
    });
    assert!(tensors.is_empty());
    network
}

#[test]
fn every_original_name_is_one_of_the_network() {
    for (file, describe) in [
        (
            "data/weights/efficientnet-lite0.pth",
            tf_efficientnet_lite0 as fn(&Options) -> _,
        ),
        ("data/weights/efficientnet-lite2.pth", tf_efficientnet_lite2),
    ] {
        let Some(path) = shared(file) else { return };
        original(describe(&Options::default()).unwrap(), &path);
    }
    let graph = tf_efficientnet_lite0(&Options::default()).unwrap();
    let renamed = |name: &str| original_name(&graph, name);
    assert_eq!(
        renamed("_blocks.3._expand_conv.weight").unwrap(),
        "blocks.2.0.conv_pw.weight"
    );
    assert_eq!(
        renamed("_blocks.0._project_conv.weight").unwrap(),
        "blocks.0.0.conv_pw.weight"
    );
    assert_eq!(
        renamed("_blocks.0._bn2.bias").unwrap(),
        "blocks.0.0.bn2.bias"
    );
    assert_eq!(renamed("_fc.bias").unwrap(), "classifier.bias");
    for unknown in [
        "",
        "_fc",
        "_blocks.0._expand_conv.weight",
        "_blocks.16._bn1.bias",
        "_blocks.x._bn1.bias",
        "fc.bias",
    ] {
        assert_eq!(renamed(unknown), None, "{unknown}");
    }
}

#[test]
#[ignore = "runs 500 pictures of 224 pixels, a minute or two"]
fn lite0_recognises_the_sample() {
    let (Some(weights), Some(pictures)) = (
        shared("data/weights/efficientnet-lite0.pth"),
        shared("data/imagenet_sample"),
    ) else {
        return;
    };
    let model = Model::named("tf_efficientnet_lite0").unwrap();
    let network = original((model.describe)(&Options::default()).unwrap(), &weights);
    let text = std::fs::read_to_string(pictures.join("classes.txt")).unwrap();
    let numbers: BTreeMap<&str, i64> = text
        .lines()
        .map(|line| {
            let mut parts = line.split(' ');
            let number = parts.next().unwrap().parse().unwrap();
            (parts.next().unwrap(), number)
        })
        .collect();
    let folder = ImageFolder::open(&pictures).unwrap();
    let classes: Vec<i64> = folder
        .classes()
        .iter()
        .map(|c| numbers[c.as_str()])
        .collect();
    let pipeline = Pipeline::imagenet_eval(&model.weights("DEFAULT").unwrap().preprocess);
    let loader = Loader::new(ImageDataset::new(&folder, pipeline).unwrap()).batch_size(25);
    let (mut right, mut all) = (0, 0);
    for batch in loader.epoch(0) {
        let batch = batch.unwrap();
        let labels: Vec<i64> = batch.labels.iter().map(|l| classes[*l as usize]).collect();
        let images = batch.to_device(&Device::flex()).images;
        let best: Vec<i64> = network
            .forward(images)
            .argmax(1)
            .into_data()
            .iter()
            .collect();
        right += best.iter().zip(&labels).filter(|(a, b)| a == b).count();
        all += labels.len();
    }
    let accuracy = right as f64 / all as f64;
    println!("{right} of {all}: {accuracy:.4}");
    assert!((accuracy - 0.846).abs() <= 0.004, "{accuracy}");
}

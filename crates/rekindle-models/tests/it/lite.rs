//! EfficientNet-Lite with Google's weights.

use std::collections::BTreeMap;

use burn::prelude::*;
use rekindle_imagefolder::{ImageDataset, ImageFolder, Loader, Pipeline};
use rekindle_models::efficientnet_lite::{name_in_original, original_name, tf_efficientnet_lite0};
use rekindle_models::{Model, Options, Pretrained};
use rekindle_weights::state_dict;
use test_support::shared;

#[test]
fn every_original_name_is_one_of_the_network() {
    for (file, name) in [
        (
            "data/weights/efficientnet-lite0.pth",
            "timm/tf_efficientnet_lite0",
        ),
        (
            "data/weights/efficientnet-lite2.pth",
            "timm/tf_efficientnet_lite2",
        ),
    ] {
        let Some(path) = shared(file) else { return };
        let file = rekindle_weights::read(&path).unwrap();
        let opened = Pretrained::open(&path, &Device::flex()).unwrap();
        let model = Model::named(&opened.architecture).unwrap();
        assert_eq!(model.name, name);
        assert_eq!(opened.model.num_classes(), 1000);
        assert_eq!(opened.preprocess, model.weights[0].preprocess);
        assert_eq!(opened.found.head.as_deref(), Some("_fc"));
        assert!(opened.found.left_out.is_empty(), "{:?}", opened.found);
        let graph = opened.model.graph();
        let read = state_dict::collect(&opened.model);
        for tensor in graph.tensors() {
            let original = name_in_original(graph, &tensor.name).unwrap();
            let values = file.read_f32(&original).unwrap();
            assert!(read[&tensor.name].values == values, "{original}");
        }
    }
    let graph = tf_efficientnet_lite0(&Options::default()).unwrap();
    for tensor in graph.tensors() {
        let original = name_in_original(&graph, &tensor.name).unwrap();
        let back = original_name(&graph, &original);
        assert_eq!(back.as_deref(), Some(tensor.name.as_str()), "{original}");
    }
    assert_eq!(name_in_original(&graph, "blocks.0.0.conv_pwl.weight"), None);
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
    let Pretrained {
        model: network,
        preprocess,
        ..
    } = Pretrained::open(&weights, &Device::flex()).unwrap();
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
    let pipeline = Pipeline::imagenet_eval(&preprocess);
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

//! Grad-CAM against derivatives by differences, and against what it comes to behind average pooling.
#![allow(clippy::unwrap_used)]

use burn::prelude::*;
use rekindle_resnet::{Architecture, ResNet, state_dict};
use rekindle_trainer::GradCam;
use rekindle_transfer::{Backbone, Classifier};

const CLASSES: usize = 3;

fn classifier() -> Classifier<ResNet> {
    let device = Device::flex();
    let config = Architecture::ResNet18
        .config()
        .with_stem_width(8)
        .with_num_classes(0);
    let mut number = 0.0;
    let shapes: std::collections::BTreeMap<_, _> = state_dict::shapes(&config.init(&device))
        .into_iter()
        .collect();
    let backbone = state_dict::assign(config.init(&device), |name| {
        number += 1.0;
        let shape = &shapes[name];
        let fan_in: usize = shape.iter().skip(1).product();
        let count: usize = shape.iter().product();
        let scale = (2.0 / fan_in as f32).sqrt();
        let value = |i: usize| scale * (i as f32 * 0.37 + number).sin();
        (shape.len() == 4).then(|| (0..count).map(value).collect())
    });
    Classifier::new(backbone, CLASSES, 7, &device)
}

fn images(count: usize) -> Tensor<4> {
    let shape = [count, 3, 96, 64];
    let values = (0..shape.iter().product::<usize>()).map(|i| (i as f32 * 0.013).sin());
    let data = TensorData::new(values.collect::<Vec<f32>>(), shape);
    Tensor::from_data(data, &Device::flex())
}

fn host<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().iter::<f32>().collect()
}

/// `sum_k weight[k] * map[k]` at every place of the map of image `image`.
fn weighted(maps: &[f32], shape: [usize; 4], image: usize, weights: &[f32]) -> Vec<f32> {
    let [_, channels, height, width] = shape;
    let plane = height * width;
    let map = &maps[image * channels * plane..(image + 1) * channels * plane];
    (0..plane)
        .map(|place| {
            (0..channels)
                .map(|k| weights[k] * map[k * plane + place])
                .sum()
        })
        .collect()
}

/// `found` is `sums` cut off below 0, within `tolerance` of the largest of them.
#[track_caller]
fn assert_cut_off(found: &[f32], sums: &[f32], tolerance: f32) {
    let scale = sums.iter().fold(0f32, |most, sum| most.max(sum.abs()));
    assert!(scale > 1e-6, "nothing to compare: {sums:?}");
    assert_eq!(found.len(), sums.len());
    for (found, sum) in found.iter().zip(sums) {
        let expected = sum.max(0.0);
        assert!(
            (found - expected).abs() < tolerance * scale,
            "{found} {expected} of {scale}"
        );
    }
}

#[test]
fn behind_average_pooling_it_is_the_heads_row_over_the_map() {
    let classifier = classifier();
    let maps = classifier.backbone.forward_features(images(CLASSES));
    let shape = maps.dims();
    let maps = host(maps);
    // In Burn's layout: [features, classes].
    let head = host(classifier.head.weight.val());
    let mut above_zero = 0;
    for class in 0..CLASSES {
        let cams = GradCam::of(&classifier, images(CLASSES), &[class; CLASSES]).unwrap();
        assert_eq!(cams.len(), CLASSES);
        for (image, cam) in cams.iter().enumerate() {
            assert_eq!([cam.height, cam.width], [3, 2]);
            let plane = (cam.height * cam.width) as f32;
            let weights: Vec<f32> = (0..shape[1])
                .map(|k| head[k * CLASSES + class] / plane)
                .collect();
            let sums = weighted(&maps, shape, image, &weights);
            assert_cut_off(&cam.values, &sums, 2e-4);
            above_zero += usize::from(sums.iter().any(|sum| *sum > 0.0));
        }
    }
    assert!(above_zero > 0, "nothing but zeros to compare");
}

#[test]
fn its_weights_are_mean_derivatives_by_differences() {
    const STEP: f32 = 0.5; // The logit is linear in the map, so a large step is exact and quiet.
    let classifier = classifier();
    let maps = classifier.backbone.forward_features(images(1));
    let shape = maps.dims();
    let values = host(maps.clone());
    // Without the bias, so that somewhere something speaks for it.
    let bias = classifier.head.bias.as_ref().unwrap().val();
    let pooled = Backbone::pool(&classifier.backbone, maps);
    let evidence = host(classifier.head.forward(pooled) - bias.unsqueeze());
    let class = (0..CLASSES)
        .max_by(|a, b| evidence[*a].total_cmp(&evidence[*b]))
        .unwrap();
    let logit = |values: &[f32]| -> f32 {
        let data = TensorData::new(values.to_vec(), shape);
        let maps = Tensor::<4>::from_data(data, &Device::flex());
        let pooled = Backbone::pool(&classifier.backbone, maps);
        host(classifier.head.forward(pooled))[class]
    };
    let plane = shape[2] * shape[3];
    let weights: Vec<f32> = (0..shape[1])
        .map(|channel| {
            let slopes = (0..plane).map(|place| {
                let mut moved = values.clone();
                moved[channel * plane + place] += STEP;
                let above = logit(&moved);
                moved[channel * plane + place] -= 2.0 * STEP;
                (above - logit(&moved)) / (2.0 * STEP)
            });
            slopes.sum::<f32>() / plane as f32
        })
        .collect();
    let cams = GradCam::of(&classifier, images(1), &[class]).unwrap();
    let sums = weighted(&values, shape, 0, &weights);
    assert!(
        sums.iter().any(|sum| *sum > 0.0),
        "nothing but zeros: {sums:?}"
    );
    assert_cut_off(&cams[0].values, &sums, 5e-3);
}

#[test]
fn a_class_or_a_count_that_does_not_fit_is_an_error() {
    let classifier = classifier();
    for classes in [&[0][..], &[0, CLASSES]] {
        let error = GradCam::of(&classifier, images(2), classes).unwrap_err();
        assert!(error.to_string().contains("expected"), "{error}");
    }
    let grey = Tensor::<4>::zeros([1, 1, 64, 64], &Device::flex());
    assert!(GradCam::of(&classifier, grey, &[0]).is_err());
}

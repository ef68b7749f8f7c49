//! Grad-CAM against derivatives by differences, and against what it comes to behind average pooling: of the margin of a
//! class's logit over the mean of the others, because a softmax's logits are known only up to a common offset.

use burn::module::{Module, Param};
use burn::prelude::*;
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Model, Options};
use rekindle_nn::Network;
use rekindle_trainer::GradCam;
use rekindle_transfer::{Backbone, Classifier};
use rekindle_weights::state_dict;

const CLASSES: usize = 3;

fn classifier() -> Classifier<Network> {
    let device = Device::flex();
    let config = ResNetConfig::RESNET18
        .with_stem_width(8)
        .with_num_classes(0);
    let mut number = 0.0;
    let shapes: std::collections::BTreeMap<_, _> =
        state_dict::shapes(&config.network(0, &device).unwrap())
            .into_iter()
            .collect();
    let backbone = state_dict::assign(config.network(0, &device).unwrap(), |name| {
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

/// A class's number less the mean of the others'.
fn margin(numbers: &[f32], class: usize) -> f32 {
    let others: Vec<f32> = (0..numbers.len())
        .filter(|other| *other != class)
        .map(|other| numbers[other])
        .collect();
    numbers[class] - others.iter().sum::<f32>() / others.len().max(1) as f32
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
                .map(|k| margin(&head[k * CLASSES..(k + 1) * CLASSES], class) / plane)
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
    const STEP: f32 = 0.5; // The margin is linear in the map, so a large step is exact and quiet.
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
    let margin_of = |values: &[f32]| -> f32 {
        let data = TensorData::new(values.to_vec(), shape);
        let maps = Tensor::<4>::from_data(data, &Device::flex());
        let pooled = Backbone::pool(&classifier.backbone, maps);
        margin(&host(classifier.head.forward(pooled)), class)
    };
    let plane = shape[2] * shape[3];
    let weights: Vec<f32> = (0..shape[1])
        .map(|channel| {
            let slopes = (0..plane).map(|place| {
                let mut moved = values.clone();
                moved[channel * plane + place] += STEP;
                let above = margin_of(&moved);
                moved[channel * plane + place] -= 2.0 * STEP;
                (above - margin_of(&moved)) / (2.0 * STEP)
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

/// Checks that, where a class token reads the patches, the map is that of the patches before the last stage.
#[test]
fn tokens_are_put_where_their_patches_lie() {
    const STEP: f32 = 1e-2;
    let device = Device::flex();
    let tiny = Model::named("vit_tiny_patch16_224").unwrap();
    let graph = (tiny.describe)(&Options::with_classes(0)).unwrap();
    let network = Network::new(graph, 5, &device);
    let classifier = Classifier::new(network, CLASSES, 7, &device);
    let cut = Backbone::stage_names(&classifier.backbone).len() - 1;
    let tokens = Backbone::forward_stages(&classifier.backbone, 0, cut, images(1));
    let [_, channels, one, count] = tokens.dims();
    // 96 by 64 pixels are 6 by 4 patches, behind a class token.
    assert_eq!((one, count), (1, 1 + 6 * 4));
    let values = host(tokens);
    let margin_of = |values: &[f32]| -> f32 {
        let data = TensorData::new(values.to_vec(), [1, channels, 1, count]);
        let tokens = Tensor::<4>::from_data(data, &device);
        let pooled = Backbone::pool_stages(&classifier.backbone, cut, tokens);
        margin(&host(classifier.head.forward(pooled)), 1)
    };
    // The mean of the derivatives by all patches is the derivative by a shift of them all, over their number.
    let weights: Vec<f32> = (0..channels)
        .map(|channel| {
            let slope = |sign: f32| {
                let mut moved = values.clone();
                let row = &mut moved[channel * count + 1..(channel + 1) * count];
                row.iter_mut().for_each(|v| *v += sign * STEP);
                margin_of(&moved)
            };
            (slope(1.0) - slope(-1.0)) / (2.0 * STEP * 24.0)
        })
        .collect();
    let cams = GradCam::of(&classifier, images(1), &[1]).unwrap();
    assert_eq!((cams[0].height, cams[0].width), (6, 4));
    let sums = weighted(&values, [1, channels, 1, count], 0, &weights);
    assert_cut_off(&cams[0].values, &sums[1..], 2e-2);
}

/// Three colours in patches of eight by eight pixels, without anything learnt.
#[derive(Module, Debug)]
struct Colours {
    scale: Param<Tensor<1>>,
    /// Mean squares instead of means, so that the gradient depends on the place.
    squares: bool,
}

impl Backbone for Colours {
    fn stage_names(&self) -> Vec<&str> {
        vec!["patches"]
    }

    fn forward_stage(&self, _: usize, x: Tensor<4>) -> Tensor<4> {
        let [n, channels, height, width] = x.dims();
        let rows = x.reshape([n, channels, height / 8, 8, width]).mean_dim(3);
        let patches = rows
            .reshape([n, channels, height / 8, width / 8, 8])
            .mean_dim(4);
        let patches = patches.reshape([n, channels, height / 8, width / 8]);
        patches * self.scale.val().reshape([1, 1, 1, 1])
    }

    fn pool(&self, x: Tensor<4>) -> Tensor<2> {
        let x = if self.squares { x.clone() * x } else { x };
        x.mean_dim(3).mean_dim(2).flatten(1, 3)
    }

    fn num_features(&self) -> usize {
        3
    }

    fn stage_of(&self, _: &str) -> usize {
        0
    }

    fn in_channels(&self) -> usize {
        3
    }
}

/// A head of these rows, one for each class, on [`Colours`].
fn colours(rows: &[[f32; 3]], squares: bool) -> Classifier<Colours> {
    let device = Device::flex();
    let backbone = Colours {
        scale: Param::from_tensor(Tensor::ones([1], &device)),
        squares,
    };
    Classifier::new(backbone, rows.len(), 0, &device)
        .with_head(rows.concat(), vec![0.0; rows.len()])
        .unwrap()
}

/// A red patch at row 1, column 2 of four by four, a blue one at row 3, column 0, on black.
fn red_and_blue() -> Tensor<4> {
    let value = |i: usize| {
        let (channel, y, x) = (i / 1024, i / 32 % 32 / 8, i % 32 / 8);
        match (channel, y, x) {
            (0, 1, 2) | (2, 3, 0) => 1.0,
            _ => 0.0,
        }
    };
    let values: Vec<f32> = (0..3 * 32 * 32).map(value).collect();
    Tensor::from_data(TensorData::new(values, [1, 3, 32, 32]), &Device::flex())
}

/// The map of class 0, stretched to a largest value of 1.
fn seen(classifier: &Classifier<impl Backbone>) -> Vec<f32> {
    let cams = GradCam::of(classifier, red_and_blue(), &[0]).unwrap();
    cams[0].over(4, 4)
}

/// Nothing but the patch at this row and column.
fn only(row: usize, column: usize) -> Vec<f32> {
    let patch = |i: usize| f32::from(i == row * 4 + column);
    (0..16).map(patch).collect()
}

#[test]
fn a_single_logit_speaks_for_itself() {
    assert_eq!(seen(&colours(&[[1.0, 0.0, -1.0]], false)), only(1, 2));
    assert_eq!(seen(&colours(&[[-1.0, 0.0, 1.0]], false)), only(3, 0));
}

#[test]
fn what_speaks_for_a_class_may_stand_in_the_others_row() {
    // The same probabilities three times: red speaks for class 0 and blue against it.
    let sigmoid = [[1.0, 0.0, -1.0]];
    let own_row = [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]];
    // The logit alone shows nothing here ...
    let others_row = [[0.0, 0.0, 0.0], [-1.0, 0.0, 1.0]];
    // ... and here it shows the blue patch.
    let shifted = [[-8.0, 0.0, 8.0], [-9.0, 0.0, 9.0]];
    for rows in [&sigmoid[..], &own_row, &others_row, &shifted] {
        assert_eq!(seen(&colours(rows, false)), only(1, 2), "{rows:?}");
    }
}

#[test]
fn the_gradient_goes_through_any_pooling() {
    let cams = GradCam::of(
        &colours(&[[3.0, 0.0, 1.0], [1.0, 0.0, 0.0]], true),
        red_and_blue(),
        &[0],
    );
    let cam = &cams.unwrap()[0];
    // Behind mean squares, the mean over 16 places of 2 w map / 16, where the map is 1 at one of them.
    let weight = |w: f32| 2.0 * w / (16.0 * 16.0);
    for (place, found) in cam.values.iter().enumerate() {
        let expected = match place {
            6 => weight(3.0 - 1.0),
            12 => weight(1.0),
            _ => 0.0,
        };
        assert!(
            (found - expected).abs() < 1e-7,
            "{place}: {found} {expected}"
        );
    }
}

#[test]
fn a_vector_that_all_classes_share_changes_nothing() {
    let classifier = classifier();
    let before = GradCam::of(&classifier, images(CLASSES), &[0, 1, 2]).unwrap();
    let head = host(classifier.head.weight.val());
    let features = head.len() / CLASSES;
    // Larger than what tells the classes apart, as after long training without weight decay.
    let row = |class: usize| {
        let head = &head;
        (0..features).map(move |k| head[k * CLASSES + class] + 0.2 * (k as f32).cos())
    };
    let bias = host(classifier.head.bias.as_ref().unwrap().val());
    let shifted = classifier
        .clone()
        .with_head((0..CLASSES).flat_map(row).collect(), bias)
        .unwrap();
    let after = GradCam::of(&shifted, images(CLASSES), &[0, 1, 2]).unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert_cut_off(&after.values, &before.values, 1e-3);
    }
}

#[test]
fn an_answer_without_bias_comes_from_somewhere() {
    let classifier = classifier();
    let features = host(Backbone::pool(
        &classifier.backbone,
        classifier.backbone.forward_features(images(4)),
    ));
    let head = host(classifier.head.weight.val());
    // Classes whose rows all point away from the features: the best one's logit is below zero.
    let width = features.len() / 4;
    let away = |class: usize| {
        let (features, head) = (&features, &head);
        (0..width).map(move |k| 0.1 * head[k * CLASSES + class] - features[k])
    };
    let classifier = classifier
        .with_head((0..CLASSES).flat_map(away).collect(), vec![0.0; CLASSES])
        .unwrap();
    let logits = host(classifier.forward(images(4)));
    for (image, row) in logits.chunks_exact(CLASSES).enumerate() {
        assert!(row.iter().all(|logit| *logit < 0.0), "{row:?}");
        let answer = (0..CLASSES)
            .max_by(|a, b| row[*a].total_cmp(&row[*b]))
            .unwrap();
        let cams = GradCam::of(&classifier, images(4), &[answer; 4]).unwrap();
        assert!(
            cams[image].values.iter().any(|value| *value > 0.0),
            "{image}"
        );
    }
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

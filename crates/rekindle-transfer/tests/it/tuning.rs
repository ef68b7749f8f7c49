//! Soft and thin ways of tuning: exact limits, counted parameters, gradients of low-rank factors.

use burn::module::{Flag, Module, ModuleVisitor, Param};
use burn::nn::{Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::{Gradients, TensorData};
use rekindle_models::resnet::ResNetConfig;
use rekindle_nn::Network;
use rekindle_transfer::tuning::*;
use rekindle_transfer::{Backbone, Classifier, Strategy, TransferError};
use rekindle_weights::state_dict::{assign, collect};

fn device() -> Device {
    Device::flex().autodiff()
}

fn resnet() -> Network {
    let config = ResNetConfig::RESNET18;
    let resnet = config
        .with_stem_width(8)
        .with_num_classes(0)
        .network(0, &Device::flex())
        .unwrap();
    let mut number = 0;
    let shapes: Vec<usize> = collect(&resnet).values().map(|t| t.values.len()).collect();
    let names: Vec<String> = collect(&resnet).into_keys().collect();
    assign(resnet, |name| {
        number += 1;
        let count = shapes[names.iter().position(|known| known == name)?];
        let wave = |i: usize| ((i * 37 + number * 11) as f32 * 0.731).sin();
        Some(match name.rsplit('.').next() {
            Some("running_var") => vec![1.0; count],
            Some("bias" | "running_mean") => (0..count).map(|i| 0.1 * wave(i)).collect(),
            _ if count <= 64 => vec![1.0; count],
            _ => (0..count).map(|i| 0.1 * wave(i)).collect(),
        })
    })
}

fn images() -> Tensor<4> {
    let values: Vec<f32> = (0..2 * 3 * 32 * 32)
        .map(|i| (i as f32 * 0.37).sin())
        .collect();
    Tensor::from_data(TensorData::new(values, [2, 3, 32, 32]), &device())
}

fn linear(values: [f32; 2]) -> Linear {
    let layer = LinearConfig::new(2, 1).with_bias(false).init(&device());
    assign(layer, |_| Some(values.to_vec()))
}

fn weights(layer: &Linear) -> Vec<f32> {
    collect(layer)["weight"].values.clone()
}

#[test]
fn l2_sp_is_exact_at_both_ends_and_its_fixed_point_is_the_penalised_optimum() {
    let source = linear([1.0, -2.0]);
    let moved = source.clone();
    let moved = assign(moved, |_| Some(vec![1.3, 0.7]));
    let pull = |strength, rate| {
        let l2_sp = L2Sp::new(&source, strength).unwrap();
        weights(&l2_sp.apply(moved.clone(), |_| rate))
    };
    assert_eq!(pull(0.0, 0.1), [1.3, 0.7]);
    assert_eq!(pull(f64::INFINITY, 0.1), [1.0, -2.0]);
    assert_eq!(pull(5.0, 0.0), [1.3, 0.7]);
    let found = pull(5.0, 0.1);
    for (found, expected) in found.iter().zip([(1.3 + 0.5) / 1.5, (0.7 - 1.0) / 1.5]) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    let l2_sp = L2Sp::new(&source, 3.0).unwrap();
    assert!((l2_sp.penalty(&moved) - 1.5 * (0.09 + 7.29)).abs() < 1e-5);
    assert_eq!(
        L2Sp::new(&source, f64::INFINITY).unwrap().penalty(&source),
        0.0
    );
    // Minimises (w - 3)^2 / 2 + 2 (w - w0)^2 / 2: w = (3 + 2 w0) / 3.
    let l2_sp = L2Sp::new(&source, 2.0).unwrap();
    let mut w = moved;
    for _ in 0..200 {
        let stepped: Vec<f32> = weights(&w).iter().map(|w| w - 0.1 * (w - 3.0)).collect();
        w = l2_sp.apply(assign(w, |_| Some(stepped.clone())), |_| 0.1);
    }
    for (found, w0) in weights(&w).iter().zip([1.0, -2.0]) {
        assert!((found - (3.0 + 2.0 * w0) / 3.0).abs() < 1e-5, "{found}");
    }
    for strength in [-1.0, f64::NAN] {
        assert!(L2Sp::new(&source, strength).is_err());
    }
}

#[test]
fn the_feature_map_penalty_is_half_the_weighted_mean_square() {
    let maps = |phase: f32| {
        let values = (0..24)
            .map(|i| (i as f32 * 0.7 + phase).sin())
            .collect::<Vec<_>>();
        Tensor::<4>::from_data(TensorData::new(values, [2, 3, 2, 2]), &device())
    };
    let channel_weights = [1.0, 0.0, 2.0];
    let found = feature_map_penalty(maps(0.0), maps(0.4), Some(&channel_weights)).unwrap();
    let expected: f32 = (0..24)
        .map(|i| {
            let distance = (i as f32 * 0.7).sin() - (i as f32 * 0.7 + 0.4).sin();
            channel_weights[i / 4 % 3] * distance * distance / (2.0 * 2.0 * 4.0)
        })
        .sum();
    assert!((found.into_scalar::<f32>() - expected).abs() < 1e-6);
    let none = feature_map_penalty(maps(0.0), maps(0.0), None).unwrap();
    assert_eq!(none.into_scalar::<f32>(), 0.0);
    assert!(feature_map_penalty(maps(0.0), maps(0.0).reshape([2, 2, 3, 2]), None).is_err());
    assert!(feature_map_penalty(maps(0.0), maps(0.0), Some(&[1.0])).is_err());
    let empty = Tensor::<4>::zeros([0, 3, 2, 2], &device());
    assert!(feature_map_penalty(empty.clone(), empty, None).is_err());
}

#[test]
fn channels_weigh_by_what_their_loss_costs() {
    assert_eq!(channel_weights(&[2.0, 2.0], 1.0).unwrap(), [1.0, 1.0]);
    let weights = channel_weights(&[0.0, 3f64.ln()], 1.0).unwrap();
    assert!((weights[0] - 0.5).abs() < 1e-6 && (weights[1] - 1.5).abs() < 1e-6);
    assert!(channel_weights(&[], 1.0).is_err());
    assert!(channel_weights(&[f64::NAN], 1.0).is_err());
    assert!(channel_weights(&[1.0], 0.0).is_err());
}

/// Names of all parameters that take gradients.
fn trained_names<M: Module>(module: &M) -> Vec<String> {
    #[derive(Default)]
    struct Names {
        path: Vec<String>,
        found: Vec<String>,
    }
    impl ModuleVisitor for Names {
        fn enter_module(&mut self, name: &str, _: &str) {
            self.path.push(name.to_string());
        }
        fn exit_module(&mut self, _: &str, _: &str) {
            self.path.pop();
        }
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.found.push(self.path.join("."));
            }
        }
    }
    let mut names = Names::default();
    module.visit(&mut names);
    names.found
}

/// The switches of all normalisations.
fn switches(network: &Network) -> Vec<bool> {
    #[derive(Default)]
    struct Switches(Vec<bool>);
    impl ModuleVisitor for Switches {
        fn visit_flag(&mut self, flag: &Param<Flag>) {
            self.0.push(flag.is_enabled());
        }
    }
    let mut switches = Switches::default();
    network.visit(&mut switches);
    assert_eq!(switches.0.len(), 20);
    switches.0
}

/// The gradient by the parameter with this name.
fn gradient(network: &Network, name: &str, gradients: &Gradients) -> Option<Vec<f32>> {
    struct Search<'a> {
        path: Vec<String>,
        name: &'a str,
        gradients: &'a Gradients,
        found: Option<Vec<f32>>,
    }
    impl ModuleVisitor for Search<'_> {
        fn enter_module(&mut self, name: &str, _container: &str) {
            self.path.push(name.to_string());
        }

        fn exit_module(&mut self, _name: &str, _container: &str) {
            self.path.pop();
        }

        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if self.path.join(".") == self.name {
                let gradient = param.val().grad(self.gradients);
                self.found = gradient.map(|g| g.into_data().iter::<f32>().collect());
            }
        }
    }
    let mut search = Search {
        path: Vec::new(),
        name,
        gradients,
        found: None,
    };
    network.visit(&mut search);
    search.found
}

fn applied(strategy: &Strategy) -> Classifier<Network> {
    let classifier = Classifier::new(resnet(), 3, 0, &Device::flex());
    let plan = strategy
        .plan(&classifier.backbone.stage_names(), 0)
        .unwrap();
    apply(classifier.to_device(&device()).train(), &plan)
}

#[test]
fn thin_strategies_train_what_they_say() {
    // 20 convolutions with 20 normalisations of 960 channels altogether: 8 * (1 + 4) + 16 * 5 + 32 * 5 + 64 * 5 at width 8.
    let channels = 8 + 8 * 4 + 16 * 5 + 32 * 5 + 64 * 5;
    let head = 64 * 3 + 3;
    let bitfit = applied(&Strategy::BitFit { backbone_rate: 1.0 });
    assert_eq!(trained_parameters(&bitfit), channels + head);
    assert!(
        trained_names(&bitfit.backbone)
            .iter()
            .all(|name| name.ends_with(".bias"))
    );
    assert!(switches(&bitfit.backbone).into_iter().all(|on| !on));
    let norm = applied(&Strategy::BatchNormOnly { backbone_rate: 1.0 });
    assert_eq!(trained_parameters(&norm), 2 * channels + head);
    assert!(switches(&norm.backbone).into_iter().all(|on| on));
    let all = applied(&Strategy::fine_tuning());
    let running = 2 * channels;
    assert_eq!(trained_parameters(&all), all.num_params() - running);
    let fixed = applied(&Strategy::FixedStatistics { backbone_rate: 0.1 });
    assert_eq!(trained_parameters(&fixed), trained_parameters(&all));
    assert!(switches(&fixed.backbone).into_iter().all(|on| !on));
    assert_eq!(
        trained_parameters(&applied(&Strategy::FeatureExtraction)),
        head
    );
}

#[test]
fn gradients_reach_biases_alone_where_biases_alone_learn() {
    let classifier = applied(&Strategy::BitFit { backbone_rate: 1.0 });
    let grads = classifier.forward(images()).square().sum().backward();
    let backbone = &classifier.backbone;
    let shift = gradient(backbone, "bn1.bias", &grads).unwrap();
    assert!(shift.iter().any(|value| *value != 0.0));
    assert!(gradient(backbone, "bn1.weight", &grads).is_none());
    assert!(gradient(backbone, "conv1.weight", &grads).is_none());
    // The same gradient as where everything takes one.
    let all = applied(&Strategy::fine_tuning());
    let plan = Plan {
        filter: ParameterFilter::Biases,
        ..Plan::frozen(5, 0)
    };
    let reference = apply(all, &plan);
    let grads_again = reference.forward(images()).square().sum().backward();
    let again = gradient(&reference.backbone, "bn1.bias", &grads_again).unwrap();
    assert_eq!(shift, again);
}

#[test]
fn low_rank_factors_change_nothing_at_first_and_merge_into_plain_weights() {
    let plain = Classifier::new(resnet(), 3, 0, &Device::flex());
    let expected = plain.forward(images().inner());
    let low_rank = LowRank {
        rank: 2,
        alpha: 3.0,
        seed: 5,
    };
    let mut adapted = plain.clone().to_device(&device()).train();
    adapted.backbone = low_rank.attach(adapted.backbone).unwrap();
    let adapted = apply(adapted, &Plan::adapters(5));
    let names = trained_names(&adapted.backbone);
    assert!(
        names.iter().all(|name| name.contains(".lora.")),
        "{names:?}"
    );
    assert_eq!(names.len(), 2 * 20);
    let shapes = collect(&plain.backbone);
    let matrices = shapes.values().filter(|tensor| tensor.shape.len() == 4);
    let factors: usize = matrices
        .map(|tensor| 2 * (tensor.shape[0] + tensor.shape[1..].iter().product::<usize>()))
        .sum();
    assert_eq!(trained_parameters(&adapted), factors + 64 * 3 + 3);
    close(&adapted.forward(images()).inner(), &expected, 1e-5);

    // Attached on a device without autodiff, the factors learn once the network is on one that has it.
    let mut plain_device = plain.clone();
    plain_device.backbone = low_rank.attach(plain_device.backbone).unwrap();
    let moved_over = apply(
        plain_device.to_device(&device()).train(),
        &Plan::adapters(5),
    );
    assert_eq!(trained_names(&moved_over), trained_names(&adapted));

    let moved = set_factors(adapted, 0.01);
    let found = moved.valid().forward(images().inner());
    let merged = LowRank::merge(moved.valid());
    close(&merged.forward(images().inner()), &found, 1e-4);
    let merged_names: Vec<String> = collect(&merged).into_keys().collect();
    let plain_names: Vec<String> = collect(&plain).into_keys().collect();
    assert_eq!(merged_names, plain_names);
    let distance = (found - expected).abs().max().into_scalar::<f32>();
    assert!(distance > 1e-3, "{distance}");
    assert!(LowRank::new(0).attach(resnet()).is_err());
    assert!(
        LowRank {
            alpha: f64::NAN,
            ..LowRank::new(1)
        }
        .attach(resnet())
        .is_err()
    );
}

/// Fills the second factors.
fn set_factors<M: Module>(module: M, scale: f32) -> M {
    struct Fill(f32);
    impl burn::module::ModuleMapper for Fill {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
            if !(D == 2
                && param.is_require_grad()
                && param.val().abs().sum().into_scalar::<f32>() == 0.0)
            {
                return param;
            }
            let shape = param.lazy_shape().to_vec();
            let count = shape.iter().product::<usize>();
            let values = (0..count)
                .map(|i| self.0 * (i as f32).sin())
                .collect::<Vec<_>>();
            let device = param.lazy_device();
            param.map(|_| Tensor::from_data(TensorData::new(values, shape), &device).require_grad())
        }
    }
    module.map(&mut Fill(scale))
}

#[test]
fn the_gradient_of_a_factor_is_the_other_times_the_gradient_of_the_weight() {
    let (rows, columns, rank, alpha) = (4, 3, 2, 1.5);
    let layer = LinearConfig::new(rows, columns)
        .with_bias(false)
        .init(&device());
    let values: Vec<f32> = (0..12).map(|i| (i as f32).sin()).collect();
    let layer: Linear = assign(layer, |_| Some(values.clone()));
    let x = Tensor::<2>::from_data(
        TensorData::new(
            (0..20).map(|i| (i as f32).cos()).collect::<Vec<_>>(),
            [5, rows],
        ),
        &device(),
    );
    let loss = |layer: &Linear| layer.forward(x.clone()).square().sum();
    let grads = loss(&layer).backward();
    let of_weight = layer.weight.val().grad(&grads).unwrap();
    let low_rank = LowRank {
        rank,
        alpha,
        seed: 1,
    };
    let adapted = low_rank.attach(layer).unwrap();
    let grads = loss(&adapted).backward();
    let adapter = adapted.weight.adapter().unwrap();
    let of_b = adapter.b.val().grad(&grads).unwrap();
    let expected = adapter.a.val().inner().transpose().matmul(of_weight) * (alpha / rank as f64);
    let worst = (of_b - expected).abs().max().into_scalar::<f32>();
    assert!(worst < 1e-4, "{worst}");
}

fn close<const D: usize>(found: &Tensor<D>, expected: &Tensor<D>, within: f32) {
    let worst = (found.clone() - expected.clone())
        .abs()
        .max()
        .into_scalar::<f32>();
    let largest = expected.clone().abs().max().into_scalar::<f32>();
    assert!(worst <= within * largest, "{worst} of {largest}");
}

#[test]
fn soups_average_and_keep_what_helps() {
    let nets = [linear([1.0, 0.0]), linear([3.0, 2.0]), linear([-50.0, 9.0])];
    assert_eq!(weights(&average_weights(&nets[..2]).unwrap()), [2.0, 1.0]);
    // Best where the weights are (2, 1): the third would spoil the soup.
    let score = |net: &Linear| {
        let w = weights(net);
        -f64::from((w[0] - 2.0).powi(2) + (w[1] - 1.0).powi(2))
    };
    let soup = greedy_soup(&nets, score).unwrap();
    assert_eq!(weights(&soup.module), [2.0, 1.0]);
    assert_eq!((soup.ingredients, soup.score), (vec![0, 1], 0.0));
    let none: [Linear; 0] = [];
    assert!(average_weights(&none).is_err());
    assert!(greedy_soup(&none, |_| 1.0).is_err());
    assert!(greedy_soup(&nets, |_| f64::NAN).is_err());
    let wider = LinearConfig::new(3, 1).with_bias(false).init(&device());
    assert!(average_weights(&[linear([1.0, 0.0]), wider]).is_err());
}

#[test]
fn ensembles_average_probabilities_and_stacks_learn_whom_to_trust() {
    let two = vec![vec![0.0, 3f64.ln()], vec![0.0, 0.0]];
    let mean = ensemble_probabilities(&two, 2).unwrap();
    assert!((mean[0] - 0.375).abs() < 1e-12 && (mean[1] - 0.625).abs() < 1e-12);
    // The first member knows, the second has it the wrong way round and is twice as sure.
    let labels: Vec<usize> = (0..20).map(|i| i % 2).collect();
    let says = |sure: f64| {
        labels
            .iter()
            .flat_map(move |l| [-sure * *l as f64, sure * (*l as f64 - 1.0)])
    };
    let members = [says(2.0).collect::<Vec<_>>(), says(-4.0).collect()];
    let wrong = ensemble_probabilities(&members, 2).unwrap();
    assert!(wrong.chunks(2).zip(&labels).all(|(p, l)| p[*l] < 0.5));
    let head = stacking(&members, &labels, 2, 1e-3).unwrap();
    let logits = head
        .logits(&stacked_features(&members, 2).unwrap())
        .unwrap();
    assert!(
        logits
            .chunks(2)
            .zip(&labels)
            .all(|(p, l)| p[*l] > p[1 - *l])
    );
    for bad in [
        vec![],
        vec![vec![1.0; 3]],
        vec![vec![1.0; 2], vec![1.0; 4]],
        vec![vec![f64::NAN; 2]],
    ] {
        let error = ensemble_probabilities(&bad, 2);
        assert!(matches!(
            error,
            Err(TransferError::Degenerate { .. } | TransferError::WrongLength { .. })
        ));
    }
}

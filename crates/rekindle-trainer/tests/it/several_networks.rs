//! Checks a budget for several networks: the better one goes on, or all stand side by side.

use burn::prelude::*;
use image::{Rgb, RgbImage};
use rekindle_models::resnet::ResNetConfig;
use rekindle_models::{Preprocess, Pretrained};
use rekindle_nn::Network;
use rekindle_trainer::{Event, FineTuned, Fit, Model, RunDirectory, TransferData};
use rekindle_transfer::features::ProbeKind;

use crate::common::{classifier, preprocess};
use crate::fit::fit;
use crate::runs::Files;

#[test]
fn of_several_networks_the_better_one_goes_on_and_the_record_names_it() {
    let files = Files::new();
    let graph = classifier().into_network().unwrap().graph().clone();
    let network = |name: &str, model| Pretrained {
        model,
        architecture: name.into(),
        ..files.pretrained()
    };
    let networks = [
        network("one", Network::new(graph, 99, &Device::flex())),
        network("other", files.pretrained().model),
    ];
    let alone = |network: &Pretrained| {
        let fit = fit(2).keep_architecture();
        let tuned = fit.fit(network, &files.data()).unwrap();
        tuned.probe.chosen().log_loss
    };
    let losses = [alone(&networks[0]), alone(&networks[1])];
    let better = usize::from(losses[1] < losses[0]);
    let path = files.path("run");
    let tuned = fit(12)
        .keep_architecture()
        .run_directory(&path)
        .fit_best_of(&networks, &files.data())
        .unwrap();
    assert_eq!(tuned.probe.chosen().log_loss, losses[better]);
    drop(tuned);
    let record = RunDirectory::open(&path).unwrap().record().clone();
    assert_eq!(record.architecture, networks[better].architecture);
    assert!(record.beside.is_empty());
}

#[test]
fn fast_networks_are_tried_before_slow_ones_but_for_the_first() {
    let files = Files::new();
    let of_width = |width: usize| {
        let config = ResNetConfig::RESNET18
            .with_stem_width(width)
            .with_num_classes(3);
        let model = config.network(1, &Device::flex()).unwrap();
        Pretrained {
            architecture: format!("of {width}"),
            model,
            ..files.pretrained()
        }
    };
    let networks = [8, 16, 4].map(of_width);
    let tuned = Fit::new(&Device::flex())
        .without_training()
        .fit_best_of(&networks, &files.data())
        .unwrap();
    let firsts = tuned.trials.iter().filter(|t| t.why == "the plain way");
    let order: Vec<&str> = firsts
        .map(|t| t.what.rsplit("of of ").next().unwrap())
        .collect();
    assert_eq!(order, ["8", "4", "16"]);
}

/// A picture whose red is brighter above or below, and so its green.
fn two_colours(red: usize, green: usize, seed: usize) -> RgbImage {
    let mut state = (seed as u32 + 1).wrapping_mul(2_654_435_761);
    RgbImage::from_fn(40, 40, |_, y| {
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 25) as u8
        };
        let light = |is_above: usize| 60 * u8::from((y < 20) == (is_above == 1));
        Rgb([light(red) + noise(), light(green) + noise(), noise()])
    })
}

/// A network that sees red alone, and one of other weights, on a larger part of pictures, that sees green alone.
fn half_blind(files: &Files) -> [Pretrained; 2] {
    let (seen, graph) = (preprocess(), classifier().into_network().unwrap());
    let graph = graph.graph().clone().with_name("other");
    let blind = 1e6;
    [
        Pretrained {
            preprocess: Preprocess {
                std: [0.25, blind, blind],
                ..seen.clone()
            },
            ..files.pretrained()
        },
        Pretrained {
            model: Network::new(graph, 99, &Device::flex()),
            architecture: "other".into(),
            preprocess: Preprocess {
                mean: [0.3, 0.2, 0.1],
                std: [blind, 0.2, blind],
                resize: seen.resize + 8,
                ..seen
            },
            ..files.pretrained()
        },
    ]
}

#[test]
fn networks_stand_side_by_side_where_a_head_on_all_is_better() {
    let files = Files::new();
    let folder = files.path("colours");
    for (part, images, first) in [("train", 48, 0), ("val", 24, 1000)] {
        for index in 0..images {
            let (red, green) = (index % 2, index / 2 % 2);
            let class = folder.join(part).join(format!("{red}{green}"));
            std::fs::create_dir_all(&class).unwrap();
            let picture = two_colours(red, green, first + index);
            picture.save(class.join(format!("{index}.png"))).unwrap();
        }
    }
    let networks = half_blind(&files);
    let path = files.path("joined");
    let data = TransferData::open(&folder, &networks[0].preprocess, 0).unwrap();
    let tuned = Fit::new(&Device::flex())
        .without_training()
        .run_directory(&path)
        .fit_best_of(&networks, &data)
        .unwrap();
    let trial = |tuned: &FineTuned| {
        let mut trials = tuned.trials.iter();
        trials.find(|t| t.what.contains("side by side")).cloned()
    };
    let told = trial(&tuned).unwrap();
    assert!(told.kept, "{:?}", tuned.trials);
    let others = tuned.trials.iter().filter(|trial| **trial != told);
    for trial in others {
        assert!(told.accuracy > trial.accuracy, "{trial:?}");
    }
    assert!(tuned.accuracy() > 0.9, "{}", tuned.accuracy());
    assert_eq!(tuned.probe.chosen().kind, ProbeKind::Multilevel);
    assert_eq!(
        tuned.classifier.backbone.graph().stage_names(),
        ["networks"]
    );
    // The validation images went through both as one, and so they do from the file.
    let expected = tuned.predictions.probabilities.clone();
    drop(tuned);
    let model = Model::open(&path, &Device::flex()).unwrap();
    let found = model.evaluate(folder.join("val"), |_| ()).unwrap();
    assert_eq!(found.predictions.probabilities.len(), expected.len());
    for (found, expected) in found.predictions.probabilities.iter().zip(&expected) {
        assert!((found - expected).abs() < 1e-5, "{found} {expected}");
    }
    let run = RunDirectory::open(&path).unwrap();
    let record = run.record().clone();
    let (mut parts, mut whole) = (0.0, 0.0);
    for event in run.events().unwrap() {
        match event {
            Event::PhaseEnded { seconds, .. } => parts += seconds,
            Event::EpochEnded { metrics } => parts += metrics.train_seconds + metrics.valid_seconds,
            Event::RunEnded(outcome) => whole = outcome.seconds,
            _ => {}
        }
    }
    assert!(parts > 0.0 && parts <= whole + 0.01, "{parts} s of {whole}");
    assert_eq!(record.beside.len(), 1);
    assert!(record.architecture.contains('+'), "{}", record.architecture);

    // Done again it has the same bits, and all of its weights are asked for.
    let again = |networks: &[Pretrained]| {
        Fit::new(&Device::flex())
            .without_training()
            .resume_best_of(&path, networks, &data)
    };
    let resumed = again(&networks).unwrap();
    assert_eq!(resumed.predictions.probabilities, expected);
    drop(resumed);
    let error = again(&networks[..1]).err().unwrap().to_string();
    assert!(error.contains("weights"), "{error}");

    // Where the clock goes too fast, one network has to do; and where its architecture is to stay.
    let short = fit(3).fit_best_of(&networks, &data).unwrap();
    assert!(trial(&short).is_none(), "{:?}", short.trials);
    let kept = fit(30).keep_architecture();
    let kept = kept.fit_best_of(&networks, &data).unwrap();
    assert!(trial(&kept).is_none(), "{:?}", kept.trials);
    // With time it is trained as any other.
    let trained = fit(15).fit_best_of(&networks, &data).unwrap();
    assert!(trial(&trained).unwrap().kept);
    assert!(trained.accuracy() > 0.9, "{}", trained.accuracy());
}

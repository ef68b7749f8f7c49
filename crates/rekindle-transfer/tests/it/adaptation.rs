//! A head trained on source and target together, on clouds of points.

use burn::tensor::Device;
use rekindle_transfer::TransferError;
use rekindle_transfer::features::Features;
use rekindle_transfer::objective::{Adaptation, DomainObjective, LabelledRows, Scaling};

/// Three clouds per class in 8 dimensions; the target's are turned in the plane of the first two axes and moved.
fn clouds(count: usize, turn: f64, shift: f32) -> (Features, Vec<usize>) {
    let mut values = Vec::new();
    for i in 0..count {
        let angle = (i % 3) as f64 * std::f64::consts::TAU / 3.0 + turn;
        for j in 0..8 {
            let centre = match j {
                0 => 2.0 * angle.cos(),
                1 => 2.0 * angle.sin(),
                _ => 0.5,
            };
            let noise = ((i * 37 + j * 101 + 13) as f64 * 0.731).sin() * 0.4;
            values.push((centre + noise) as f32 + shift);
        }
    }
    let labels = (0..count).map(|i| i % 3).collect();
    (Features::new(values, 8).unwrap(), labels)
}

fn adaptation(objective: DomainObjective) -> Adaptation {
    Adaptation {
        hidden: Some(16),
        steps: 300,
        batch_size: 30,
        learning_rate: 0.05,
        ..Adaptation::new(objective)
    }
}

fn accuracy(predictions: &[usize], labels: &[usize]) -> f64 {
    let correct = predictions.iter().zip(labels).filter(|(a, b)| a == b);
    correct.count() as f64 / labels.len() as f64
}

fn rows<'a>(features: &'a Features, labels: &'a [usize]) -> LabelledRows<'a> {
    LabelledRows {
        features,
        labels,
        classes: 3,
        weights: None,
    }
}

#[test]
fn objectives_on_predictions_follow_a_turned_target_further_than_the_source_alone() {
    let (source, labels) = clouds(90, 0.0, 0.0);
    let (target, truth) = clouds(90, 0.8, 0.5);
    let fit = |objective| {
        let head = adaptation(objective)
            .fit(rows(&source, &labels), &target, &Device::flex())
            .unwrap();
        accuracy(&head.predict(&target).unwrap(), &truth)
    };
    let alone = fit(DomainObjective::SourceOnly);
    assert!(alone < 0.95, "{alone}");
    for objective in [
        DomainObjective::MinimumClassConfusion { temperature: 2.5 },
        DomainObjective::InformationMaximisation,
    ] {
        let adapted = fit(objective.clone());
        assert!(
            adapted > alone + 0.03,
            "{}: {adapted}, alone {alone}",
            objective.name()
        );
    }
}

#[test]
fn every_objective_trains_survives_json_and_gives_the_same_bits_again() {
    let (source, labels) = clouds(30, 0.0, 0.0);
    let (target, _) = clouds(24, 0.4, 0.2);
    for objective in DomainObjective::all() {
        let adaptation = Adaptation {
            steps: 20,
            ..adaptation(objective)
        };
        let json = serde_json::to_string(&adaptation).unwrap();
        let again: Adaptation = serde_json::from_str(&json).unwrap();
        assert_eq!(again, adaptation);
        let logits = |adaptation: &Adaptation| {
            let head = adaptation.fit(rows(&source, &labels), &target, &Device::flex());
            head.unwrap().logits(&target).unwrap()
        };
        let first = logits(&adaptation);
        assert!(first.iter().all(|logit| logit.is_finite()));
        assert_eq!(first, logits(&again), "{}", adaptation.objective.name());
    }
}

#[test]
fn a_weight_of_zero_is_the_source_alone() {
    let (source, labels) = clouds(30, 0.0, 0.0);
    let (target, _) = clouds(24, 0.4, 0.2);
    let logits = |objective, weight| {
        let adaptation = Adaptation {
            weight,
            steps: 20,
            ..adaptation(objective)
        };
        let head = adaptation.fit(rows(&source, &labels), &target, &Device::flex());
        head.unwrap().logits(&target).unwrap()
    };
    let alone = logits(DomainObjective::SourceOnly, 1.0);
    for objective in DomainObjective::all() {
        assert_eq!(
            logits(objective.clone(), 0.0),
            alone,
            "{}",
            objective.name()
        );
    }
}

#[test]
fn rows_without_weight_don_t_count() {
    let (source, labels) = clouds(60, 0.0, 0.0);
    let (target, truth) = clouds(60, 0.0, 0.0);
    let wrong: Vec<usize> = labels.iter().map(|label| (label + 1) % 3).collect();
    // The second half has its labels turned round, and no weight.
    let mixed: Vec<usize> = labels[..30].iter().chain(&wrong[30..]).copied().collect();
    let weights: Vec<f32> = (0..60)
        .map(|row| if row < 30 { 1.0 } else { 0.0 })
        .collect();
    let source = LabelledRows {
        weights: Some(&weights),
        ..rows(&source, &mixed)
    };
    let head = adaptation(DomainObjective::SourceOnly)
        .fit(source, &target, &Device::flex())
        .unwrap();
    assert!(accuracy(&head.predict(&target).unwrap(), &truth) > 0.95);
}

#[test]
fn constant_features_and_single_rows_give_finite_logits() {
    let flat = Features::new(vec![1.0; 16], 8).unwrap();
    let single = Features::new(vec![1.0; 8], 8).unwrap();
    for scaling in [Scaling::Length, Scaling::CentredByDomain] {
        for objective in DomainObjective::all() {
            for target in [&flat, &single] {
                let needs_two = objective == DomainObjective::DeepCoral && target.len() == 1;
                let adaptation = Adaptation {
                    scaling,
                    steps: 5,
                    ..adaptation(objective.clone())
                };
                let head = adaptation.fit(rows(&flat, &[0, 1]), target, &Device::flex());
                if needs_two {
                    assert!(matches!(head, Err(TransferError::Degenerate { .. })));
                    continue;
                }
                let logits = head.unwrap().logits(target).unwrap();
                assert!(logits.iter().all(|logit| logit.is_finite()));
            }
        }
    }
}

#[test]
fn unusable_input_is_an_error() {
    let (source, labels) = clouds(30, 0.0, 0.0);
    let (target, _) = clouds(24, 0.4, 0.2);
    let empty = Features::new(vec![], 8).unwrap();
    let narrow = Features::new(vec![1.0; 4], 4).unwrap();
    let good = adaptation(DomainObjective::Dann { hidden: 8 });
    let device = Device::flex();
    let fails = |adaptation: &Adaptation, source: LabelledRows<'_>, target: &Features| {
        assert!(adaptation.fit(source, target, &device).is_err());
    };
    fails(&good, rows(&source, &labels), &empty);
    fails(&good, rows(&source, &labels), &narrow);
    fails(&good, rows(&empty, &[]), &target);
    fails(&good, rows(&source, &labels[1..]), &target);
    let two = LabelledRows {
        classes: 2,
        ..rows(&source, &labels)
    };
    fails(&good, two, &target);
    let one = LabelledRows {
        classes: 1,
        ..rows(&source, &[0; 30])
    };
    fails(&good, one, &target);
    for weights in [&[1.0; 29][..], &[-1.0; 30], &[f32::NAN; 30]] {
        let source = LabelledRows {
            weights: Some(weights),
            ..rows(&source, &labels)
        };
        fails(&good, source, &target);
    }
    let bad = [
        Adaptation {
            hidden: None,
            ..good.clone()
        },
        Adaptation {
            learning_rate: 0.0,
            ..good.clone()
        },
        Adaptation {
            learning_rate: 1e30,
            ..good.clone()
        },
        Adaptation {
            batch_size: 0,
            ..good.clone()
        },
        Adaptation {
            weight: -1.0,
            ..good.clone()
        },
        Adaptation {
            weight_decay: f64::NAN,
            ..good.clone()
        },
        adaptation(DomainObjective::Dann { hidden: 0 }),
        adaptation(DomainObjective::PseudoLabels { threshold: 2.0 }),
        adaptation(DomainObjective::MinimumClassConfusion { temperature: 0.0 }),
    ];
    for adaptation in bad {
        fails(&adaptation, rows(&source, &labels), &target);
    }
    let head = good.fit(rows(&source, &labels), &target, &device).unwrap();
    assert!(head.logits(&narrow).is_err());
    assert!(head.logits(&empty).unwrap().is_empty());
}

//! Curves of each class against the others, against scikit-learn's numbers and a loop; `tests/reference/open_set.json` holds
//! scikit-learn's answers.

use rekindle_trainer::Evaluation;
use serde::Deserialize;
use test_support::reference_path;

#[derive(Deserialize)]
struct Numbers {
    ranking: Ranking,
}

#[derive(Deserialize)]
struct Ranking {
    probabilities: Vec<f32>,
    labels: Vec<usize>,
    classes: Vec<Class>,
    macro_auroc: f64,
    macro_average_precision: f64,
}

#[derive(Deserialize)]
struct Class {
    auroc: f64,
    average_precision: f64,
    roc: Vec<[f64; 2]>,
    precision_recall: Vec<[f64; 2]>,
}

fn numbers() -> Ranking {
    let text = std::fs::read(reference_path("open_set.json")).unwrap();
    serde_json::from_slice::<Numbers>(&text).unwrap().ranking
}

/// The value of a curve at each of `at`, on straight lines between its points; where it has several, the first.
fn along(curve: &[[f64; 2]], at: f64) -> Vec<f64> {
    let mut found = Vec::new();
    for pair in curve.windows(2) {
        let ([a, b], [c, d]) = (pair[0], pair[1]);
        if a - 1e-12 <= at && at <= c + 1e-12 {
            match c - a < 1e-12 {
                true => found.extend([b, d]),
                false => found.push(b + (d - b) * (at - a) / (c - a)),
            }
        }
    }
    found
}

/// Every point of `all` lies on the curve through `kept`, and `kept` are some of them.
fn assert_same_curve(kept: &[[f64; 2]], all: &[[f64; 2]], what: &str) {
    let is_close = |a: &[f64; 2], b: &[f64; 2]| (a[0] - b[0]).abs() + (a[1] - b[1]).abs() < 1e-9;
    for point in kept {
        assert!(
            all.iter().any(|other| is_close(point, other)),
            "{what}: {point:?}"
        );
    }
    assert!(is_close(&kept[0], &all[0]) && is_close(kept.last().unwrap(), all.last().unwrap()));
    for [x, y] in all {
        let values = along(kept, *x);
        let (low, high) = values
            .iter()
            .fold((f64::MAX, f64::MIN), |(low, high), value| {
                (low.min(*value), high.max(*value))
            });
        assert!(
            low - 1e-9 <= *y && *y <= high + 1e-9,
            "{what}: {x} {y}, {values:?}"
        );
    }
}

#[test]
fn curves_and_areas_agree_with_scikit_learn() {
    let known = numbers();
    let found = Evaluation::from_probabilities(&known.probabilities, &known.labels, 3).unwrap();
    let ranking = &found.ranking;
    let close = |a: Option<f64>, b: f64| (a.unwrap() - b).abs() < 1e-12;
    assert!(close(ranking.macro_auroc, known.macro_auroc));
    assert!(close(
        ranking.macro_average_precision,
        known.macro_average_precision
    ));
    for (class, (found, known_class)) in ranking.classes.iter().zip(&known.classes).enumerate() {
        assert!(
            close(found.auroc, known_class.auroc),
            "{class}: {:?}",
            found.auroc
        );
        assert!(
            close(found.average_precision, known_class.average_precision),
            "{class}"
        );
        assert_same_curve(&found.roc, &known_class.roc, "roc");
        assert_same_curve(
            &found.precision_recall,
            &known_class.precision_recall,
            "precision",
        );
        // Cumulative gains by their definition: how many of the class are among the images down to each score.
        let score = |image: usize| known.probabilities[image * 3 + class];
        let mut thresholds: Vec<f32> = (0..known.labels.len()).map(score).collect();
        thresholds.sort_by(|a, b| b.total_cmp(a));
        thresholds.dedup();
        let of_class = known.labels.iter().filter(|label| **label == class).count() as f64;
        let mut gains = vec![[0.0, 0.0]];
        for threshold in thresholds {
            let taken: Vec<usize> = (0..known.labels.len())
                .filter(|image| score(*image) >= threshold)
                .collect();
            let right = taken
                .iter()
                .filter(|image| known.labels[**image] == class)
                .count();
            let share = taken.len() as f64 / known.labels.len() as f64;
            gains.push([share, right as f64 / of_class]);
        }
        assert_same_curve(&found.gains, &gains, "gains");
    }
}

#[test]
fn a_class_without_images_or_with_all_of_them_has_no_curve_where_none_is_defined() {
    let found = Evaluation::from_probabilities(&[0.6, 0.4, 0.9, 0.1], &[0, 0], 2).unwrap();
    let [all, none] = &found.ranking.classes[..] else {
        panic!("{found:?}")
    };
    assert_eq!((all.auroc, all.average_precision), (None, Some(1.0)));
    assert!(all.roc.is_empty() && all.gains == [[0.0, 0.0], [1.0, 1.0]]);
    assert_eq!((none.auroc, none.average_precision), (None, None));
    assert!(none.precision_recall.is_empty() && none.gains.is_empty());
    assert_eq!(found.ranking.macro_auroc, None);
    assert_eq!(found.ranking.macro_average_precision, Some(1.0));
    // Reports of earlier versions know no curves.
    let mut json = serde_json::to_value(&found).unwrap();
    json.as_object_mut().unwrap().remove("ranking");
    let read: Evaluation = serde_json::from_value(json).unwrap();
    assert!(read.ranking.classes.is_empty());
}

#[test]
fn curves_of_many_images_are_bounded_and_keep_their_areas() {
    let images = 5000;
    let noise = |at: usize| ((at * 37 + at * at * 11 + 5) as f64 * 0.731).sin();
    let labels: Vec<usize> = (0..images).map(|at| at % 2).collect();
    let probabilities: Vec<f32> = labels
        .iter()
        .enumerate()
        .flat_map(|(at, label)| {
            let p = (0.5 + 0.3 * noise(at) + if *label == 0 { 0.1 } else { -0.1 }) as f32;
            [p, 1.0 - p]
        })
        .collect();
    let found = Evaluation::from_probabilities(&probabilities, &labels, 2).unwrap();
    for class in &found.ranking.classes {
        assert!(class.roc.len() <= 100 && class.precision_recall.len() <= 100);
        assert_eq!(
            (class.gains[0], class.gains.last()),
            ([0.0; 2], Some(&[1.0; 2]))
        );
        let trapezoids: f64 = class
            .roc
            .windows(2)
            .map(|pair| 0.5 * (pair[1][0] - pair[0][0]) * (pair[0][1] + pair[1][1]))
            .sum();
        assert!(
            (trapezoids - class.auroc.unwrap()).abs() < 2e-3,
            "{trapezoids}"
        );
    }
    let classes = 1000;
    let uniform = vec![1.0 / classes as f32; 2 * classes];
    let many = Evaluation::from_probabilities(&uniform, &[1, 2], classes).unwrap();
    assert_eq!(many.ranking.classes[1].auroc, Some(0.5));
    let points: usize = many
        .ranking
        .classes
        .iter()
        .map(|class| class.roc.len())
        .sum();
    assert!(points <= 12 * classes, "{points}");
}

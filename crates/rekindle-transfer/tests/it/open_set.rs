//! Scores of unknown classes against scikit-learn's numbers, closed forms and naive loops; `tests/reference/open_set.json`
//! holds scikit-learn's answers.

use rekindle_transfer::features::{
    Features, Mahalanobis, NearestKnown, OpenSetSearch, UnknownDetector, UnknownScore, auroc,
    energy, false_positive_rate, max_probability,
};
use serde::Deserialize;
use test_support::reference_path;

#[derive(Deserialize)]
struct Numbers {
    areas: Areas,
    mahalanobis: Vec<Distances>,
}

#[derive(Deserialize)]
struct Areas {
    unknown: Vec<f64>,
    known: Vec<f64>,
    auroc: f64,
    false_positive_rate: f64,
}

#[derive(Deserialize)]
struct Distances {
    features: Vec<f32>,
    labels: Vec<usize>,
    dim: usize,
    queries: Vec<f32>,
    distances: Vec<f64>,
}

fn numbers() -> Numbers {
    let text = std::fs::read(reference_path("open_set.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn areas_and_rates_agree_with_scikit_learn() {
    let known = numbers().areas;
    let area = auroc(&known.unknown, &known.known).unwrap();
    assert!((area - known.auroc).abs() < 1e-12, "{area}");
    let rate = false_positive_rate(&known.unknown, &known.known, 0.95).unwrap();
    assert!((rate - known.false_positive_rate).abs() < 1e-12, "{rate}");
    // By the definition: pairs, one by one.
    let pairs = known.unknown.iter().flat_map(|unknown| {
        known
            .known
            .iter()
            .map(move |known| match unknown.total_cmp(known) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            })
    });
    let count = (known.unknown.len() * known.known.len()) as f64;
    assert!((pairs.sum::<f64>() / count - area).abs() < 1e-12);
    assert_eq!(auroc(&[], &[1.0]), None);
    assert_eq!(auroc(&[1.0], &[]), None);
    assert_eq!(false_positive_rate(&[], &[1.0], 0.95), None);
    assert_eq!(false_positive_rate(&[1.0], &[], 0.95), None);
}

#[test]
fn energy_and_probability_have_their_closed_forms() {
    for temperature in [0.25, 1.0, 3.0] {
        // Equal logits: -T ln(n exp(z / T)) = -z - T ln n.
        let found = energy(&[2.0; 5], temperature);
        assert!((found + 2.0 + temperature * 5f64.ln()).abs() < 1e-12);
        assert!((max_probability(&[2.0; 5], temperature) - 0.2).abs() < 1e-12);
        // Two logits: a logistic function of their difference.
        let expected = 1.0 / (1.0 + (-1.5 / temperature).exp());
        assert!((max_probability(&[0.5, 2.0], temperature) - expected).abs() < 1e-12);
        // A constant on all logits moves the energy by it, and no probability.
        let moved = energy(&[3.0, 4.5], temperature) - energy(&[0.0, 1.5], temperature);
        assert!((moved + 3.0).abs() < 1e-6);
    }
    // Neither overflows nor rounds the rest away.
    assert!((energy(&[1000.0, 999.0], 1.0) + 1000.0 + (1.0 + (-1f64).exp()).ln()).abs() < 1e-9);
    let detector = |logits: &[f32]| {
        let features = Features::new(vec![1.0, 2.0], 1).unwrap();
        UnknownDetector::fit(UnknownScore::MaxProbability, &features, &[0, 1], 2, 1.0)
            .unwrap()
            .score(logits, &[])
            .unwrap()
    };
    assert!((detector(&[50.0, 0.0]) - (-50f64).exp()).abs() < 1e-30);
}

#[test]
fn distances_agree_with_scikit_learn_and_numpy() {
    for known in numbers().mahalanobis {
        let features = Features::new(known.features, known.dim).unwrap();
        let found = Mahalanobis::fit(&features, &known.labels, 3).unwrap();
        for (query, expected) in known.queries.chunks(known.dim).zip(&known.distances) {
            let distance = found.distance(query).unwrap();
            assert!(
                (distance / expected - 1.0).abs() < 1e-4,
                "{distance}, expected {expected}"
            );
        }
        assert!(found.distance(&vec![0.0; known.dim + 1]).is_err());
    }
    let same = Features::new(vec![1.0, 2.0, 1.0, 2.0], 2).unwrap();
    let error = Mahalanobis::fit(&same, &[0, 0], 1).unwrap_err().to_string();
    assert!(error.contains("don't vary"), "{error}");
    let error = Mahalanobis::fit(&same, &[0, 0], 2).unwrap_err().to_string();
    assert!(error.contains("class 1 has no image"), "{error}");
    assert!(Mahalanobis::fit(&same, &[0, 2], 2).is_err());
    assert!(Mahalanobis::fit(&same, &[0], 1).is_err());
}

#[test]
fn the_nearest_are_those_of_a_loop() {
    let value = |at: usize| ((at * 37 + at * at * 11 + 5) as f32 * 0.731).sin();
    let features = Features::new((0..50 * 4).map(value).collect(), 4).unwrap();
    let labels: Vec<usize> = (0..50).map(|row| row % 3).collect();
    for neighbors in [1, 3, 50] {
        let nearest = NearestKnown::fit(&features, &labels, neighbors).unwrap();
        assert_eq!(nearest.len(), 50);
        for query in [[0.3f32, -2.0, 0.5, 0.1], [1.0, 1.0, 1.0, 1.0]] {
            let unit = |row: &[f32]| -> Vec<f64> {
                let length = row
                    .iter()
                    .map(|v| f64::from(*v).powi(2))
                    .sum::<f64>()
                    .sqrt();
                row.iter().map(|v| f64::from(*v) / length).collect()
            };
            let query_unit = unit(&query);
            let mut all: Vec<f64> = features
                .rows()
                .map(|row| {
                    let pairs = unit(row).into_iter().zip(&query_unit);
                    pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
                })
                .collect();
            all.sort_by(f64::total_cmp);
            let found = nearest.distance(&query).unwrap();
            assert!((found - all[neighbors - 1]).abs() < 1e-5, "{found}");
        }
    }
    assert_eq!(
        NearestKnown::fit(&features, &labels, 1)
            .unwrap()
            .distance(&[0.0; 4])
            .unwrap(),
        1.0
    );
    for wrong in [0, 51] {
        assert!(NearestKnown::fit(&features, &labels, wrong).is_err());
    }
    // Of many images an even share of each class is kept.
    // SplitMix64, without anything regular that rows could repeat.
    let hash = |at: usize| {
        let z = (at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 40
    };
    let values = (0..5000 * 8).map(|at| hash(at) as f32 / (1u64 << 23) as f32 - 1.0);
    let many = Features::new(values.collect(), 8).unwrap();
    let labels: Vec<usize> = (0..5000).map(|row| usize::from(row % 5 == 0)).collect();
    let nearest = NearestKnown::fit(&many, &labels, 1).unwrap();
    assert_eq!(nearest.len(), NearestKnown::MOST);
    let kept = |class: usize| {
        let rows = (0..5000).filter(|row| labels[*row] == class);
        rows.filter(|row| nearest.distance(many.row(*row)).unwrap() < 1e-3)
            .count()
    };
    assert_eq!((kept(0), kept(1)), (1600, 400));
}

/// Four classes along the axes, of which each has a spread of its own.
fn clusters(images: usize) -> (Features, Vec<usize>) {
    let noise = |at: usize| ((at * 37 + at * at * 11 + 5) as f32 * 0.731).sin();
    let labels: Vec<usize> = (0..images).map(|row| row % 4).collect();
    let values = labels.iter().enumerate().flat_map(|(row, label)| {
        (0..6).map(move |at| 0.3 * noise(row * 6 + at) + if at == *label { 2.0 } else { 0.0 })
    });
    (Features::new(values.collect(), 6).unwrap(), labels)
}

#[test]
fn thresholds_are_the_quantiles_of_their_definition() {
    let (features, labels) = clusters(40);
    let detector =
        UnknownDetector::fit(UnknownScore::NearestNeighbors, &features, &labels, 4, 1.0).unwrap();
    let detector = detector.with_held_out((1..=99).rev().map(f64::from));
    for (rejected, threshold) in [(0.1, 90.0), (0.05, 95.0), (0.01, 99.0), (0.5, 50.0)] {
        assert_eq!(
            detector.threshold(rejected).unwrap(),
            threshold,
            "{rejected}"
        );
    }
    let error = detector.threshold(0.005).unwrap_err().to_string();
    assert!(error.contains("at least 0.01"), "{error}");
    for wrong in [0.0, 1.0, -0.5, f64::NAN] {
        assert!(detector.threshold(wrong).is_err(), "{wrong}");
    }
    let many = detector.clone().with_held_out((0..30_000).map(f64::from));
    assert_eq!(many.held_out().len(), 10_000);
    let threshold = many.threshold(0.05).unwrap();
    assert!((threshold / 28_500.0 - 1.0).abs() < 1e-3, "{threshold}");
    // An image is not rejected for the rounding of its own score.
    let exact = 0.1f64 + 1e-12;
    let one = detector.with_held_out([exact; 20]);
    assert!(one.threshold(0.05).unwrap() >= exact);
}

#[test]
fn what_is_kept_is_what_is_read_and_anything_else_is_refused() {
    let (features, labels) = clusters(40);
    let query = [0.5f32, 0.4, 0.3, 0.2, 0.1, 0.0];
    for score in UnknownScore::ALL {
        let detector = UnknownDetector::fit(score, &features, &labels, 4, 1.5).unwrap();
        let detector = detector.with_held_out([0.5, 0.25]);
        let json = serde_json::to_string(&detector).unwrap();
        let read: UnknownDetector = serde_json::from_str(&json).unwrap();
        assert_eq!(read, detector);
        assert_eq!(read.score_name(), score);
        assert_eq!(
            read.score(&query[..4], &query).unwrap(),
            detector.score(&query[..4], &query).unwrap()
        );
        assert!(read.check(4, 6).is_ok());
        assert_eq!(read.check(4, 5).is_err(), score.needs_features());
        assert_eq!(
            read.check(5, 6).is_err(),
            score == UnknownScore::Mahalanobis
        );
        assert_eq!(read.score(&[], &query).is_err(), !score.needs_features());

        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let refused = |change: &dyn Fn(&mut serde_json::Value)| {
            let mut changed = value.clone();
            change(&mut changed);
            serde_json::from_value::<UnknownDetector>(changed).is_err()
        };
        assert!(refused(&|v| v["held_out"] = serde_json::json!([0.5, 0.25])));
        assert!(refused(&|v| v["temperature"] = 0.0.into()));
        assert!(refused(&|v| v["more"] = 1.into()));
        assert!(refused(&|v| v["score"] = "softmax".into()));
        if !score.needs_features() {
            assert!(refused(&|v| v["score"] = "mahalanobis".into()));
            continue;
        }
        let key = match score {
            UnknownScore::Mahalanobis => "mahalanobis",
            _ => "nearest_neighbors",
        };
        assert!(refused(&|v| v["score"] = "energy".into()));
        for dim in [0u64, 7, u64::MAX] {
            assert!(refused(&|v| v[key]["dim"] = dim.into()), "{score} {dim}");
        }
        let numbers = if key == "mahalanobis" {
            "whitening"
        } else {
            "rows"
        };
        // No base64, three bytes, a NaN, and none at all.
        for text in ["?", "AAAA", "AADAfw==", ""] {
            assert!(
                refused(&|v| v[key][numbers] = text.into()),
                "{score} {text}"
            );
        }
    }
}

#[test]
fn of_longer_features_the_first_are_looked_at() {
    let (features, labels) = clusters(60);
    let (dim, classes) = (features.dim(), labels.iter().max().unwrap() + 1);
    for score in [UnknownScore::Mahalanobis, UnknownScore::NearestNeighbors] {
        let detector = UnknownDetector::fit(score, &features, &labels, classes, 1.0).unwrap();
        detector.check(classes, dim + 3).unwrap();
        assert!(detector.check(classes, dim - 1).is_err());
        for row in features.rows() {
            let longer: Vec<f32> = row.iter().copied().chain([9.0, -9.0, 0.0]).collect();
            let [own, of_longer] = [row, &longer].map(|row| detector.score(&[], row).unwrap());
            assert_eq!(own, of_longer, "{score:?}");
        }
        assert!(detector.score(&[], &features.row(0)[1..]).is_err());
    }
}

/// Noise behind the features blurs distances; their scores are those of another search, and the others stay.
#[test]
fn scores_of_features_are_those_of_another_search() {
    let (features, labels) = clusters(90);
    let classes = labels.iter().max().unwrap() + 1;
    let search = OpenSetSearch::default();
    let whole = search.run(&features, &labels, classes).unwrap();
    let own = features.columns(0..2).unwrap();
    let own = search.run(&own, &labels, classes).unwrap();
    let of_two = OpenSetSearch {
        own: Some(2),
        ..search
    };
    let both = of_two.run(&features, &labels, classes).unwrap();
    assert_eq!(both.left_out, whole.left_out);
    for one in &both.compared {
        let from = if one.score.needs_features() {
            &own
        } else {
            &whole
        };
        assert!(from.compared.contains(one), "{one:?}");
    }
    let sorted = both.compared.is_sorted_by(|a, b| a.auroc >= b.auroc);
    assert!(sorted && both.compared.len() == whole.compared.len());
}

#[test]
fn the_search_finds_what_tells_a_class_that_was_left_out() {
    let (features, labels) = clusters(80);
    let found = OpenSetSearch::default().run(&features, &labels, 4).unwrap();
    assert_eq!((found.left_out, found.compared.len()), (4, 4));
    assert!(found.compared.is_sorted_by(|a, b| a.auroc >= b.auroc));
    assert_eq!(found.chosen(), found.compared[0].score);
    assert!(found.compared[0].auroc > 0.99, "{found:?}");
    assert_eq!(
        found,
        OpenSetSearch::default().run(&features, &labels, 4).unwrap()
    );

    // Classes that are drawn at random can't be told.
    let shuffled: Vec<usize> = (0..80).map(|row| row * row / 7 % 4).collect();
    let found = OpenSetSearch::default()
        .run(&features, &shuffled, 4)
        .unwrap();
    assert!(found.compared[0].auroc < 0.7, "{found:?}");

    // With two classes, one is left, and a probe has nothing to tell apart.
    let two: Vec<usize> = (0..80).filter(|row| labels[*row] < 2).collect();
    let of_two: Vec<usize> = two.iter().map(|row| labels[*row]).collect();
    let found = OpenSetSearch::default()
        .run(&features.select(&two), &of_two, 2)
        .unwrap();
    assert!(
        found
            .compared
            .iter()
            .all(|scored| scored.score.needs_features())
    );
    assert_eq!(found.left_out, 2);

    // A class of one image takes no part; a single other class is not enough.
    let mut labels = vec![0; 80];
    labels[3] = 1;
    let error = OpenSetSearch::default()
        .run(&features, &labels, 2)
        .unwrap_err()
        .to_string();
    assert!(error.contains("1 of 2 classes"), "{error}");
    assert!(OpenSetSearch::default().run(&features, &labels, 1).is_err());
    assert!(
        OpenSetSearch::default()
            .run(&features, &labels[1..], 2)
            .is_err()
    );
}

#[test]
fn a_search_among_many_looks_at_a_bounded_part() {
    let (features, labels) = clusters(400);
    let search = OpenSetSearch {
        images: 40,
        left_out: 2,
        ..OpenSetSearch::default()
    };
    let found = search.run(&features, &labels, 4).unwrap();
    assert_eq!(found.left_out, 2);
    assert!(found.compared[0].auroc > 0.99, "{found:?}");
    let three = OpenSetSearch {
        classes: 3,
        ..search
    };
    assert!(three.run(&features, &labels, 4).unwrap().compared[0].auroc > 0.99);
}

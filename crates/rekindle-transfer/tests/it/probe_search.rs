//! The choice among probes, against a naive computation fold by fold.

use rekindle_transfer::features::{
    Features, FoundProbe, LinearHead, LogisticRegression, ProbeKind, ProbeSearch, stratified_folds,
    stratified_order,
};

const CLASSES: usize = 3;
const DIM: usize = 6;

/// Three clouds that overlap, each row of length 1 where `is_unit`, else of very different lengths.
fn clouds(is_unit: bool) -> (Features, Vec<usize>) {
    let labels: Vec<usize> = (0..60).map(|i| i % CLASSES).collect();
    let mut values = Vec::new();
    for (i, label) in labels.iter().enumerate() {
        for j in 0..DIM {
            let noise = ((i * 37 + j * 101 + 13) as f32 * 0.731).sin();
            values.push(noise + if j == *label { 1.2 } else { 0.0 });
        }
    }
    let features = Features::new(values, DIM).unwrap().l2_normalized();
    if is_unit {
        return (features, labels);
    }
    let length = |i: usize| 1.0 + 0.5 * (i as f32 * 0.9).sin();
    let rows = features.rows().enumerate();
    let values = rows.flat_map(|(i, row)| row.iter().map(move |value| value * length(i)));
    (Features::new(values.collect(), DIM).unwrap(), labels)
}

/// Logits of each row by a head that was fitted without its fold.
fn naive(features: &Features, labels: &[usize], l2: f64) -> Vec<f64> {
    let mut logits = vec![0.0; labels.len() * CLASSES];
    for part in stratified_folds(labels, CLASSES, 4, 0) {
        let rest: Vec<usize> = (0..labels.len())
            .filter(|row| !part.contains(row))
            .collect();
        let of_rest: Vec<usize> = rest.iter().map(|row| labels[*row]).collect();
        let head = LogisticRegression::new(l2)
            .fit(&features.select(&rest), &of_rest, CLASSES)
            .unwrap();
        let found = head.logits(&features.select(&part)).unwrap();
        for (row, found) in part.iter().zip(found.chunks_exact(CLASSES)) {
            logits[row * CLASSES..(row + 1) * CLASSES].copy_from_slice(found);
        }
    }
    logits
}

/// Returns whether each image is classified correctly, and its log loss at the best of many temperatures.
fn scored(logits: &[f64], labels: &[usize]) -> (Vec<bool>, Vec<f64>) {
    let losses_at = |temperature: f64| -> Vec<f64> {
        let rows = logits.chunks_exact(CLASSES).zip(labels);
        rows.map(|(row, label)| {
            let sum: f64 = row.iter().map(|z| (z / temperature).exp()).sum();
            sum.ln() - row[*label] / temperature
        })
        .collect()
    };
    let sum = |losses: &[f64]| losses.iter().sum::<f64>();
    let temperatures = (-250..250).map(|step| (f64::from(step) / 100.0).exp());
    let losses = temperatures.map(losses_at);
    let losses = losses.min_by(|a, b| sum(a).total_cmp(&sum(b))).unwrap();
    let named = rekindle_transfer::features::argmax_rows(logits, CLASSES);
    let right = named.iter().zip(labels).map(|(a, b)| a == b);
    (right.collect(), losses)
}

fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let values: Vec<f64> = values.into_iter().collect();
    values.iter().sum::<f64>() / values.len() as f64
}

fn search(kinds: &[ProbeKind], penalties: &[f64]) -> ProbeSearch {
    ProbeSearch {
        kinds: kinds.to_vec(),
        penalties: penalties.to_vec(),
        folds: 4,
        ..ProbeSearch::default()
    }
}

#[test]
fn the_winner_is_that_of_a_naive_computation() {
    // Rows of one length have one mean length in every part, so that a penalty means the same in all.
    let (features, labels) = clouds(true);
    let penalties = [1e-4, 1e-2, 1e-1];
    let of = |l2: &f64| scored(&naive(&features, &labels, *l2), &labels);
    let all: Vec<(Vec<bool>, Vec<f64>)> = penalties.iter().map(of).collect();
    let loss = |at: usize| mean(all[at].1.iter().copied());
    let accuracy = |at: usize| mean(all[at].0.iter().map(|right| f64::from(u8::from(*right))));
    let lowest = (0..3).min_by(|a, b| loss(*a).total_cmp(&loss(*b))).unwrap();
    // Within one standard error of the lowest loss, image by image, the most accurate.
    let is_close = |at: &usize| {
        let pairs = all[*at].1.iter().zip(&all[lowest].1);
        let differences: Vec<f64> = pairs.map(|(a, b)| a - b).collect();
        let centre = mean(differences.iter().copied());
        let variance = differences
            .iter()
            .map(|d| (d - centre).powi(2))
            .sum::<f64>()
            / 59.0;
        centre <= (variance / 60.0).sqrt()
    };
    let best = (0..3)
        .filter(is_close)
        .max_by(|a, b| (accuracy(*a).total_cmp(&accuracy(*b))).then(a.cmp(b)))
        .unwrap();
    let found = search(&[ProbeKind::Scaled], &penalties)
        .fit(&features, &labels, CLASSES, None, None)
        .unwrap();
    let chosen = found.chosen();
    assert_eq!(chosen.penalty, penalties[best]);
    assert!((chosen.log_loss - loss(best)).abs() < 5e-3, "{chosen:?}");
    assert!(
        (chosen.accuracy - accuracy(best)).abs() < 0.02,
        "{chosen:?}"
    );
    let losses: f64 = found.losses.iter().sum();
    assert!((losses / labels.len() as f64 - chosen.log_loss).abs() < 1e-12);
}

#[test]
fn a_head_for_features_of_one_length_orders_classes_the_same_for_features_as_they_are() {
    let (features, labels) = clouds(false);
    let found = search(&[ProbeKind::Normalized], &[1e-3])
        .fit(&features, &labels, CLASSES, None, None)
        .unwrap();
    assert!(found.head.bias.iter().all(|bias| *bias == 0.0));
    assert_eq!(
        found.head.predict(&features).unwrap(),
        found.head.predict(&features.l2_normalized()).unwrap()
    );
}

#[test]
fn a_head_for_standardised_features_is_one_for_features_as_they_are() {
    // A feature that is a thousand times larger than the others, and says nothing.
    let (features, labels) = clouds(true);
    let rows = features.rows().enumerate();
    let values = rows.flat_map(|(i, row)| {
        let noise = 1000.0 + 300.0 * (i as f32 * 1.7).sin();
        row.iter().copied().chain([noise])
    });
    let features = Features::new(values.collect(), DIM + 1).unwrap();
    let kinds = [ProbeKind::Normalized, ProbeKind::Standardized];
    let found = search(&kinds, &[1e-4, 1e-3, 1e-2, 1e-1])
        .fit(&features, &labels, CLASSES, None, None)
        .unwrap();
    assert_eq!(found.chosen().kind, ProbeKind::Standardized);
    let right = found.head.predict(&features).unwrap();
    let right = rekindle_transfer::features::accuracy(&right, &labels);
    assert!(right >= found.chosen().accuracy - 0.05, "{right}");
}

#[test]
fn mirrored_rows_are_taken_only_where_they_help() {
    let (features, labels) = clouds(true);
    // A mirror image that speaks of another class.
    let wrong: Vec<usize> = (0..60).map(|i| (i + 1) % 60).collect();
    let wrong = features.select(&wrong);
    let found = search(&[ProbeKind::Normalized], &[1e-3, 1e-2])
        .fit(&features, &labels, CLASSES, None, Some(&wrong))
        .unwrap();
    assert!(!found.chosen().mirrored && found.candidates.len() == 2);
}

#[test]
fn without_a_comparison_the_source_is_trusted_and_without_a_choice_that_is_an_error() {
    let features = Features::new(vec![1.0, 0.0, 0.1, 1.0], 2).unwrap();
    let source = LinearHead {
        weight: vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0],
        bias: vec![0.0; 3],
    };
    let found = ProbeSearch::default()
        .fit(&features, &[0, 1], 2, Some(&source), None)
        .unwrap();
    assert_eq!(found.chosen().kind, ProbeKind::Prior);
    assert!(found.losses.is_empty() && found.chosen().accuracy.is_nan());
    assert_eq!(found.head.predict(&features).unwrap(), [0, 1]);
    for (kinds, penalties) in [(&[][..], &[1.0][..]), (&[ProbeKind::Scaled], &[])] {
        let none = search(kinds, penalties);
        assert!(none.fit(&features, &[0, 1], 2, None, None).is_err());
    }
}

#[test]
fn a_probe_is_fitted_to_some_images_as_it_was_to_all() {
    let (features, labels) = clouds(false);
    let search = search(&[ProbeKind::Scaled], &[1e-2]);
    let found = search.fit(&features, &labels, CLASSES, None, None).unwrap();
    let again = search.fit_as(&found, &features, &labels, CLASSES, None, None);
    assert_eq!(again.unwrap(), found.head);
}

/// The mean of two heads is the head of a probe with a partner.
#[test]
fn heads_that_nothing_tells_apart_are_averaged() {
    let (features, labels) = clouds(true);
    let source = LinearHead {
        weight: (0..4 * DIM).map(|i| (i as f32 * 1.7).sin()).collect(),
        bias: vec![0.0; 4],
    };
    let of = |kinds: &[ProbeKind]| {
        let found = search(kinds, &[1e-2]).fit(&features, &labels, CLASSES, Some(&source), None);
        found.unwrap()
    };
    let [plain, prior] = [ProbeKind::Scaled, ProbeKind::Prior].map(|kind| of(&[kind]));
    let both = FoundProbe {
        choice: 0,
        partners: vec![1],
        ..of(&[ProbeKind::Scaled, ProbeKind::Prior])
    };
    let search = search(&[ProbeKind::Scaled, ProbeKind::Prior], &[1e-2]);
    let head = search
        .fit_as(&both, &features, &labels, CLASSES, Some(&source), None)
        .unwrap();
    let pairs = plain.head.weight.iter().zip(&prior.head.weight);
    for (found, (a, b)) in head.weight.iter().zip(pairs) {
        assert!((found - 0.5 * (a + b)).abs() < 1e-4);
    }
    // Never worse than the mean of the two, whatever the image: log loss is convex.
    let loss = |head: &LinearHead| -> Vec<f64> {
        let logits = head.logits(&features).unwrap();
        let rows = logits.chunks_exact(CLASSES).zip(&labels);
        rows.map(|(row, label)| row.iter().map(|z| z.exp()).sum::<f64>().ln() - row[*label])
            .collect()
    };
    let losses = loss(&plain.head).into_iter().zip(loss(&prior.head));
    for (found, (a, b)) in loss(&head).into_iter().zip(losses) {
        assert!(found <= 0.5 * (a + b) + 1e-9);
    }
}

/// The labels are in the second part; the first is noise.
#[test]
fn what_only_another_part_tells_is_found() {
    let (told, labels) = clouds(true);
    let noise: Vec<f32> = (0..labels.len() * DIM)
        .map(|i| 100.0 * (i as f32 * 2.3).sin())
        .collect();
    let noise = Features::new(noise, DIM).unwrap();
    let features = noise.beside(&told).unwrap();
    let of = |parts: &[usize], features: &Features| {
        let search = ProbeSearch {
            parts: parts.to_vec(),
            ..search(&[ProbeKind::Normalized, ProbeKind::Multilevel], &[1e-3])
        };
        search.fit(features, &labels, CLASSES, None, None).unwrap()
    };
    let found = of(&[DIM, DIM], &features);
    assert_eq!(found.chosen().kind, ProbeKind::Multilevel);
    assert!(found.is_multilevel());
    assert!(found.chosen().accuracy > found.candidates[0].accuracy + 0.2);
    // Parts count alike, whatever their scale: by hand, each over its mean length.
    let length = |features: &Features| features.mean_norm() as f32;
    let (a, b) = (length(&noise), length(&told));
    let rows = noise.rows().zip(told.rows());
    let by_hand = rows.flat_map(|(x, y)| {
        let x = x.iter().map(move |value| value / a);
        x.chain(y.iter().map(move |value| value / b))
    });
    let by_hand = Features::new(by_hand.collect(), 2 * DIM).unwrap();
    let expected = search(&[ProbeKind::Normalized], &[1e-3])
        .fit(&by_hand, &labels, CLASSES, None, None)
        .unwrap();
    assert_eq!(
        found.head.predict(&features).unwrap(),
        expected.head.predict(&by_hand).unwrap()
    );
    assert!((found.chosen().log_loss - expected.chosen().log_loss).abs() < 1e-6);
    // The other way round the first part is enough, and no weight is left for the second.
    let features = told.beside(&noise).unwrap();
    let found = of(&[DIM, DIM], &features);
    assert_eq!(found.chosen().kind, ProbeKind::Normalized);
    if !found.is_multilevel() {
        let rows = found.head.weight.chunks_exact(2 * DIM);
        assert!(
            rows.flat_map(|row| &row[DIM..])
                .all(|weight| *weight == 0.0)
        );
        let own = found.head.columns(0..DIM).unwrap();
        let (found, expected) = (found.head.logits(&features), own.logits(&told));
        for (found, expected) in found.unwrap().iter().zip(expected.unwrap()) {
            assert!((found - expected).abs() < 1e-6);
        }
    }
    let wrong = ProbeSearch {
        parts: vec![DIM, 1],
        ..ProbeSearch::default()
    };
    let error = wrong.fit(&features, &labels, CLASSES, None, None);
    assert!(error.unwrap_err().to_string().contains("parts"), "names it");
}

#[test]
fn a_search_that_has_to_end_keeps_the_first_probe() {
    let (features, labels) = clouds(true);
    let search = ProbeSearch::default();
    let found = search.fit_while(
        &|| false,
        &features,
        &labels,
        CLASSES,
        None,
        Some(&features),
    );
    let found = found.unwrap();
    assert_eq!(found.candidates.len(), 1);
    assert_eq!(found.chosen().kind, ProbeKind::Normalized);
}

#[test]
fn any_beginning_has_the_classes_in_their_shares() {
    let labels: Vec<usize> = (0..1000)
        .map(|row| match row % 100 {
            0 => 2,
            1..=19 => 1,
            _ => 0,
        })
        .collect();
    let order = stratified_order(&labels, 3);
    let mut sorted = order.clone();
    sorted.sort_unstable();
    assert!(sorted.into_iter().eq(0..1000));
    let count = |end: usize, class: usize| {
        let begun = order[..end].iter();
        begun.filter(|row| labels[**row] == class).count()
    };
    assert!((0..3).all(|class| count(6, class) == 2));
    for end in [100, 300, 700] {
        for (class, share) in [(0, 0.8), (1, 0.19), (2, 0.01)] {
            let expected = share * end as f64;
            let found = count(end, class) as f64;
            assert!((found - expected).abs() <= 3.0, "{end} {class} {found}");
        }
    }
    assert_eq!(order, stratified_order(&labels, 3));
    assert_ne!(order, stratified_order(&labels, 4));
}

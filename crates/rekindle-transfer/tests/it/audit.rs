//! Wrong labels, as cleanlab finds them and where they were put; `tests/reference/audit.json` holds cleanlab's answers.

use rekindle_transfer::features::{
    ConfidentLearning, Features, HeldOutRidge, LabelErrors, PruneBy, nearest_neighbors,
};
use serde::Deserialize;
use test_support::reference_path;

#[derive(Deserialize)]
struct Numbers {
    label_issues: LabelIssues,
}

#[derive(Deserialize)]
struct LabelIssues {
    probabilities: Vec<f64>,
    labels: Vec<usize>,
    classes: usize,
    confident_joint: Vec<usize>,
    confidence: Vec<usize>,
    noise_rate: Vec<usize>,
    quality: Vec<f64>,
}

#[test]
fn confident_learning_agrees_with_cleanlab() {
    let text = std::fs::read(reference_path("audit.json")).unwrap();
    let known = serde_json::from_slice::<Numbers>(&text)
        .unwrap()
        .label_issues;
    let (p, labels, classes) = (&known.probabilities, &known.labels, known.classes);
    let joint = ConfidentLearning::confident_joint(p, labels, classes).unwrap();
    assert_eq!(joint, known.confident_joint);
    for (prune_by, wanted) in [
        (PruneBy::Confidence, &known.confidence),
        (PruneBy::NoiseRate, &known.noise_rate),
    ] {
        let issues = ConfidentLearning { prune_by }
            .find(p, labels, classes)
            .unwrap();
        let found: Vec<usize> = issues.iter().map(|issue| issue.index).collect();
        assert_eq!(&found, wanted, "{prune_by:?}");
        for issue in issues {
            assert!((issue.quality - known.quality[issue.index]).abs() < 1e-5);
            assert_eq!(issue.given, labels[issue.index]);
            assert_ne!(issue.suggested, issue.given);
        }
    }
}

/// Five clouds in 24 dimensions, and labels of which each of `wrong` is another.
fn clouds(images: usize, wrong: &[usize]) -> (Features, Vec<usize>) {
    let noise = |i: usize, j: usize| ((i * 131 + j * 71 + i * j * 17) as f32 * 0.618).sin();
    let value = |i: usize, j: usize| if j % 5 == i % 5 { 2.0 } else { 0.0 } + noise(i, j);
    let values = (0..images)
        .flat_map(|i| (0..24).map(move |j| value(i, j)))
        .collect();
    let labels = (0..images).map(|i| {
        if wrong.contains(&i) {
            (i + 2) % 5
        } else {
            i % 5
        }
    });
    (Features::new(values, 24).unwrap(), labels.collect())
}

#[test]
fn exchanged_labels_are_found_and_named() {
    let wrong: Vec<usize> = (0..300).filter(|i| i % 23 == 7).collect();
    let (features, labels) = clouds(300, &wrong);
    let found = LabelErrors::default()
        .find(&features, &labels, 5, &[])
        .unwrap();
    let hits: Vec<_> = found
        .issues
        .iter()
        .filter(|issue| wrong.contains(&issue.index))
        .collect();
    assert!(
        hits.len() * 4 >= wrong.len() * 3,
        "{} of {}",
        hits.len(),
        wrong.len()
    );
    assert!(
        found.issues.len() <= wrong.len() + 3,
        "{}",
        found.issues.len()
    );
    assert!(hits.iter().all(|issue| issue.suggested == issue.index % 5));
}

#[test]
fn copies_of_a_wrong_label_do_not_vouch_for_each_other() {
    let (features, mut labels) = clouds(100, &[10]);
    let mut rows: Vec<usize> = (0..100).collect();
    rows.extend([10; 6]);
    labels.extend([labels[10]; 6]);
    let copies: Vec<usize> = (0..rows.len()).filter(|at| rows[*at] == 10).collect();
    let features = features.select(&rows);
    let of = |groups: &[Vec<usize>]| {
        let answers = HeldOutRidge::default()
            .answers(&features, &labels, 5, groups)
            .unwrap();
        answers.probabilities()[10 * 5 + labels[10]]
    };
    let (alone, together) = (of(&[]), of(&[copies]));
    assert!(
        together < 0.1 && alone > 3.0 * together,
        "{alone} {together}"
    );
}

/// 10,000 images of 1,280 numbers: seconds, in a release build.
#[test]
#[ignore = "measures time; run it in a release build"]
fn ten_thousand_images_take_seconds() {
    let noise = |at: usize| ((at.wrapping_mul(2_654_435_761) >> 7) % 1000) as f32 / 1000.0;
    let mut values: Vec<f32> = (0..10_000 * 1280).map(noise).collect();
    let labels: Vec<usize> = (0..10_000).map(|i| i % 20).collect();
    for (i, label) in labels.iter().enumerate() {
        (0..40).for_each(|j| values[i * 1280 + label * 60 + j] += 0.3);
    }
    let features = Features::new(values, 1280).unwrap();
    let begun = std::time::Instant::now();
    let found = LabelErrors::default()
        .find(&features, &labels, 20, &[])
        .unwrap();
    let judged = begun.elapsed();
    let nearest = nearest_neighbors(&features, &features, 11).unwrap();
    println!(
        "labels {judged:?}, neighbours {:?}",
        begun.elapsed() - judged
    );
    assert_eq!(nearest.len(), 10_000);
    assert!(found.issues.len() < 500);
}

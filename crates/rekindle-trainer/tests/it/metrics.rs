//! Metrics against scikit-learn 1.9.1 and closed forms.

use rekindle_trainer::{
    Calibration, ConfusionMatrix, Evaluation, Temperature, TrainerError, top_k_accuracy,
};

const LABELS: [usize; 40] = [
    2, 1, 1, 2, 2, 1, 0, 2, 0, 0, 0, 0, 2, 1, 0, 0, 1, 1, 0, 2, 2, 1, 2, 1, 0, 0, 0, 2, 0, 1, 0, 2,
    0, 1, 2, 1, 2, 2, 2, 2,
];

/// Softmax of normal noise with 1.2 added to the true class, rounded to four digits (numpy,
/// `default_rng(7)`).
#[rustfmt::skip]
const PROBABILITIES: [f32; 120] = [
    0.2054, 0.2766, 0.5179, 0.1421, 0.7295, 0.1284, 0.074, 0.8834, 0.0426, 0.0778, 0.2361, 0.6862,
    0.2349, 0.0834, 0.6817, 0.5722, 0.2471, 0.1807, 0.5334, 0.2962, 0.1705, 0.1457, 0.0519, 0.8025,
    0.8101, 0.173, 0.0168, 0.4831, 0.2376, 0.2793, 0.4192, 0.3616, 0.2192, 0.3072, 0.6002, 0.0926,
    0.1847, 0.462, 0.3534, 0.1578, 0.6542, 0.188, 0.164, 0.1815, 0.6545, 0.1685, 0.563, 0.2686,
    0.0193, 0.9019, 0.0788, 0.0533, 0.6321, 0.3146, 0.4853, 0.3495, 0.1652, 0.2482, 0.5367, 0.2151,
    0.2178, 0.1119, 0.6703, 0.1021, 0.6227, 0.2751, 0.3789, 0.4848, 0.1363, 0.0652, 0.9151, 0.0197,
    0.3209, 0.1393, 0.5398, 0.824, 0.0898, 0.0862, 0.3304, 0.5863, 0.0833, 0.1446, 0.2788, 0.5766,
    0.6743, 0.0812, 0.2445, 0.0485, 0.8061, 0.1454, 0.5489, 0.3305, 0.1206, 0.292, 0.1014, 0.6066,
    0.3635, 0.563, 0.0736, 0.0438, 0.8201, 0.1362, 0.0977, 0.7825, 0.1198, 0.0857, 0.6523, 0.2619,
    0.1003, 0.0974, 0.8022, 0.3295, 0.0697, 0.6009, 0.1821, 0.0612, 0.7567, 0.0598, 0.3727, 0.5676,
];

#[test]
fn agrees_with_scikit_learn() {
    let found = Evaluation::from_probabilities(&PROBABILITIES, &LABELS, 3).unwrap();
    // confusion_matrix, accuracy_score, balanced_accuracy_score
    let confusion: Vec<u64> = (0..9)
        .map(|i| found.confusion.count(i / 3, i % 3))
        .collect();
    assert_eq!(confusion, [8, 4, 2, 1, 10, 0, 0, 4, 11]);
    close(found.accuracy, 0.725);
    close(found.balanced_accuracy, 0.7379509379509379);
    // precision_recall_fscore_support
    let expected = [
        (0.88888889, 0.57142857, 0.69565217, 14),
        (0.55555556, 0.90909091, 0.68965517, 11),
        (0.84615385, 0.73333333, 0.78571429, 15),
    ];
    for (found, (precision, recall, f1, support)) in found.classes.iter().zip(expected) {
        close(found.precision, precision);
        close(found.recall, recall);
        close(found.f1, f1);
        assert_eq!(found.support, support);
    }
    close(found.macro_f1, 0.7236738773470407);
    // -numpy.log(p[arange(N), y]).mean(); log_loss gives the same on rows divided by their sums
    close(found.cross_entropy, 0.6988365583272186);
    // ((p - numpy.eye(3)[y]) ** 2).sum(1).mean()
    close(found.brier, 0.4013296487938482);
    close(top_k_accuracy(&PROBABILITIES, &LABELS, 3, 2).unwrap(), 0.9);
}

#[test]
fn calibration_agrees_with_numpy() {
    // c = p.max(1); ok = p.argmax(1) == y; b = numpy.ceil(c * 10) - 1
    // (count, c[b == i].mean(), ok[b == i].mean()) for the bins that aren't empty
    let expected = [
        (5, 0.46688000559806825, 0.6),
        (11, 0.5550363714044745, 0.45454545454545453),
        (12, 0.6446666667858759, 0.8333333333333334),
        (3, 0.7562333345413208, 0.6666666666666666),
        (7, 0.8212000131607056, 1.0),
        (2, 0.9084999859333038, 1.0),
    ];
    let found = Calibration::from_probabilities(&PROBABILITIES, &LABELS, 3, 10).unwrap();
    assert!(found.bins[..4].iter().all(|bin| bin.samples == 0));
    for (bin, (samples, confidence, accuracy)) in found.bins[4..].iter().zip(expected) {
        assert_eq!(bin.samples, samples);
        close(bin.confidence, confidence);
        close(bin.accuracy, accuracy);
    }
    close(found.ece, 0.14345749989151957);
    close(found.mce, 0.8333333333333334 - 0.6446666667858759);
}

#[test]
fn a_classifier_that_is_always_sure_has_the_error_of_its_mistakes() {
    let labels = [0, 1, 1, 1];
    let sure = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    let found = Evaluation::from_probabilities(&sure, &labels, 2).unwrap();
    close(found.accuracy, 0.75);
    close(found.calibration.ece, 0.25);
    close(found.calibration.overconfidence, 0.25);
    close(found.brier, 0.5);
    assert!(found.cross_entropy.is_finite());
}

#[test]
fn a_class_that_is_absent_scores_zero_and_does_not_spoil_balanced_accuracy() {
    let matrix = ConfusionMatrix::from_labels(&[0, 0, 1], &[0, 0, 1], 3).unwrap();
    let absent = matrix.class_scores()[2];
    assert_eq!(
        (absent.precision, absent.recall, absent.f1),
        (0.0, 0.0, 0.0)
    );
    close(matrix.balanced_accuracy(), 1.0);
}

#[test]
fn worst_confusions_come_most_frequent_first() {
    let found = Evaluation::from_probabilities(&PROBABILITIES, &LABELS, 3).unwrap();
    assert_eq!(
        found.confusion.worst_confusions(3),
        [(0, 1, 4), (2, 1, 4), (0, 2, 2)]
    );
}

#[test]
fn nonsense_is_refused_with_a_reason() {
    let cases: [(&[f32], &[usize], usize, &str); 6] = [
        (&[], &[], 2, "0 samples"),
        (&[0.5; 3], &[0, 1], 2, "3 scores for 2 labels"),
        (&[0.5; 4], &[0, 2], 2, "class 2 at sample 1"),
        (&[0.5, 0.5, 3.0, -2.0], &[0, 1], 2, "row 1"),
        (&[0.5, 0.5, f32::NAN, 0.5], &[0, 1], 2, "row 1"),
        (&[0.9, 0.9], &[0], 2, "sums to 1.8"),
    ];
    for (probabilities, labels, classes, reason) in cases {
        let error = Evaluation::from_probabilities(probabilities, labels, classes).unwrap_err();
        assert!(matches!(error, TrainerError::InvalidPredictions { .. }));
        assert!(error.to_string().contains(reason), "{error}");
    }
}

/// The samples of `reference/temperature.py`, whose numbers these are.
#[test]
fn the_temperature_agrees_with_scikit_learn() {
    let expected = [
        (2, 1.8, 2.2510377, 0.451818277, 0.333970316),
        (2, 0.6, 0.7334811, 0.102596053, 0.148904413),
        (4, 2.5, 2.5435697, 1.184101750, 0.849838180),
    ];
    for (classes, truth, value, before, after) in expected {
        let (mut said, mut labels) = (Vec::new(), Vec::new());
        for i in 0..200 {
            let logits: Vec<f64> = (0..classes)
                .map(|c| 5.0 * (0.7 * f64::from(i) + 1.9 * c as f64).sin())
                .collect();
            let place = (0.618_033_988_749_894_9 * f64::from(i)) % 1.0;
            let mut sum = 0.0;
            let below = softmax(&logits, truth).into_iter().filter(|p| {
                sum += p;
                place >= sum
            });
            labels.push(below.count().min(classes - 1));
            said.extend(softmax(&logits, 1.0).iter().map(|p| *p as f32));
        }
        let found = Temperature::fit(&said, &labels, classes).unwrap();
        assert!(
            (found.value / value - 1.0).abs() < 1e-4,
            "{} {value}",
            found.value
        );
        assert!((found.cross_entropy_before - before).abs() < 1e-5);
        assert!(
            (found.cross_entropy_after - after).abs() < 1e-4,
            "{found:?}"
        );
        // One that makes held-out answers worse is not kept.
        let kept = if after < before { found.value } else { 1.0 };
        assert_eq!(found.to_keep(), kept);
    }
    // Where every answer is right, any confidence would fit.
    let right = Temperature::fit(&[0.9, 0.1, 0.2, 0.8].repeat(5), &[0, 1].repeat(5), 2).unwrap();
    assert!(right.cross_entropy_after < right.cross_entropy_before);
    assert_eq!(right.to_keep(), 1.0);
}

fn softmax(logits: &[f64], temperature: f64) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|z| (z / temperature).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

fn close(found: f64, expected: f64) {
    assert!((found - expected).abs() < 1e-7, "{found}, {expected}");
}

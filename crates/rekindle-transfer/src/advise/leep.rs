//! Scores from the source classifier's own guesses.

use crate::TransferError;
use crate::features::argmax_rows;

/// Computes the log expected empirical prediction (Nguyen et al. 2020, "LEEP: A New Measure to Evaluate
/// Transferability of Learned Representations"): with the source's probabilities `p_iz` `[n, source_classes]` and the
/// empirical `P(y | z) = sum_i p_iz [y_i = y] / sum_i p_iz`, the mean of `log sum_z P(y_i | z) p_iz`. At most 0;
/// larger is better, and comparable between sources for one target only.
///
/// It hurts with many source classes and few images: `P(y | z)` then remembers single images.
///
/// # Errors
///
/// [`TransferError::WrongLength`] where `probabilities` are no rows, one a label, and
/// [`TransferError::Degenerate`] without an image, or for a row that is negative, not finite or all 0.
pub fn leep(
    probabilities: &[f64],
    source_classes: usize,
    labels: &[usize],
) -> Result<f64, TransferError> {
    check("LEEP", probabilities, source_classes, labels)?;
    let classes = labels.iter().max().map_or(0, |max| max + 1);
    let mut joint = vec![0.0; classes * source_classes];
    let mut marginal = vec![0.0; source_classes];
    for (row, label) in probabilities.chunks_exact(source_classes).zip(labels) {
        let of_label = &mut joint[label * source_classes..(label + 1) * source_classes];
        for ((joint, marginal), p) in of_label.iter_mut().zip(&mut marginal).zip(row) {
            *joint += p;
            *marginal += p;
        }
    }
    let log_of = |(row, label): (&[f64], &usize)| {
        let of_label = &joint[label * source_classes..(label + 1) * source_classes];
        let terms = row.iter().zip(of_label).zip(&marginal);
        let share = |((p, joint), marginal): ((&f64, &f64), &f64)| match *marginal > 0.0 {
            true => p * joint / marginal,
            false => 0.0,
        };
        terms.map(share).sum::<f64>().ln()
    };
    let rows = probabilities.chunks_exact(source_classes).zip(labels);
    Ok(rows.map(log_of).sum::<f64>() / labels.len() as f64)
}

/// Computes the negative conditional entropy (Tran et al. 2019, "Transferability and Hardness of Supervised
/// Classification Tasks"): `-H(Y | Z)` in nats, with `Z` the source class of the largest probability. At most 0; 0
/// where the source class decides the label. Each image in a source class of its own gives 0 as well.
///
/// # Errors
///
/// As [`leep`].
pub fn nce(
    probabilities: &[f64],
    source_classes: usize,
    labels: &[usize],
) -> Result<f64, TransferError> {
    check("NCE", probabilities, source_classes, labels)?;
    let classes = labels.iter().max().map_or(0, |max| max + 1);
    let guesses = argmax_rows(probabilities, source_classes);
    let mut joint = vec![0.0; classes * source_classes];
    let mut marginal = vec![0.0; source_classes];
    for (guess, label) in guesses.iter().zip(labels) {
        joint[label * source_classes + guess] += 1.0;
        marginal[*guess] += 1.0;
    }
    let cells = joint.iter().enumerate().filter(|(_, count)| **count > 0.0);
    let term = |(at, count): (usize, &f64)| count * (count / marginal[at % source_classes]).ln();
    Ok(cells.map(term).sum::<f64>() / labels.len() as f64)
}

fn check(
    method: &'static str,
    probabilities: &[f64],
    source_classes: usize,
    labels: &[usize],
) -> Result<(), TransferError> {
    if probabilities.len() != source_classes * labels.len() {
        return Err(TransferError::WrongLength {
            what: "source probabilities",
            found: probabilities.len(),
            expected: source_classes * labels.len(),
        });
    }
    let degenerate = |reason: String| Err(TransferError::Degenerate { method, reason });
    if labels.is_empty() || source_classes == 0 {
        return degenerate("no image or no source class".into());
    }
    let is_wrong = |row: &[f64]| {
        row.iter().any(|p| !(p.is_finite() && *p >= 0.0)) || row.iter().all(|p| *p == 0.0)
    };
    match probabilities
        .chunks_exact(source_classes)
        .position(is_wrong)
    {
        Some(row) => degenerate(format!(
            "row {row} holds no probabilities: negative, not finite, or all 0"
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn by_hand() {
        let p = [0.9, 0.1, 0.6, 0.4, 0.2, 0.8];
        let labels = [0, 0, 1];
        // P(y=0 | z) = 1.5 / 1.7, 0.5 / 1.3.
        let (a, b): (f64, f64) = (1.5 / 1.7, 0.5 / 1.3);
        let expected = (0.9 * a + 0.1 * b).ln()
            + (0.6 * a + 0.4 * b).ln()
            + (0.2 * (1.0 - a) + 0.8 * (1.0 - b)).ln();
        assert!((leep(&p, 2, &labels).unwrap() - expected / 3.0).abs() < 1e-12);
        assert_eq!(nce(&p, 2, &labels).unwrap(), 0.0);
        // Source class 0 holds labels 0, 0, 1.
        let p = [0.9, 0.1, 0.6, 0.4, 0.7, 0.3];
        let entropy = -(2.0 / 3.0 * (2.0f64 / 3.0).ln() + 1.0 / 3.0 * (1.0f64 / 3.0).ln());
        assert!((nce(&p, 2, &labels).unwrap() + entropy).abs() < 1e-12);
    }

    #[test]
    fn a_source_that_says_nothing_gives_the_labels_entropy_and_a_perfect_one_zero() {
        let labels = [0, 0, 0, 1];
        let entropy = -(0.75 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
        assert!((leep(&[0.5; 8], 2, &labels).unwrap() + entropy).abs() < 1e-12);
        let perfect = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        assert_eq!(leep(&perfect, 2, &labels).unwrap(), 0.0);
        assert_eq!(leep(&[1.0; 3], 1, &[4, 4, 4]).unwrap(), 0.0);
    }

    #[test]
    fn degenerate_input_is_an_error() {
        assert!(leep(&[], 2, &[]).is_err() && nce(&[], 0, &[]).is_err());
        assert!(leep(&[0.5; 3], 2, &[0, 1]).is_err());
        assert!(nce(&[0.0, 0.0], 2, &[0]).is_err());
        assert!(leep(&[f64::NAN, 1.0], 2, &[0]).is_err());
    }
}

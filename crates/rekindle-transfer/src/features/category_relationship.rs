//! Relates each target class to the source's classes.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

use super::table::{Features, LinearHead, check_labels, softmax};
use crate::TransferError;

/// Starts a new head from the rows of the source classifier (category relationship; You et al. 2020,
/// "Co-Tuning for Transfer Learning").
///
/// For each target class the method looks for a mixture of source classes: rows of a matrix
/// `A [classes, source_classes]` on the probability simplex, so that `softmax(A z)` explains the labels from
/// the source's logits `z`. It starts at the mean source probabilities of a class's images and takes a fixed
/// number of steps of exponentiated gradient (mirror descent) on the mean cross entropy; the early stop is
/// the regulariser. The head is then `A W`, `A b` for the source's `W`, `b`: what the source knows already,
/// with no more free numbers than it has classes.
///
/// It hurts where the target's classes are nothing that the source knows; see
/// [`PriorProbe`](super::PriorProbe), which learns what is lacking.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CategoryRelationship {
    /// Steps of exponentiated gradient.
    pub steps: usize,
    /// Their length.
    pub rate: f64,
}

impl Default for CategoryRelationship {
    fn default() -> Self {
        Self {
            steps: 50,
            rate: 1.0,
        }
    }
}

impl CategoryRelationship {
    /// Computes the mixtures `[classes, source_classes]`, row-major, each row summing to 1, from the source's logits
    /// `[n, source_classes]` of the images `rows` and the labels of all images.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] and [`TransferError::Degenerate`] for labels that don't fit, or a class
    /// that none of the images has.
    pub fn fit(
        &self,
        logits: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<Vec<f64>, TransferError> {
        check_labels("category relationship", labels, logits.len(), classes)?;
        let rows: Vec<usize> = (0..labels.len()).collect();
        Ok(self.fit_rows(logits, labels, classes, &rows))
    }

    /// The same on some of the images, every class among them.
    pub(super) fn fit_rows(
        &self,
        logits: &Features,
        labels: &[usize],
        classes: usize,
        rows: &[usize],
    ) -> Vec<f64> {
        let (source, count) = (logits.dim(), rows.len());
        let mut mixtures = mean_probabilities(logits, labels, classes, rows);
        let chosen = doubles(logits, rows);
        let z = MatRef::from_row_major_slice(&chosen, count, source);
        let mut residuals = vec![0.0; count * classes];
        let mut gradient = vec![0.0; classes * source];
        for _ in 0..self.steps {
            mix(&mixtures, z, &mut residuals);
            for (row, residual) in rows.iter().zip(residuals.chunks_exact_mut(classes)) {
                softmax(residual);
                residual[labels[*row]] -= 1.0;
            }
            let of_images = MatRef::from_row_major_slice(&residuals, count, classes).transpose();
            let slope = MatMut::from_row_major_slice_mut(&mut gradient, classes, source);
            let share = 1.0 / count as f64;
            matmul(slope, Accum::Replace, of_images, z, share, Par::Seq);
            for (mixture, gradient) in mixtures
                .chunks_exact_mut(source)
                .zip(gradient.chunks_exact(source))
            {
                // Taking off the smallest derivative keeps the exponentials at most 1 and cancels in the sum.
                let smallest = gradient.iter().copied().fold(f64::INFINITY, f64::min);
                for (share, derivative) in mixture.iter_mut().zip(gradient) {
                    *share *= (-self.rate * (derivative - smallest)).exp();
                }
                normalise(mixture);
            }
        }
        mixtures
    }
}

/// Returns the head of a mixture: `A W`, `A b`.
pub fn mix_heads(mixtures: &[f64], source: &LinearHead) -> LinearHead {
    let dim = source.dim();
    let mut head = LinearHead {
        weight: Vec::new(),
        bias: Vec::new(),
    };
    for mixture in mixtures.chunks_exact(source.classes()) {
        let mut weight = vec![0.0f64; dim];
        let mut bias = 0.0;
        let rows = source.weight.chunks_exact(dim).zip(&source.bias);
        for (share, (row, row_bias)) in mixture.iter().zip(rows) {
            bias += share * f64::from(*row_bias);
            for (sum, value) in weight.iter_mut().zip(row) {
                *sum += share * f64::from(*value);
            }
        }
        head.weight
            .extend(weight.into_iter().map(|value| value as f32));
        head.bias.push(bias as f32);
    }
    head
}

/// Logits `[n, classes]` that `mixtures` give all images.
pub(super) fn mixed_logits(mixtures: &[f64], logits: &Features) -> Vec<f64> {
    let rows: Vec<usize> = (0..logits.len()).collect();
    let values = doubles(logits, &rows);
    let z = MatRef::from_row_major_slice(&values, logits.len(), logits.dim());
    let mut mixed = vec![0.0; logits.len() * (mixtures.len() / logits.dim())];
    mix(mixtures, z, &mut mixed);
    mixed
}

/// `Z A'`: one logit for each image and target class.
fn mix(mixtures: &[f64], z: MatRef<'_, f64>, mixed: &mut [f64]) {
    let (count, source) = (z.nrows(), z.ncols());
    let classes = mixtures.len() / source;
    let a = MatRef::from_row_major_slice(mixtures, classes, source).transpose();
    let mixed = MatMut::from_row_major_slice_mut(mixed, count, classes);
    matmul(mixed, Accum::Replace, z, a, 1.0, Par::Seq);
}

fn doubles(logits: &Features, rows: &[usize]) -> Vec<f64> {
    let values = rows.iter().flat_map(|row| logits.row(*row));
    values.map(|value| f64::from(*value)).collect()
}

fn mean_probabilities(
    logits: &Features,
    labels: &[usize],
    classes: usize,
    rows: &[usize],
) -> Vec<f64> {
    let source = logits.dim();
    let mut mixtures = vec![0.0; classes * source];
    for row in rows {
        let mut p: Vec<f64> = logits.row(*row).iter().map(|z| f64::from(*z)).collect();
        softmax(&mut p);
        let class = labels[*row];
        let mixture = &mut mixtures[class * source..(class + 1) * source];
        mixture.iter_mut().zip(&p).for_each(|(sum, p)| *sum += p);
    }
    mixtures.chunks_exact_mut(source).for_each(normalise);
    mixtures
}

fn normalise(mixture: &mut [f64]) {
    let sum: f64 = mixture.iter().sum();
    if sum > 0.0 {
        mixture.iter_mut().for_each(|share| *share /= sum);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Images of target class `c` have a large logit for source class `2 c + 1`.
    fn logits() -> (Features, Vec<usize>) {
        let labels: Vec<usize> = (0..30).map(|i| i % 3).collect();
        let mut values = Vec::new();
        for (i, label) in labels.iter().enumerate() {
            for source in 0..8 {
                let noise = ((i * 13 + source * 7) as f32).sin();
                values.push(noise + if source == 2 * label + 1 { 4.0 } else { 0.0 });
            }
        }
        (Features::new(values, 8).unwrap(), labels)
    }

    #[test]
    fn each_target_class_finds_its_source_class() {
        let (logits, labels) = logits();
        let mixtures = CategoryRelationship::default()
            .fit(&logits, &labels, 3)
            .unwrap();
        for (class, mixture) in mixtures.chunks_exact(8).enumerate() {
            assert!((mixture.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            assert!(mixture[2 * class + 1] > 0.8, "{class}: {mixture:?}");
        }
    }

    #[test]
    fn more_steps_lower_the_cross_entropy() {
        let (logits, labels) = logits();
        let loss = |steps| {
            let method = CategoryRelationship { steps, rate: 1.0 };
            let mixtures = method.fit(&logits, &labels, 3).unwrap();
            let mut mixed = mixed_logits(&mixtures, &logits);
            let of = |(z, label): (&mut [f64], &usize)| {
                let true_logit = z[*label];
                softmax(z) - true_logit
            };
            let losses = mixed.chunks_exact_mut(3).zip(&labels).map(of);
            losses.sum::<f64>() / labels.len() as f64
        };
        assert!(loss(10) < loss(0) && loss(50) < loss(10));
    }

    #[test]
    fn a_mixed_head_gives_mixed_logits() {
        let source = LinearHead {
            weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            bias: vec![0.5, -0.5, 1.0],
        };
        let mixtures = [0.5, 0.25, 0.25, 0.0, 1.0, 0.0];
        let head = mix_heads(&mixtures, &source);
        let x = Features::new(vec![2.0, -1.0], 2).unwrap();
        let z: Vec<f32> = source
            .logits(&x)
            .unwrap()
            .iter()
            .map(|z| *z as f32)
            .collect();
        let z = Features::new(z, 3).unwrap();
        let expected = mixed_logits(&mixtures, &z);
        for (found, expected) in head.logits(&x).unwrap().iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6);
        }
    }
}

//! Classes recognised by predicting their attributes one by one.

use rayon::prelude::*;

use crate::TransferError;
use crate::error::degenerate;
use crate::features::LogisticRegression;
use crate::features::table::{Features, LinearHead, argmax_rows, check_dim};

const METHOD: &str = "direct attribute prediction";

/// Direct attribute prediction (Lampert et al. 2009, "Learning to Detect Unseen Object Classes by Between-Class
/// Attribute Transfer"): one probabilistic classifier an attribute, learnt from images of the seen classes, and
/// for a class `z` with attributes `a^z`
///
/// ```text
/// P(z | x) ~ prod_m P(a_m = a_m^z | x) / P(a_m = a_m^z)
/// ```
///
/// where `P(a_m)` is the attribute's frequency among the seen classes. Attributes that all seen classes share,
/// or none has, can't be learnt and are left out. It hurts where attributes always come together in the seen
/// classes but not in the unseen ones: each classifier then learns the others' look as well.
#[derive(Clone, Debug, PartialEq)]
pub struct DirectAttributePrediction {
    /// A regression for each attribute that can be learnt, with its frequency among the seen classes.
    classifiers: Vec<Option<(LinearHead, f64)>>,
}

impl DirectAttributePrediction {
    /// Learns from `features` `[n, dim]` of seen classes; `labels` are rows of `binary` `[classes, attributes]`,
    /// whose entries above 0.5 count as having the attribute.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for a label without
    /// a row, or no attribute that can be learnt (such as with images of a single class).
    pub fn fit(
        features: &Features,
        labels: &[usize],
        binary: &Features,
        learner: &LogisticRegression,
    ) -> Result<Self, TransferError> {
        check_dim("labels", labels.len(), features.len())?;
        if let Some(label) = labels.iter().find(|label| **label >= binary.len()) {
            return degenerate(
                METHOD,
                format!("label {label} with {} rows of attributes", binary.len()),
            );
        }
        let mut seen = labels.to_vec();
        seen.sort_unstable();
        seen.dedup();
        let classifiers = (0..binary.dim()).into_par_iter().map(|attribute| {
            let has = |class: usize| usize::from(binary.row(class)[attribute] > 0.5);
            let with = seen.iter().filter(|class| has(**class) == 1).count();
            if with == 0 || with == seen.len() {
                return Ok(None);
            }
            let present: Vec<usize> = labels.iter().map(|label| has(*label)).collect();
            let head = learner.fit(features, &present, 2)?;
            Ok(Some((head, with as f64 / seen.len() as f64)))
        });
        let classifiers: Vec<_> = classifiers.collect::<Result<_, TransferError>>()?;
        if classifiers.iter().flatten().next().is_none() {
            return degenerate(METHOD, "no attribute tells the seen classes apart".into());
        }
        Ok(Self { classifiers })
    }

    /// Returns the number of attributes that were learnt.
    pub fn learnt(&self) -> usize {
        self.classifiers.iter().flatten().count()
    }

    /// Logarithms of the products above, `[n, candidates]`, for classes with these attributes
    /// `[candidates, attributes]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features or attributes of another length.
    pub fn scores(
        &self,
        features: &Features,
        candidates: &Features,
    ) -> Result<Vec<f64>, TransferError> {
        check_dim("attributes", candidates.dim(), self.classifiers.len())?;
        let mut scores = vec![0.0; features.len() * candidates.len()];
        for (attribute, classifier) in self.classifiers.iter().enumerate() {
            let Some((head, prior)) = classifier else {
                continue;
            };
            let logits = head.logits(features)?;
            let rows = scores.chunks_exact_mut(candidates.len());
            for (row, logits) in rows.zip(logits.chunks_exact(2)) {
                let margin = logits[1] - logits[0];
                // ln P(a | x) - ln P(a) for a present and an absent attribute.
                let present = -softplus(-margin) - prior.ln();
                let absent = -softplus(margin) - (1.0 - prior).ln();
                for (score, candidate) in row.iter_mut().zip(candidates.rows()) {
                    *score += if candidate[attribute] > 0.5 {
                        present
                    } else {
                        absent
                    };
                }
            }
        }
        Ok(scores)
    }

    /// Returns the likeliest of the candidates, for each image.
    ///
    /// # Errors
    ///
    /// As [`scores`](Self::scores).
    pub fn predict(
        &self,
        features: &Features,
        candidates: &Features,
    ) -> Result<Vec<usize>, TransferError> {
        Ok(argmax_rows(
            &self.scores(features, candidates)?,
            candidates.len(),
        ))
    }
}

/// `ln(1 + exp x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Attribute `m` moves coordinate `m`; images of a class scatter around its attributes.
    pub(crate) fn images(
        table: &Features,
        classes: &[usize],
        each: usize,
    ) -> (Features, Vec<usize>) {
        let mut values = Vec::new();
        let mut labels = Vec::new();
        for class in classes {
            for i in 0..each {
                let noise = |m: usize| ((class * 71 + i * 37 + m * 13) as f32 * 1.1).sin() * 0.5;
                let row = table.row(*class).iter().enumerate();
                values.extend(row.map(|(m, a)| 2.0 * a - 1.0 + noise(m)));
                labels.push(*class);
            }
        }
        (Features::new(values, table.dim()).unwrap(), labels)
    }

    fn table() -> Features {
        // All classes have the last attribute; 4 and 5 are new combinations of the others.
        let rows = [
            [0, 0, 1, 1],
            [1, 0, 0, 1],
            [0, 1, 0, 1],
            [1, 1, 1, 1],
            [1, 1, 0, 1],
            [0, 1, 1, 1],
        ];
        Features::new(rows.iter().flatten().map(|v| *v as f32).collect(), 4).unwrap()
    }

    #[test]
    fn unseen_combinations_of_attributes_are_recognised() {
        let table = table();
        let (train, labels) = images(&table, &[0, 1, 2, 3], 20);
        let (test, test_labels) = images(&table, &[4, 5], 30);
        let learner = LogisticRegression::new(1e-2);
        let method = DirectAttributePrediction::fit(&train, &labels, &table, &learner).unwrap();
        assert_eq!(method.learnt(), 3);
        let unseen = table.select(&[4, 5]);
        let found = method.predict(&test, &unseen).unwrap();
        let expected: Vec<usize> = test_labels.iter().map(|label| label - 4).collect();
        assert_eq!(found, expected);
        assert!(
            method
                .scores(&test, &unseen)
                .unwrap()
                .iter()
                .all(|s| s.is_finite())
        );
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let table = table();
        let (train, labels) = images(&table, &[0], 5);
        let learner = LogisticRegression::new(1e-2);
        let fit = |labels: &[usize]| {
            DirectAttributePrediction::fit(&train, labels, &table, &learner).is_err()
        };
        assert!(fit(&labels) && fit(&labels[1..]) && fit(&[9; 5]));
    }
}

//! Classification by attention over the support images.

use crate::TransferError;
use crate::features::table::{Features, argmax_rows, check_dim, check_labels, dot, softmax};

/// Soft nearest neighbours (Vinyals et al. 2016, "Matching Networks for One Shot Learning", on fixed
/// features): `P(k | x) = sum_i a(x, x_i) [y_i = k]` with
/// `a(x, x_i) = softmax_i(cos(x, x_i) / temperature)` over the support images `x_i`.
///
/// The paper learns the features with temperature 1; for fixed features whose cosines lie close together a
/// smaller one is needed. With one shot the most probable class is that of the nearest support image at any
/// temperature. It hurts with uneven classes: one with more support images gets more attention.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    support: Features,
    labels: Vec<usize>,
    classes: usize,
    temperature: f64,
}

impl Matching {
    /// Keeps `support` `[n, dim]` with `labels` `[n]`; `temperature` is above 0.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for fewer than two
    /// classes, one without an image, or a temperature that is not above 0.
    pub fn fit(
        support: &Features,
        labels: &[usize],
        classes: usize,
        temperature: f64,
    ) -> Result<Self, TransferError> {
        check_labels("matching", labels, support.len(), classes)?;
        if !(temperature.is_finite() && temperature > 0.0) {
            return Err(TransferError::Degenerate {
                method: "matching",
                reason: format!("temperature {temperature}; it must be above 0, such as 0.1"),
            });
        }
        Ok(Self {
            support: support.l2_normalized(),
            labels: labels.to_vec(),
            classes,
            temperature,
        })
    }

    /// Probabilities `[n, classes]` of the queries.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn probabilities(&self, queries: &Features) -> Result<Vec<f64>, TransferError> {
        check_dim("queries", queries.dim(), self.support.dim())?;
        let mut probabilities = vec![0.0; queries.len() * self.classes];
        let rows = probabilities.chunks_exact_mut(self.classes);
        for (query, found) in queries.l2_normalized().rows().zip(rows) {
            let of = |row: &[f32]| dot(query, row) / self.temperature;
            let mut attention: Vec<f64> = self.support.rows().map(of).collect();
            softmax(&mut attention);
            for (attention, label) in attention.iter().zip(&self.labels) {
                found[*label] += attention;
            }
        }
        Ok(probabilities)
    }

    /// Returns the most probable class of each query.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn predict(&self, queries: &Features) -> Result<Vec<usize>, TransferError> {
        Ok(argmax_rows(&self.probabilities(queries)?, self.classes))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn attention_by_hand() {
        let support = Features::new(vec![2.0, 0.0, 0.0, 3.0, 0.0, -1.0], 2).unwrap();
        let matching = Matching::fit(&support, &[0, 1, 1], 2, 0.5).unwrap();
        let found = matching
            .probabilities(&Features::new(vec![5.0, 0.0], 2).unwrap())
            .unwrap();
        // Cosines 1, 0, 0 over 0.5.
        let expected = 2f64.exp() / (2f64.exp() + 2.0);
        assert!((found[0] - expected).abs() < 1e-12 && (found[1] - 1.0 + expected).abs() < 1e-12);
    }

    #[test]
    fn a_cold_one_is_the_nearest_neighbour_and_a_query_of_zeros_is_no_trouble() {
        let support = Features::new(vec![1.0, 0.1, 0.1, 1.0], 2).unwrap();
        let matching = Matching::fit(&support, &[0, 1], 2, 1e-4).unwrap();
        let queries = Features::new(vec![1.0, 0.9, 0.0, 0.0], 2).unwrap();
        let found = matching.probabilities(&queries).unwrap();
        assert!(found[0] > 0.999);
        assert_eq!(found[2..], [0.5, 0.5]);
    }

    #[test]
    fn degenerate_input_is_an_error() {
        let support = Features::new(vec![1.0, 0.0, 0.0, 1.0], 2).unwrap();
        assert!(Matching::fit(&support, &[0, 1], 2, 0.0).is_err());
        assert!(Matching::fit(&support, &[0, 1], 2, f64::NAN).is_err());
        assert!(Matching::fit(&support, &[0, 0], 2, 1.0).is_err());
    }
}

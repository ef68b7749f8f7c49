//! Scores how well two partitions of the same images agree, whatever their groups are called.

use std::collections::BTreeMap;

use crate::TransferError;
use crate::features::table::check_dim;

/// Computes the normalised mutual information of two labellings: `I(A; B)` over the mean of the entropies `H(A)`,
/// `H(B)` (Strehl and Ghosh 2002, with the arithmetic mean), in [0, 1]. 1 where both are a single group; otherwise 0
/// where one of them is.
///
/// # Errors
///
/// [`TransferError::WrongLength`] where the lengths differ, [`TransferError::Degenerate`] without an image.
pub fn normalized_mutual_information(a: &[usize], b: &[usize]) -> Result<f64, TransferError> {
    let table = Contingency::new("mutual information", a, b)?;
    if table.rows.len() == 1 && table.columns.len() == 1 {
        return Ok(1.0);
    }
    let entropy = |sums: &BTreeMap<usize, f64>| -> f64 {
        let term = |sum: &f64| -(sum / table.total) * (sum / table.total).ln();
        sums.values().map(term).sum()
    };
    let information: f64 = table
        .cells
        .iter()
        .map(|((row, column), count)| {
            let expected = table.rows[row] * table.columns[column] / table.total;
            count / table.total * (count / expected).ln()
        })
        .sum();
    let mean = (entropy(&table.rows) + entropy(&table.columns)) / 2.0;
    Ok((information / mean).clamp(0.0, 1.0))
}

/// Computes the adjusted Rand index of two labellings (Hubert and Arabie 1985): the share of pairs of images on which
/// both agree, shifted and scaled so that chance gives 0 on average and equality 1; it can be negative. 1 where both
/// are a single group, or all groups are of one image in both.
///
/// # Errors
///
/// [`TransferError::WrongLength`] where the lengths differ, [`TransferError::Degenerate`] without an image.
pub fn adjusted_rand_index(a: &[usize], b: &[usize]) -> Result<f64, TransferError> {
    let table = Contingency::new("Rand index", a, b)?;
    let pairs = |count: &f64| count * (count - 1.0) / 2.0;
    let together: f64 = table.cells.values().map(pairs).sum();
    let in_a: f64 = table.rows.values().map(pairs).sum();
    let in_b: f64 = table.columns.values().map(pairs).sum();
    let expected = in_a * in_b / pairs(&table.total).max(1.0);
    let largest = (in_a + in_b) / 2.0;
    Ok(match largest == expected {
        true => 1.0,
        false => (together - expected) / (largest - expected),
    })
}

struct Contingency {
    cells: BTreeMap<(usize, usize), f64>,
    rows: BTreeMap<usize, f64>,
    columns: BTreeMap<usize, f64>,
    total: f64,
}

impl Contingency {
    fn new(method: &'static str, a: &[usize], b: &[usize]) -> Result<Self, TransferError> {
        check_dim("labels to compare", b.len(), a.len())?;
        if a.is_empty() {
            return Err(TransferError::Degenerate {
                method,
                reason: "no image; give at least one".into(),
            });
        }
        let mut table = Self {
            cells: BTreeMap::new(),
            rows: BTreeMap::new(),
            columns: BTreeMap::new(),
            total: a.len() as f64,
        };
        for (a, b) in a.iter().zip(b) {
            *table.cells.entry((*a, *b)).or_insert(0.0) += 1.0;
            *table.rows.entry(*a).or_insert(0.0) += 1.0;
            *table.columns.entry(*b).or_insert(0.0) += 1.0;
        }
        Ok(table)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn both(a: &[usize], b: &[usize]) -> (f64, f64) {
        let nmi = normalized_mutual_information(a, b).unwrap();
        (nmi, adjusted_rand_index(a, b).unwrap())
    }

    #[test]
    fn values_of_scikit_learn() {
        let a: Vec<usize> = (0..30).map(|i| i % 4).collect();
        let b: Vec<usize> = (0..30).map(|i| i * i % 5).collect();
        let c: Vec<usize> = (0..30)
            .map(|i| i % 4 / 2 + usize::from(i % 7 == 0))
            .collect();
        let (nmi, ari) = both(&a, &b);
        assert!(
            (nmi - 0.026040227756195224).abs() < 1e-10
                && (ari - -0.05725087766675668).abs() < 1e-10,
            "{nmi} {ari}"
        );
        let (nmi, ari) = both(&a, &c);
        assert!(
            (nmi - 0.39380506413878286).abs() < 1e-10 && (ari - 0.25663348959656374).abs() < 1e-10,
            "{nmi} {ari}"
        );
        let turned = both(&c, &a);
        assert!((turned.0 - nmi).abs() < 1e-12 && (turned.1 - ari).abs() < 1e-12);
    }

    #[test]
    fn names_of_groups_do_not_matter_and_limits_hold() {
        assert_eq!(both(&[0, 0, 1, 1], &[7, 7, 3, 3]), (1.0, 1.0));
        assert_eq!(both(&[0, 0, 0], &[5, 5, 5]), (1.0, 1.0));
        assert_eq!(both(&[0], &[0]), (1.0, 1.0));
        assert_eq!(both(&[0, 0, 0, 0], &[0, 1, 2, 3]), (0.0, 0.0));
        assert_eq!(both(&[0, 1, 2], &[2, 1, 0]), (1.0, 1.0));
        assert!(adjusted_rand_index(&[], &[]).is_err());
        assert!(normalized_mutual_information(&[0], &[0, 1]).is_err());
    }
}

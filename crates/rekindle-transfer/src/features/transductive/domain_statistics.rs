//! Normalises each domain by its own mean and deviation.

use crate::TransferError;
use crate::error::degenerate;
use crate::features::table::{Features, check_dim};

const METHOD: &str = "domain statistics";

/// Replaces a domain's mean and standard deviation, feature by feature, by 0 and 1: what AdaBN (Li et al.
/// 2017, "Revisiting Batch Normalization for Practical Domain Adaptation") does in every layer of a network,
/// here for the last one alone. `z = (x - mean) / (deviation + floor)` with the statistics of the domain that
/// `x` comes from; with [`centering`](Self::centering) only the mean is taken off.
///
/// A shift that moves or stretches all images of a domain alike is gone. It hurts where the domains have
/// their classes in different shares, since the mean then carries information on the class.
#[derive(Clone, Debug, PartialEq)]
pub struct DomainStatistics {
    mean: Vec<f64>,
    scale: Vec<f64>,
}

impl DomainStatistics {
    /// Computes mean and deviation of `domain` `[n, dim]`. `floor` is added to the deviations in units of their mean,
    /// so that features that hardly move aren't blown up; 0.01 does.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] without a row or for a floor that is not above 0. A constant feature
    /// becomes 0.
    pub fn new(domain: &Features, floor: f64) -> Result<Self, TransferError> {
        let mut statistics = Self::centering(domain)?;
        if !(floor.is_finite() && floor > 0.0) {
            return degenerate(
                METHOD,
                format!("floor {floor}; it must be above 0, such as 0.01"),
            );
        }
        let mut squares = vec![0.0; domain.dim()];
        for row in domain.rows() {
            for ((sum, value), mean) in squares.iter_mut().zip(row).zip(&statistics.mean) {
                *sum += (f64::from(*value) - mean).powi(2);
            }
        }
        let deviations: Vec<f64> = squares
            .iter()
            .map(|sum| (sum / domain.len() as f64).sqrt())
            .collect();
        let typical = deviations.iter().sum::<f64>() / deviations.len() as f64;
        if typical > 0.0 {
            let scale = deviations.iter().map(|d| 1.0 / (d + floor * typical));
            statistics.scale = scale.collect();
        }
        Ok(statistics)
    }

    /// Computes the mean of `domain` alone; scales stay as they are.
    ///
    /// # Errors
    ///
    /// [`TransferError::Degenerate`] without a row.
    pub fn centering(domain: &Features) -> Result<Self, TransferError> {
        if domain.is_empty() {
            return degenerate(METHOD, "the domain has no image".into());
        }
        Ok(Self {
            mean: domain.mean(),
            scale: vec![1.0; domain.dim()],
        })
    }

    /// Normalises the domain's images `[n, dim]` by its statistics.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] for features of another length.
    pub fn transform(&self, features: &Features) -> Result<Features, TransferError> {
        check_dim("features of the domain", features.dim(), self.mean.len())?;
        let of = |((value, mean), scale): ((&f32, &f64), &f64)| {
            ((f64::from(*value) - mean) * scale) as f32
        };
        let rows = features.rows();
        let values = rows.flat_map(|row| row.iter().zip(&self.mean).zip(&self.scale).map(of));
        Features::new(values.collect(), features.dim())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_domain_that_is_shifted_and_stretched_looks_like_the_other() {
        let source: Vec<f32> = (0..60).map(|i| ((i * i) as f32).sin()).collect();
        let target: Vec<f32> = source
            .iter()
            .enumerate()
            .map(|(i, v)| v * [2.0, 0.5, 7.0][i % 3] + [1.0, -3.0, 10.0][i % 3])
            .collect();
        let [source, target] = [source, target].map(|values| Features::new(values, 3).unwrap());
        let [a, b] = [source, target].map(|domain| {
            let statistics = DomainStatistics::new(&domain, 1e-9).unwrap();
            statistics.transform(&domain).unwrap()
        });
        for (a, b) in a.values().iter().zip(b.values()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn a_constant_feature_becomes_zero_and_no_image_is_an_error() {
        let domain = Features::new(vec![5.0, 1.0, 5.0, 3.0], 2).unwrap();
        let found = DomainStatistics::new(&domain, 0.01).unwrap();
        let found = found.transform(&domain).unwrap();
        assert_eq!((found.row(0)[0], found.row(1)[0]), (0.0, 0.0));
        let one = Features::new(vec![5.0, 1.0], 2).unwrap();
        let found = DomainStatistics::new(&one, 0.01).unwrap();
        assert_eq!(found.transform(&one).unwrap().values(), [0.0, 0.0]);
        let none = Features::new(Vec::new(), 2).unwrap();
        assert!(DomainStatistics::new(&none, 0.01).is_err());
        assert!(DomainStatistics::new(&domain, 0.0).is_err());
    }
}

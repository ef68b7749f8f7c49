//! Features as a kind of probe takes them, and its head for features as they are.

use super::{ProbeKind, ProbeSearch, ScoredProbe};
use crate::TransferError;
use crate::features::held_out::{Contest, mean};
use crate::features::logistic_regression::{Precision, Problem};
use crate::features::prior_probe::{fitted, source_logits};
use crate::features::table::{Features, LinearHead, dot};

/// Features as a kind of probe takes them.
pub(super) struct Prepared<'a> {
    pub kind: ProbeKind,
    pub contest: Contest<'a>,
    features: Features,
    /// Length of the features with all their parts.
    whole: usize,
    /// Scale and shift of the features, to convert a head back to plain features.
    scale: Vec<f64>,
    shift: Vec<f64>,
}

impl<'a> Prepared<'a> {
    pub fn new(
        search: &'a ProbeSearch,
        kind: ProbeKind,
        plain: &Features,
        mirrored: Option<&Features>,
        labels: &'a [usize],
        classes: usize,
        source: Option<&LinearHead>,
    ) -> Result<Self, TransferError> {
        let own = |features: &Features| match search.parts[..] {
            [first, _, ..] if kind != ProbeKind::Multilevel => features.columns(0..first),
            _ => Ok(features.clone()),
        };
        let (whole, plain) = (plain.dim(), &own(plain)?);
        let features = match mirrored {
            Some(mirrored) => plain.stack(&own(mirrored)?)?,
            None => plain.clone(),
        };
        let (dim, length) = (features.dim(), plain.mean_norm());
        let weights = search.weights.as_deref();
        let (mut scale, mut shift) = (vec![1.0; dim], vec![0.0; dim]);
        let (mut lengths, mut source_logits_of) = (None, None);
        let (features, problem) = match kind {
            ProbeKind::Normalized => {
                let of = |row: &[f32]| dot(row, row).sqrt() / length;
                lengths = Some(plain.rows().map(of).collect());
                scale.fill(length);
                let features = features.l2_normalized();
                let problem = Problem::new(&features)?.without_bias();
                (features, problem)
            }
            ProbeKind::Multilevel => {
                (_, scale) = plain.with_equal_parts(&search.parts)?;
                let scaled = scaled(&features, &shift, &scale)?;
                let lengths_of: Vec<f64> = scaled.rows().map(|row| dot(row, row).sqrt()).collect();
                let of_plain = &lengths_of[..plain.len()];
                let length = mean(of_plain);
                lengths = Some(lengths_of.iter().map(|own| own / length).collect());
                scale.iter_mut().for_each(|scale| *scale *= length);
                let features = scaled.l2_normalized();
                let problem = Problem::new(&features)?.without_bias();
                (features, problem)
            }
            ProbeKind::Standardized => {
                shift = plain.mean();
                scale = deviations(plain, &shift);
                let features = scaled(&features, &shift, &scale)?;
                let problem = Problem::new(&features)?;
                (features, problem)
            }
            ProbeKind::Scaled | ProbeKind::Prior | ProbeKind::Ridge => {
                let problem = Problem::new(&features)?;
                if kind == ProbeKind::Prior {
                    source_logits_of = source_logits(&features, source)?;
                }
                (features, problem)
            }
        };
        Ok(Self {
            kind,
            contest: Contest {
                problem,
                source_logits: source_logits_of,
                relationship: search.relationship,
                lengths,
                labels,
                weights,
                classes,
                views: 1 + usize::from(mirrored.is_some()),
            },
            features,
            whole,
            scale,
            shift,
        })
    }

    /// Returns the head for all images and features as they are, found in the way of those that were compared: from
    /// the strongest penalty on, and no more exactly.
    pub fn head(
        &self,
        search: &ProbeSearch,
        scored: &ScoredProbe,
        source: Option<&LinearHead>,
    ) -> Result<LinearHead, TransferError> {
        let stronger = search.penalties.iter().rev().copied();
        let mut path: Vec<f64> = stronger.filter(|l2| *l2 > scored.penalty).collect();
        path.push(scored.penalty);
        let precision = Precision::Coarse;
        let (mut head, _) = fitted(&self.contest, &self.features, source, &path, precision)?;
        let dim = self.scale.len();
        for (weights, bias) in head.weight.chunks_exact_mut(dim).zip(&mut head.bias) {
            let mut sum = 0.0;
            for ((weight, scale), shift) in weights.iter_mut().zip(&self.scale).zip(&self.shift) {
                let scaled = f64::from(*weight) / scale;
                sum += scaled * shift;
                *weight = scaled as f32;
            }
            *bias -= sum as f32;
        }
        let sharpness = (1.0 / scored.temperature) as f32;
        let values = head.weight.iter_mut().chain(&mut head.bias);
        values.for_each(|value| *value *= sharpness);
        let rows = head.weight.chunks_exact(dim);
        let zeros = vec![0.0; self.whole - dim];
        head.weight = rows
            .flat_map(|row| row.iter().chain(&zeros))
            .copied()
            .collect();
        Ok(head)
    }
}

/// Returns each feature minus its shift, over its scale.
fn scaled(features: &Features, shift: &[f64], scale: &[f64]) -> Result<Features, TransferError> {
    let of = |row: &[f32]| -> Vec<f32> {
        (row.iter().zip(shift).zip(scale))
            .map(|((value, shift), scale)| ((f64::from(*value) - shift) / scale) as f32)
            .collect()
    };
    Features::new(features.rows().flat_map(of).collect(), features.dim())
}

/// Standard deviation of each feature, raised by a tenth of their mean so that none is close to 0.
pub(in crate::features) fn deviations(features: &Features, means: &[f64]) -> Vec<f64> {
    let mut squares = vec![0.0; features.dim()];
    for row in features.rows() {
        for ((sum, value), mean) in squares.iter_mut().zip(row).zip(means) {
            *sum += (f64::from(*value) - mean).powi(2);
        }
    }
    let of = |sum: &f64| (sum / features.len() as f64).sqrt();
    let deviations: Vec<f64> = squares.iter().map(of).collect();
    let floor = (0.1 * mean(&deviations)).max(f64::MIN_POSITIVE);
    deviations.iter().map(|value| value + floor).collect()
}

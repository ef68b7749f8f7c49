//! Turns scores into a recommendation.

use super::advice::{Advice, BackboneScore, Domain, Estimate, Sizes, Warning};
use super::{HScore, LogMe, leep, nce};
use crate::features::table::check_labels;
use crate::features::{Features, LinearHead, PriorProbe};
use crate::{Strategy, TransferError};

/// A backbone that could be transferred, by what it makes of the target's images.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// A name for the report.
    pub name: &'a str,
    /// Pooled features `[n, dim]` of the images.
    pub features: &'a Features,
    /// The classifier that the backbone was trained with, for features as they are.
    pub source: Option<&'a LinearHead>,
}

/// Recommends a backbone and a strategy for labelled images, without training a network.
///
/// The backbone is the one of the highest [`LogMe`], which knows no chance of a split; the cross-validated probe says what
/// to expect of it. The strategy follows from how far the images are from what the backbone knows ([`Domain`]), how
/// many there are, and how much the probe leaves to gain; the thresholds come from measurements on small sets of
/// photographs and drawings (docs/benchmarks.md). Neither sees how far fine-tuning would get.
#[derive(Clone, Debug, PartialEq)]
pub struct Advisor {
    /// The probe that accuracy is estimated by.
    pub probe: PriorProbe,
    /// Mean probability of the source classifier's first guess from which on images count as near, in [0, 1].
    pub near: f64,
    /// Accuracy of the probe from which on there is nothing to gain by moving the backbone, in [0, 1].
    pub enough: f64,
    /// Images in the smallest class from which on the backbone may move.
    pub movable: usize,
}

impl Default for Advisor {
    fn default() -> Self {
        Self {
            probe: PriorProbe {
                repeats: 1,
                ..PriorProbe::default()
            },
            near: 0.5,
            enough: 0.95,
            movable: 5,
        }
    }
}

impl Advisor {
    /// Gives advice for images with labels `[n]`, each below `classes`, and features of them by each candidate.
    /// `baseline` are features `[n, any]` that no backbone made, such as colours.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] without a candidate, for a
    /// single class, a class without an image, or features that are all alike.
    pub fn advise(
        &self,
        candidates: &[Candidate<'_>],
        baseline: Option<&Features>,
        labels: &[usize],
        classes: usize,
    ) -> Result<Advice, TransferError> {
        check_labels("advice", labels, labels.len(), classes)?;
        let mut backbones = candidates
            .iter()
            .map(|candidate| self.score(candidate, labels, classes))
            .collect::<Result<Vec<_>, _>>()?;
        backbones.sort_by(|a, b| b.log_me.total_cmp(&a.log_me));
        let Some(best) = backbones.first() else {
            return Err(TransferError::Degenerate {
                method: "advice",
                reason: "no backbone to choose from; give at least one".into(),
            });
        };
        let baseline = match baseline {
            Some(features) => self.baseline(features, labels, classes)?,
            None => None,
        };
        let sizes = Sizes::of(labels, classes);
        let domain = best
            .confidence
            .map(|confidence| match confidence >= self.near {
                true => Domain::Near,
                false => Domain::Far,
            });
        let (strategy, why) = self.strategy(best, domain, sizes);
        let mut reasons = vec![why_backbone(&backbones)];
        reasons.extend(why_domain(best, domain));
        reasons.push(why);
        Ok(Advice {
            images: labels.len(),
            classes,
            sizes,
            domain,
            backbone: best.name.clone(),
            strategy,
            expected: best.expected,
            baseline,
            warnings: warnings(best, baseline, sizes, labels.len()),
            reasons,
            backbones,
            cost: None,
        })
    }

    fn score(
        &self,
        candidate: &Candidate<'_>,
        labels: &[usize],
        classes: usize,
    ) -> Result<BackboneScore, TransferError> {
        let features = candidate.features;
        let fitted = self
            .probe
            .fit(features, labels, classes, candidate.source)?;
        let scale = features.l2_normalized();
        let mut score = BackboneScore {
            name: candidate.name.to_string(),
            dim: features.dim(),
            expected: fitted
                .held_out_accuracy()
                .map(|accuracy| Estimate::new(accuracy, labels.len())),
            log_loss: fitted.held_out_log_loss(),
            log_me: LogMe::default().score(&scale, labels, classes)?,
            h_score: HScore::default().score(&scale, labels, classes)?,
            leep: None,
            nce: None,
            confidence: None,
        };
        if let Some(source) = candidate.source {
            let probabilities = source.probabilities(features)?;
            let first = |row: &[f64]| row.iter().copied().fold(0.0, f64::max);
            let sum: f64 = probabilities
                .chunks_exact(source.classes())
                .map(first)
                .sum();
            score.leep = Some(leep(&probabilities, source.classes(), labels)?);
            score.nce = Some(nce(&probabilities, source.classes(), labels)?);
            score.confidence = Some(sum / labels.len() as f64);
        }
        Ok(score)
    }

    fn baseline(
        &self,
        features: &Features,
        labels: &[usize],
        classes: usize,
    ) -> Result<Option<Estimate>, TransferError> {
        let centred = features.centered(&features.mean())?;
        // Pictures without any difference leave nothing to go by.
        if centred.mean_norm() == 0.0 {
            return Ok(None);
        }
        let fitted = self.probe.fit(&centred, labels, classes, None)?;
        Ok(fitted
            .held_out_accuracy()
            .map(|accuracy| Estimate::new(accuracy, labels.len())))
    }

    fn strategy(
        &self,
        best: &BackboneScore,
        domain: Option<Domain>,
        sizes: Sizes,
    ) -> (Strategy, String) {
        let found = best.expected.map_or(0.0, |estimate| estimate.accuracy);
        if sizes.fewest < self.movable {
            let why = format!(
                "Keep its features: with {} in the smallest class a moving backbone fits noise.",
                match sizes.fewest {
                    1 => "1 image".into(),
                    fewest => format!("{fewest} images"),
                }
            );
            return (Strategy::FeatureExtraction, why);
        }
        if found >= self.enough {
            let why = "Keep its features: a head on them leaves hardly anything to gain, in a hundredth of the time.";
            return (Strategy::FeatureExtraction, why.into());
        }
        if domain == Some(Domain::Near) {
            let why = "Keep its features: on pictures of a kind that it knows, a head on them came within two points of \
                       the best way of fine-tuning, in a hundredth of the time.";
            return (Strategy::FeatureExtraction, why.into());
        }
        let why = "Let the backbone move, its last feature maps held near the source's (DELTA): pictures of a kind that it \
                   does not know gain from features of their own.";
        let strategy = Strategy::Delta {
            strength: 0.01,
            backbone_rate: 1.0,
        };
        (strategy, why.into())
    }
}

impl Sizes {
    fn of(labels: &[usize], classes: usize) -> Self {
        let mut counts = vec![0; classes];
        labels.iter().for_each(|label| counts[*label] += 1);
        counts.sort_unstable();
        Self {
            fewest: counts[0],
            median: counts[classes / 2],
            most: counts[classes - 1],
        }
    }
}

fn why_backbone(backbones: &[BackboneScore]) -> String {
    let best = &backbones[0];
    let Some(second) = backbones.get(1) else {
        return format!("{} is the only backbone given.", best.name);
    };
    let probe = match (best.expected, second.expected) {
        (Some(a), Some(b)) => format!(
            "a probe on its features names {:.3} of held-out images right, one on those of {} {:.3}",
            a.accuracy, second.name, b.accuracy
        ),
        _ => "with a single image in a class nothing could be held out".into(),
    };
    format!(
        "{} has the highest LogME, {:.3}, before {} with {:.3}; {probe}.",
        best.name, best.log_me, second.name, second.log_me
    )
}

fn why_domain(best: &BackboneScore, domain: Option<Domain>) -> Option<String> {
    let confidence = best.confidence?;
    let what = match domain? {
        Domain::Near => "the pictures are of a kind that it knows",
        Domain::Far => "the pictures are unlike those that it was trained on",
    };
    Some(format!(
        "Its own classifier gives its first guess a probability of {confidence:.2} on average: {what}."
    ))
}

fn warnings(
    best: &BackboneScore,
    baseline: Option<Estimate>,
    sizes: Sizes,
    images: usize,
) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if sizes.fewest < 5 {
        warnings.push(Warning::FewImages {
            fewest: sizes.fewest,
        });
    }
    if sizes.most >= 10 * sizes.fewest {
        warnings.push(Warning::Imbalance {
            fewest: sizes.fewest,
            most: sizes.most,
        });
    }
    if let Some(expected) = best.expected {
        let largest_class = sizes.most as f64 / images as f64;
        if expected.low <= largest_class {
            warnings.push(Warning::NoBetterThanChance {
                backbone: expected.accuracy,
                largest_class,
            });
        }
        if let Some(baseline) = baseline
            && expected.low <= baseline.accuracy
        {
            warnings.push(Warning::NegativeTransfer {
                backbone: expected.accuracy,
                baseline: baseline.accuracy,
            });
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rand::rngs::Xoshiro256PlusPlus;
    use rand::{RngExt, SeedableRng};

    use super::*;

    /// Three classes along three axes of eight, under noise.
    fn images(count: usize, signal: f32, seed: u64) -> (Features, Vec<usize>) {
        let mut generator = Xoshiro256PlusPlus::seed_from_u64(seed);
        let labels: Vec<usize> = (0..count).map(|i| i % 3).collect();
        let mut values = Vec::new();
        for label in &labels {
            for axis in 0..8 {
                let noise: f32 = generator.random_range(-1.0..1.0);
                values.push(noise + if axis == *label { signal } else { 0.0 });
            }
        }
        (Features::new(values, 8).unwrap(), labels)
    }

    /// A source that knows the first four axes as classes, more or less sharply.
    fn source(sharpness: f32) -> LinearHead {
        let mut weight = vec![0.0; 32];
        (0..4).for_each(|class| weight[class * 8 + class] = sharpness);
        LinearHead {
            weight,
            bias: vec![0.0; 4],
        }
    }

    fn candidate<'a>(
        name: &'a str,
        features: &'a Features,
        source: Option<&'a LinearHead>,
    ) -> Candidate<'a> {
        Candidate {
            name,
            features,
            source,
        }
    }

    #[test]
    fn the_backbone_with_more_signal_wins_and_the_estimate_holds_on_new_images() {
        let (good, labels) = images(150, 2.0, 0);
        let (poor, _) = images(150, 0.5, 1);
        let candidates = [
            candidate("poor", &poor, None),
            candidate("good", &good, None),
        ];
        let advice = Advisor::default()
            .advise(&candidates, Some(&poor), &labels, 3)
            .unwrap();
        assert_eq!(advice.backbone, "good");
        assert!(advice.warnings.is_empty(), "{:?}", advice.warnings);
        let scores = &advice.backbones;
        assert!(scores[0].log_me > scores[1].log_me && scores[0].h_score > scores[1].h_score);
        let (new, new_labels) = images(3000, 2.0, 2);
        let head = PriorProbe::default().fit(&good, &labels, 3, None).unwrap();
        let found = crate::features::accuracy(&head.head.predict(&new).unwrap(), &new_labels);
        let expected = advice.expected.unwrap();
        assert!(
            expected.low <= found && found <= expected.high,
            "{found}, {expected}"
        );
    }

    #[test]
    fn the_strategy_follows_distance_size_and_what_is_left_to_gain() {
        let advisor = Advisor::default();
        let strategy = |images: &(Features, Vec<usize>), source: Option<&LinearHead>| {
            let candidates = [candidate("one", &images.0, source)];
            let advice = advisor.advise(&candidates, None, &images.1, 3).unwrap();
            (advice.strategy.name(), advice.domain)
        };
        let (sure, unsure) = (source(20.0), source(0.1));
        let hard = images(60, 1.2, 3);
        assert_eq!(
            strategy(&hard, Some(&sure)),
            ("features", Some(Domain::Near))
        );
        assert_eq!(strategy(&hard, Some(&unsure)), ("delta", Some(Domain::Far)));
        let few = images(9, 1.2, 4);
        assert_eq!(strategy(&few, Some(&unsure)).0, "features");
        let easy = images(60, 9.0, 5);
        assert_eq!(strategy(&easy, Some(&unsure)).0, "features");
    }

    #[test]
    fn features_no_better_than_a_baseline_and_chance_are_warned_of() {
        let (noise, labels) = images(90, 0.0, 6);
        let (colours, _) = images(90, 2.0, 7);
        let advice = Advisor::default()
            .advise(
                &[candidate("noise", &noise, None)],
                Some(&colours),
                &labels,
                3,
            )
            .unwrap();
        let kinds: Vec<&Warning> = advice.warnings.iter().collect();
        assert!(matches!(
            kinds[..],
            [
                Warning::NoBetterThanChance { .. },
                Warning::NegativeTransfer { .. }
            ]
        ));
        let text = advice.to_string();
        assert!(text.contains("Negative transfer"), "{text}");
        let json = serde_json::to_string(&advice).unwrap();
        assert_eq!(serde_json::from_str::<Advice>(&json).unwrap(), advice);
    }

    #[test]
    fn one_image_a_class_gives_advice_without_an_estimate_and_nonsense_an_error() {
        let (one, labels) = images(3, 1.0, 8);
        let candidates = [candidate("one", &one, None)];
        let advice = Advisor::default()
            .advise(&candidates, Some(&one), &labels, 3)
            .unwrap();
        assert!(advice.expected.is_none() && advice.strategy == Strategy::FeatureExtraction);
        assert_eq!(advice.warnings, [Warning::FewImages { fewest: 1 }]);
        assert!(Advisor::default().advise(&[], None, &labels, 3).is_err());
        assert!(
            Advisor::default()
                .advise(&candidates, None, &[0, 0, 0], 1)
                .is_err()
        );
        let alike = Features::new(vec![1.0; 24], 8).unwrap();
        assert!(
            Advisor::default()
                .advise(&[candidate("alike", &alike, None)], None, &labels, 3)
                .is_err()
        );
    }

    #[test]
    fn the_interval_is_wilson_s() {
        // 9 of 10 right: (0.5958, 0.9821) in statsmodels' proportion_confint(9, 10, method="wilson").
        let estimate = Estimate::new(0.9, 10);
        assert!((estimate.low - 0.5958).abs() < 1e-4 && (estimate.high - 0.9821).abs() < 1e-4);
        assert_eq!(Estimate::new(1.0, 5).high, 1.0);
    }
}

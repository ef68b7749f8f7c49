//! Least squares with a penalty on the weights: a linear head that gives each image a number.

mod problem;

use serde::{Deserialize, Serialize};

use super::held_out::{check_penalties, grouped_folds};
use super::table::{Features, LinearHead, check_dim};
use crate::TransferError;
use crate::error::degenerate;
use problem::Problem;

const METHOD: &str = "ridge regression";

/// Ridge regression (Hoerl and Kennard 1970) with the penalty of the lowest squared error on held-out images: scikit-learn's
/// `RidgeCV`.
///
/// The head minimises the sum of `weight * (number - w x - b)^2` over the images plus `alpha * |w|^2`. Its answers for images
/// that it did not learn from have a closed form, so that every image is left out by itself for the price of one
/// eigendecomposition; where images are grouped, a part of the groups is left out at a time.
///
/// ```
/// use rekindle_transfer::features::{Features, RidgeRegression};
///
/// let features = Features::new(vec![0.0, 1.0, 2.0, 3.0, 4.0], 1)?;
/// let found = RidgeRegression::default().fit(&features, &[1.0, 3.0, 5.0, 7.0, 9.0])?;
/// assert!((found.head.logits(&features)?[4] - 9.0).abs() < 0.01);
/// # Ok::<(), rekindle_transfer::TransferError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct RidgeRegression {
    /// Penalties to choose from, above 0, each as a share of the features' sum of squares about their mean: so they suit
    /// features of any scale.
    pub penalties: Vec<f64>,
    /// Parts of the cross-validation where images are grouped; fewer where there are fewer groups.
    pub folds: usize,
    /// Seed of these parts.
    pub seed: u64,
    /// How much each image counts in fits, at least 0; all the same by default. Each held-out image counts once.
    pub weights: Option<Vec<f64>>,
    /// The group of each image, which is held out as a whole ([`grouped_folds`]).
    pub groups: Option<Vec<usize>>,
}

/// The head that was found, and what it was compared with.
#[derive(Clone, Debug, PartialEq)]
pub struct FoundRidge {
    /// One row, for features as they are.
    pub head: LinearHead,
    /// Every penalty, in the order in which they were given.
    pub tried: Vec<TriedAlpha>,
    /// Position of the chosen one.
    pub choice: usize,
    /// Answers to the images by heads that did not learn from them `[n]`; empty where nothing could be held out.
    pub held_out: Vec<f64>,
}

/// How one penalty did on held-out images.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriedAlpha {
    /// The factor of the squared length of the weights.
    pub alpha: f64,
    /// Mean squared error; NaN where nothing could be held out.
    pub mean_squared_error: f64,
}

impl Default for RidgeRegression {
    fn default() -> Self {
        let steps = -12..=2;
        Self {
            penalties: steps
                .map(|step| 10f64.powf(0.5 * f64::from(step)))
                .collect(),
            folds: 5,
            seed: 0,
            weights: None,
            groups: None,
        }
    }
}

impl FoundRidge {
    /// Returns the penalty that was chosen.
    pub fn chosen(&self) -> TriedAlpha {
        self.tried[self.choice]
    }
}

impl RidgeRegression {
    /// Fits features `[n, dim]` to numbers `[n]`.
    ///
    /// # Errors
    ///
    /// [`TransferError::WrongLength`] where lengths disagree, [`TransferError::Degenerate`] for fewer than two images,
    /// numbers that are not finite, weights or penalties out of range, and features that are all the same.
    pub fn fit(&self, features: &Features, numbers: &[f32]) -> Result<FoundRidge, TransferError> {
        self.check(features, numbers)?;
        let weights = match &self.weights {
            Some(weights) => weights.clone(),
            None => vec![1.0; numbers.len()],
        };
        let problem = Problem::new(features, numbers, weights)?;
        let scale: f64 = problem.variances.iter().sum();
        let alphas: Vec<f64> = self.penalties.iter().map(|share| share * scale).collect();
        let Some(answers) = self.held_out(&problem, &alphas)? else {
            let choice = alphas.len() / 2;
            let unknown = |alpha: &f64| TriedAlpha {
                alpha: *alpha,
                mean_squared_error: f64::NAN,
            };
            return Ok(FoundRidge {
                head: problem.head(alphas[choice]),
                tried: alphas.iter().map(unknown).collect(),
                choice,
                held_out: Vec::new(),
            });
        };
        let tried: Vec<TriedAlpha> = alphas
            .iter()
            .zip(&answers)
            .map(|(alpha, answers)| TriedAlpha {
                alpha: *alpha,
                mean_squared_error: mean_squared_error(answers, numbers),
            })
            .collect();
        let error = |at: &usize| tried[*at].mean_squared_error;
        let choice = (0..tried.len())
            .min_by(|a, b| error(a).total_cmp(&error(b)))
            .unwrap_or(0);
        Ok(FoundRidge {
            head: problem.head(alphas[choice]),
            held_out: answers[choice].clone(),
            tried,
            choice,
        })
    }

    /// Answers `[n]` to images that were left out, for each penalty; none where that leaves nothing to learn from.
    fn held_out(
        &self,
        problem: &Problem,
        alphas: &[f64],
    ) -> Result<Option<Vec<Vec<f64>>>, TransferError> {
        let Some(groups) = &self.groups else {
            return Ok(Some(
                alphas
                    .iter()
                    .map(|alpha| problem.left_out(*alpha))
                    .collect(),
            ));
        };
        let one_class = vec![0; groups.len()];
        let parts = grouped_folds(&one_class, groups, 1, self.folds, self.seed);
        let weight = |part: &Vec<usize>| part.iter().map(|row| problem.weights[*row]).sum::<f64>();
        if parts.is_empty() || parts.iter().any(|part| weight(part) >= problem.total) {
            return Ok(None);
        }
        let mut answers = vec![vec![0.0; groups.len()]; alphas.len()];
        for part in &parts {
            problem.leave_out(part, alphas, &mut answers)?;
        }
        Ok(Some(answers))
    }

    fn check(&self, features: &Features, numbers: &[f32]) -> Result<(), TransferError> {
        check_dim("numbers", numbers.len(), features.len())?;
        if numbers.len() < 2 {
            let found = format!("{} image(s); at least two are needed", numbers.len());
            return degenerate(METHOD, found);
        }
        if let Some(number) = numbers.iter().find(|number| !number.is_finite()) {
            return degenerate(
                METHOD,
                format!("{number} is to be learned; give finite numbers"),
            );
        }
        check_penalties(METHOD, &self.penalties)?;
        if let Some(groups) = &self.groups {
            check_dim("groups of images", groups.len(), numbers.len())?;
        }
        let Some(weights) = &self.weights else {
            return Ok(());
        };
        check_dim("weights of images", weights.len(), numbers.len())?;
        let is_wrong = |weight: &f64| !weight.is_finite() || *weight < 0.0;
        let counting = weights.iter().filter(|weight| **weight > 0.0).count();
        match weights.iter().any(is_wrong) || counting < 2 {
            true => degenerate(
                METHOD,
                "weights are finite, at least 0, and two at least above".into(),
            ),
            false => Ok(()),
        }
    }
}

fn mean_squared_error(answers: &[f64], numbers: &[f32]) -> f64 {
    let squares = answers
        .iter()
        .zip(numbers)
        .map(|(answer, number)| (answer - f64::from(*number)).powi(2));
    squares.sum::<f64>() / numbers.len() as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use faer::Mat;

    use super::*;
    use crate::features::linalg::solve_positive_definite;

    fn waves(images: usize, dim: usize) -> (Features, Vec<f32>) {
        let value = |at: usize| ((at * 37 + at * at * 11 + 5) as f32 * 0.731).sin();
        let values: Vec<f32> = (0..images * dim).map(value).collect();
        let numbers = (0..images).map(|i| {
            let row = &values[i * dim..(i + 1) * dim];
            20.0 + 3.0 * row[0] - row[1] + 0.5 * value(i * 13 + 7)
        });
        let numbers = numbers.collect();
        (Features::new(values, dim).unwrap(), numbers)
    }

    /// Fits to all images but `part`, by the normal equations with a bias that is not penalised.
    fn fitted_to_others(
        (features, numbers): (&Features, &[f32]),
        weights: &[f64],
        part: &[usize],
        alpha: f64,
    ) -> Vec<f64> {
        let rest: Vec<usize> = (0..features.len()).filter(|i| !part.contains(i)).collect();
        let dim = features.dim();
        let of = |row: usize, j: usize| match j == dim {
            true => 1.0,
            false => f64::from(features.row(row)[j]),
        };
        let design = Mat::from_fn(rest.len(), dim + 1, |i, j| of(rest[i], j));
        let weighed = Mat::from_fn(rest.len(), dim + 1, |i, j| {
            weights[rest[i]] * of(rest[i], j)
        });
        let mut gram = weighed.transpose() * &design;
        (0..dim).for_each(|j| gram[(j, j)] += alpha);
        let targets = Mat::from_fn(rest.len(), 1, |i, _| f64::from(numbers[rest[i]]));
        let right = weighed.transpose() * &targets;
        let found = solve_positive_definite("test", gram.as_ref(), right.as_ref()).unwrap();
        let answer = |row: &usize| (0..=dim).map(|j| of(*row, j) * found[(j, 0)]).sum();
        part.iter().map(answer).collect()
    }

    fn weights(images: usize) -> Vec<f64> {
        (0..images).map(|i| [1.0, 0.0, 2.5][i % 3]).collect()
    }

    #[test]
    fn answers_to_images_left_out_are_those_of_heads_for_the_others() {
        for (images, dim) in [(30, 6), (12, 20)] {
            let (features, numbers) = waves(images, dim);
            for weights in [vec![1.0; images], weights(images)] {
                let search = RidgeRegression {
                    penalties: vec![0.01],
                    weights: Some(weights.clone()),
                    ..RidgeRegression::default()
                };
                let found = search.fit(&features, &numbers).unwrap();
                let alpha = found.chosen().alpha;
                for (row, answer) in found.held_out.iter().enumerate() {
                    let data = (&features, &numbers[..]);
                    let expected = fitted_to_others(data, &weights, &[row], alpha)[0];
                    assert!((answer - expected).abs() < 1e-7, "{answer} {expected}");
                }
                let error = mean_squared_error(&found.held_out, &numbers);
                assert_eq!(found.chosen().mean_squared_error, error);
            }
        }
    }

    #[test]
    fn groups_are_left_out_as_a_whole() {
        for (images, dim) in [(30, 6), (12, 20)] {
            let (features, numbers) = waves(images, dim);
            let groups: Vec<usize> = (0..images).map(|i| i / 2 % 4).collect();
            let weights = weights(images);
            let search = RidgeRegression {
                penalties: vec![0.003],
                folds: 4,
                weights: Some(weights.clone()),
                groups: Some(groups.clone()),
                ..RidgeRegression::default()
            };
            let found = search.fit(&features, &numbers).unwrap();
            for group in 0..4 {
                let part: Vec<usize> = (0..images).filter(|i| groups[*i] == group).collect();
                let data = (&features, &numbers[..]);
                let expected = fitted_to_others(data, &weights, &part, found.chosen().alpha);
                for (row, expected) in part.iter().zip(expected) {
                    let answer = found.held_out[*row];
                    assert!((answer - expected).abs() < 1e-7, "{answer} {expected}");
                }
            }
            // One group leaves nothing to learn from.
            let single = RidgeRegression {
                groups: Some(vec![0; images]),
                ..search
            };
            let found = single.fit(&features, &numbers).unwrap();
            assert!(found.held_out.is_empty() && found.chosen().mean_squared_error.is_nan());
        }
    }

    #[test]
    fn what_can_not_be_fitted_is_refused() {
        let (features, numbers) = waves(10, 3);
        let refused = |search: RidgeRegression, numbers: &[f32]| {
            let error = search.fit(&features, numbers).unwrap_err();
            error.to_string()
        };
        let plain = RidgeRegression::default;
        let mut broken = numbers.clone();
        broken[3] = f32::NAN;
        assert!(refused(plain(), &broken).contains("NaN"));
        assert!(refused(plain(), &numbers[..9]).contains('9'));
        let penalties = vec![0.1, 0.0];
        assert!(
            refused(
                RidgeRegression {
                    penalties,
                    ..plain()
                },
                &numbers
            )
            .contains("above 0")
        );
        let mut single = vec![0.0; 10];
        single[4] = 1.0;
        let weights = Some(single);
        assert!(refused(RidgeRegression { weights, ..plain() }, &numbers).contains("weights"));
        let same = Features::new(vec![1.0; 30], 3).unwrap();
        let error = plain().fit(&same, &numbers).unwrap_err().to_string();
        assert!(error.contains("all features are the same"), "{error}");
    }
}

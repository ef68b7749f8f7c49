//! Weight averaging and soups: several trained networks made into one.

use burn::module::Module;
use rekindle_weights::state_dict::{assign, collect};

use crate::TransferError;

/// Computes a network whose every weight (and running statistic) is the mean of those of `modules` (Wortsman et al.
/// 2022, <https://arxiv.org/abs/2203.05482>).
///
/// Sensible for networks that were fine-tuned from the same weights: they lie in one basin. Networks that started apart
/// average to nonsense. It costs no more to run than one of them.
///
/// # Errors
///
/// [`TransferError::Degenerate`] without modules or where their parameters differ in name or shape.
pub fn average_weights<M: Module>(modules: &[M]) -> Result<M, TransferError> {
    let Some(first) = modules.first() else {
        return Err(degenerate(
            "nothing to average; give at least one module".into(),
        ));
    };
    let mut sums: Vec<(String, Vec<usize>, Vec<f64>)> = collect(first)
        .into_iter()
        .map(|(name, tensor)| {
            let values = tensor
                .values
                .iter()
                .map(|value| f64::from(*value))
                .collect();
            (name, tensor.shape, values)
        })
        .collect();
    for module in &modules[1..] {
        let mut others = collect(module);
        for (name, shape, sum) in &mut sums {
            let Some(other) = others.remove(name).filter(|other| other.shape == *shape) else {
                return Err(degenerate(format!(
                    "not all modules have {name} of shape {shape:?}"
                )));
            };
            for (sum, value) in sum.iter_mut().zip(other.values) {
                *sum += f64::from(value);
            }
        }
    }
    let count = modules.len() as f64;
    let mut means: std::collections::HashMap<String, Vec<f32>> = sums
        .into_iter()
        .map(|(name, _, sum)| (name, sum.iter().map(|sum| (sum / count) as f32).collect()))
        .collect();
    Ok(assign(first.clone(), |name| means.remove(name)))
}

/// Result of [`greedy_soup`].
#[derive(Clone, Debug)]
pub struct Soup<M> {
    /// The mean of the ingredients.
    pub module: M,
    /// Positions of the given modules that went in, the best first.
    pub ingredients: Vec<usize>,
    /// The soup's score.
    pub score: f64,
}

/// Adds the modules one by one, the best first, and keeps each that doesn't lower the mean's score (greedy soup;
/// Wortsman et al. 2022). `score` is larger for better, on data that is held out, such as validation accuracy; it is
/// called about twice a module.
///
/// By construction no worse than the best module on that data.
///
/// # Errors
///
/// As [`average_weights`], and for a score that is NaN.
pub fn greedy_soup<M: Module>(
    modules: &[M],
    mut score: impl FnMut(&M) -> f64,
) -> Result<Soup<M>, TransferError> {
    let scores: Vec<f64> = modules.iter().map(&mut score).collect();
    if scores.iter().any(|score| score.is_nan()) {
        return Err(degenerate(
            "a score is NaN; check what scores the modules".into(),
        ));
    }
    let mut order: Vec<usize> = (0..modules.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let Some((best, others)) = order.split_first() else {
        return Err(degenerate("no modules; give at least one".into()));
    };
    let mut soup = Soup {
        module: modules[*best].clone(),
        ingredients: vec![*best],
        score: scores[*best],
    };
    for other in others {
        let ingredients: Vec<usize> = soup.ingredients.iter().chain([other]).copied().collect();
        let chosen: Vec<M> = ingredients.iter().map(|at| modules[*at].clone()).collect();
        let module = average_weights(&chosen)?;
        let score = score(&module);
        if score >= soup.score {
            soup = Soup {
                module,
                ingredients,
                score,
            };
        }
    }
    Ok(soup)
}

fn degenerate(reason: String) -> TransferError {
    TransferError::Degenerate {
        method: "weight averaging",
        reason,
    }
}

//! Runs of one strategy on several folds, as one result.

use rekindle_imagefolder::Task;
use rekindle_trainer::metrics::{Evaluation, Temperature};
use rekindle_trainer::{Predictions, TrainerError, text};
use serde::{Deserialize, Serialize};

use crate::contents::{Miss, NumbersReport, RunReport};
use crate::examine::MISTAKES;
use crate::html::{Html, class};
use crate::parts::{meter, scrolling};

/// What is compared where numbers are learned, or classes in an order.
const ERROR: &str = "mean absolute error";

/// The run on one fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldReport {
    /// The fold's name.
    pub name: String,
    /// Number of images that were learnt from.
    pub train_images: usize,
    /// The run, judged on the fold's images.
    pub run: RunReport,
}

impl FoldReport {
    /// Returns the name and the value of what is compared: accuracy, of several labels mean average precision, of numbers and of
    /// classes in an order mean absolute error.
    pub fn measure(&self) -> (&'static str, Option<f64>) {
        if let Some(mae) = self.run.best_mae().or_else(|| self.run.mae_of_order()) {
            return (ERROR, Some(mae));
        }
        match &self.run.labels {
            Some(labels) => (
                "mean average precision",
                Some(labels.mean_average_precision),
            ),
            None => ("accuracy", self.run.best_accuracy()),
        }
    }

    fn images(&self) -> Option<usize> {
        let labels = self.run.labels.as_ref().map(|found| found.samples);
        labels.or_else(|| self.run.validated_images())
    }
}

/// Mean and spread over folds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The mean.
    pub mean: f64,
    /// The standard deviation between folds, over their number minus 1; none for a single fold.
    pub deviation: Option<f64>,
    /// The least.
    pub lowest: f64,
    /// The largest.
    pub highest: f64,
}

impl Spread {
    /// Computes mean and spread; none of no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let count = values.len();
        let lowest = values.iter().copied().reduce(f64::min)?;
        let highest = values.iter().copied().reduce(f64::max)?;
        let mean = values.iter().sum::<f64>() / count as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        Some(Self {
            mean,
            deviation: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()),
            lowest,
            highest,
        })
    }
}

impl RunReport {
    /// Joins runs of one strategy on several folds. The evaluation is that of all folds' images together, each judged by the
    /// run that did not learn from it; `predictions` are the answers of each fold.
    ///
    /// # Errors
    ///
    /// [`TrainerError::InvalidPredictions`] without folds, or where predictions don't belong together.
    pub fn cross_validated(
        name: impl Into<String>,
        folds: Vec<FoldReport>,
        predictions: &[&Predictions],
    ) -> Result<Self, TrainerError> {
        let mut run = Self {
            name: name.into(),
            ..Self::default()
        };
        let Some(first) = predictions.first() else {
            return Err(TrainerError::InvalidPredictions {
                found: "no folds".into(),
                expected: "the predictions of at least one".into(),
            });
        };
        let joined = Predictions {
            probabilities: pooled(predictions, |found| &found.probabilities),
            labels: pooled(predictions, |found| &found.labels),
            targets: pooled(predictions, |found| &found.targets),
            indices: Vec::new(),
            ..(**first).clone()
        };
        let (probabilities, labels) = (&joined.probabilities, &joined.labels);
        match joined.task {
            // Thresholds differ from fold to fold; areas under curves don't ask for any.
            Task::MultiLabel => run.labels = Some(joined.multi_label(None)?),
            Task::Regression => run.numbers = Some(joined_numbers(&folds, &joined)?),
            Task::SingleLabel | Task::Ordinal => {
                run.ordinal = joined.ordinal().ok();
                let classes = joined.classes;
                run.evaluation = Some(Evaluation::from_probabilities(
                    probabilities,
                    labels,
                    classes,
                )?);
                run.temperature = Some(Temperature::fit(probabilities, labels, classes)?);
            }
        }
        if let Some(first) = folds.first() {
            run.stages.clone_from(&first.run.stages);
        }
        run.mistakes = folds
            .iter()
            .flat_map(|fold| fold.run.mistakes.clone())
            .collect();
        run.mistakes
            .sort_by(|a, b| b.confidence.total_cmp(&a.confidence));
        run.mistakes.truncate(MISTAKES);
        run.skipped = folds
            .iter()
            .flat_map(|fold| fold.run.skipped.clone())
            .collect();
        run.skipped.sort_by(|a, b| a.path.cmp(&b.path));
        run.skipped.dedup();
        run.folds = folds;
        Ok(run)
    }

    /// Returns mean and spread over the folds; none where there are no folds with a figure.
    pub fn spread(&self) -> Option<Spread> {
        let measured = self.folds.iter().filter_map(|fold| fold.measure().1);
        Spread::of(&measured.collect::<Vec<_>>())
    }
}

/// The answers of all folds, and the images that are off most among them.
fn joined_numbers(
    folds: &[FoldReport],
    joined: &Predictions,
) -> Result<NumbersReport, TrainerError> {
    let found = || folds.iter().filter_map(|fold| fold.run.numbers.as_ref());
    let mut worst: Vec<Miss> = found().flat_map(|found| found.worst.clone()).collect();
    let error = |miss: &Miss| (miss.answer - miss.truth).abs();
    worst.sort_by(|a, b| error(b).total_cmp(&error(a)));
    worst.truncate(MISTAKES);
    Ok(NumbersReport {
        name: found()
            .next()
            .map(|found| found.name.clone())
            .unwrap_or_default(),
        evaluation: joined.regression()?,
        points: found().flat_map(|found| found.points.clone()).collect(),
        worst,
    })
}

fn pooled<T: Copy>(predictions: &[&Predictions], of: fn(&Predictions) -> &Vec<T>) -> Vec<T> {
    let values = predictions.iter().flat_map(|found| of(found).iter());
    values.copied().collect()
}

/// Draws the folds of a cross-validated run; nothing of another.
pub(crate) fn draw(html: &mut Html, run: &RunReport) {
    let (Some(spread), Some(first)) = (run.spread(), run.folds.first()) else {
        return;
    };
    let (measure, _) = first.measure();
    let shown = |value: f64| match measure {
        "accuracy" => text::percent(value),
        ERROR => text::figure(value),
        _ => format!("{value:.3}"),
    };
    html.leaf("h3", &[], "Fold by fold");
    let deviation = spread.deviation.map_or_else(String::new, |deviation| {
        format!(", standard deviation {}", shown(deviation))
    });
    let said = format!(
        "{} folds: mean {measure} {}{deviation}, from {} to {}. Each image was judged by the run that did not learn from it.",
        run.folds.len(),
        shown(spread.mean),
        shown(spread.lowest),
        shown(spread.highest)
    );
    html.leaf("p", &[], &said);
    scrolling(html, |html| table(html, run, measure, &shown));
}

fn table(html: &mut Html, run: &RunReport, measure: &str, shown: &dyn Fn(f64) -> String) {
    html.node("table", &[class("wide folds")], |html| {
        html.node("thead", &[], |html| {
            html.node("tr", &[], |html| {
                html.leaf("th", &[], "fold");
                html.leaf("th", &[class("bar-column")], measure);
                for column in [
                    if measure == ERROR {
                        "loss"
                    } else {
                        "cross entropy"
                    },
                    "learnt from",
                    "judged",
                    "best epoch",
                    "time",
                ] {
                    html.leaf("th", &[class("number")], column);
                }
            });
        });
        html.node("tbody", &[], |html| {
            for fold in &run.folds {
                row(html, fold, shown);
            }
        });
    });
}

fn row(html: &mut Html, fold: &FoldReport, shown: &dyn Fn(f64) -> String) {
    let count = |count: usize| text::count(count);
    let or_dash = |cell: Option<String>| cell.unwrap_or_else(|| "–".into());
    html.node("tr", &[], |html| {
        html.node("td", &[class("name")], |html| html.name(&fold.name));
        html.node("td", &[class("bar-column")], |html| match fold.measure() {
            (ERROR, Some(value)) => html.text(&shown(value)),
            (_, Some(value)) => meter(html, "accent", value, &shown(value)),
            (_, None) => html.text("–"),
        });
        let outcome = fold.run.outcome.as_ref();
        let epoch = outcome.and_then(|outcome| outcome.best_epoch);
        for cell in [
            or_dash(fold.run.best_loss().map(text::loss)),
            count(fold.train_images),
            or_dash(fold.images().map(count)),
            or_dash(
                epoch
                    .filter(|epoch| *epoch > 0)
                    .map(|epoch| epoch.to_string()),
            ),
            text::duration(fold.run.seconds()),
        ] {
            html.leaf("td", &[class("number")], &cell);
        }
    });
}

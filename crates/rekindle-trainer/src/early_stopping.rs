//! Finds the best epoch, and stops a run when no better one comes.

use rekindle_imagefolder::Task;
use serde::{Deserialize, Serialize};

/// The figure on the validation set that decides which epoch is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Monitor {
    /// Share of right answers; higher is better.
    #[default]
    Accuracy,
    /// Mean loss; lower is better.
    Loss,
    /// Mean of every class's F1; higher is better. Rare classes count as much as frequent ones.
    MacroF1,
    /// Mean over the classes of the share of each one's images that are named right (recall); higher is better. Accuracy as if
    /// all classes were of one size.
    BalancedAccuracy,
    /// Mean of every label's average precision; higher is better. For pictures with several labels.
    MeanAveragePrecision,
    /// Agreement with the true classes beyond chance, weighted by the squared distance; higher is better. For classes in an order.
    QuadraticWeightedKappa,
    /// Mean absolute error; lower is better. For numbers, and for classes in an order, whose distance is counted in classes.
    Mae,
    /// Root of the mean squared error; lower is better. For numbers.
    Rmse,
}

impl Monitor {
    /// Returns true if `value` beats `best` by more than `min_delta`. A value that isn't a number never does.
    pub fn improves(self, value: f64, best: f64, min_delta: f64) -> bool {
        match self {
            Self::Accuracy
            | Self::MacroF1
            | Self::BalancedAccuracy
            | Self::MeanAveragePrecision
            | Self::QuadraticWeightedKappa => value > best + min_delta,
            Self::Loss | Self::Mae | Self::Rmse => value < best - min_delta,
        }
    }

    /// Returns its name for use in a sentence.
    pub fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
            Self::Loss => "loss",
            Self::MacroF1 => "macro F1",
            Self::BalancedAccuracy => "balanced accuracy",
            Self::MeanAveragePrecision => "mean average precision",
            Self::QuadraticWeightedKappa => "quadratic weighted kappa",
            Self::Mae => "MAE",
            Self::Rmse => "RMSE",
        }
    }

    /// Returns the figure that is watched where nothing else is asked for.
    pub fn of_task(task: Task) -> Self {
        match task {
            Task::SingleLabel => Self::Accuracy,
            Task::MultiLabel => Self::MeanAveragePrecision,
            Task::Ordinal | Task::Regression => Self::Mae,
        }
    }

    /// Returns true if the answers of a task have this figure.
    pub fn is_of(self, task: Task) -> bool {
        match self {
            Self::Loss => true,
            Self::Accuracy | Self::MacroF1 => task != Task::Regression,
            Self::BalancedAccuracy => task.is_single_label(),
            Self::MeanAveragePrecision => task == Task::MultiLabel,
            Self::QuadraticWeightedKappa => task == Task::Ordinal,
            Self::Mae => matches!(task, Task::Ordinal | Task::Regression),
            Self::Rmse => task == Task::Regression,
        }
    }
}

/// Stop when the monitored figure hasn't improved for some epochs (Prechelt, "Early Stopping — But
/// When?", 1998).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStopping {
    /// The figure to watch.
    #[serde(default)]
    pub monitor: Monitor,
    /// Epochs in a row without improvement after which training stops, at least 1.
    pub patience: usize,
    /// An improvement counts only if it is larger than this, at least 0.
    #[serde(default)]
    pub min_delta: f64,
}

impl EarlyStopping {
    /// Watches the validation accuracy for `patience` epochs.
    pub fn new(patience: usize) -> Self {
        Self::of(Monitor::Accuracy, patience)
    }

    /// Watches `monitor` for `patience` epochs.
    pub fn of(monitor: Monitor, patience: usize) -> Self {
        Self {
            monitor,
            patience,
            min_delta: 0.0,
        }
    }
}

/// The best epoch so far; belongs into a checkpoint, so that a resumed run remembers it.
///
/// ```
/// use rekindle_trainer::{BestEpoch, EarlyStopping};
///
/// let stopping = EarlyStopping::new(2);
/// let mut best = BestEpoch::new(stopping.monitor, stopping.min_delta);
/// assert!(best.observe(1, 0.90, 0.31));
/// // The same accuracy at a lower loss is better, but no reason to go on.
/// assert!(best.observe(2, 0.90, 0.27));
/// assert!(!best.should_stop(&stopping));
/// assert!(!best.observe(3, 0.88, 0.25));
/// assert!(best.should_stop(&stopping));
/// assert_eq!(best.epoch(), Some(2));
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BestEpoch {
    monitor: Monitor,
    min_delta: f64,
    #[serde(with = "exact")]
    best: Option<Best>,
    epochs_since: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Best {
    epoch: usize,
    value: f64,
    loss: f64,
}

impl BestEpoch {
    /// Begins before the first epoch. `min_delta` is 0 where every improvement counts.
    pub fn new(monitor: Monitor, min_delta: f64) -> Self {
        Self {
            monitor,
            min_delta,
            best: None,
            epochs_since: 0,
        }
    }

    /// Takes an epoch's figure and its loss, and says whether it is the new best. Of equal figures the one with the
    /// lower loss is better, else the first; patience is only renewed by a better figure.
    pub fn observe(&mut self, epoch: usize, value: f64, loss: f64) -> bool {
        let improved = match self.best {
            None => !value.is_nan(),
            Some(best) => self.monitor.improves(value, best.value, self.min_delta),
        };
        self.epochs_since = if improved { 0 } else { self.epochs_since + 1 };
        let wins_tie = self
            .best
            .is_some_and(|best| value == best.value && loss < best.loss);
        if improved || wins_tie {
            self.best = Some(Best { epoch, value, loss });
        }
        improved || wins_tie
    }

    /// Takes the best epoch's figure and loss on other images than before, so that later epochs are compared by the same.
    pub(crate) fn measured_again(&mut self, value: f64, loss: f64) {
        self.best = self.best.map(|best| Best {
            value,
            loss,
            ..best
        });
    }

    /// Returns true where the patience is used up.
    pub fn should_stop(&self, stopping: &EarlyStopping) -> bool {
        self.epochs_since >= stopping.patience.max(1)
    }

    /// Returns the best epoch's number, as handed to [`observe`](Self::observe).
    pub fn epoch(&self) -> Option<usize> {
        self.best.map(|best| best.epoch)
    }

    /// Returns the best epoch's figure.
    pub fn value(&self) -> Option<f64> {
        self.best.map(|best| best.value)
    }

    /// Epochs observed since the figure last improved.
    pub fn epochs_since(&self) -> usize {
        self.epochs_since
    }

    /// Returns the figure being watched.
    pub fn monitor(&self) -> Monitor {
        self.monitor
    }
}

/// The figures as text: readers of JSON numbers may be off by the last bit, and then an equal epoch
/// of a resumed run would count as better.
mod exact {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Best;

    /// Checkpoints from before ties were broken hold no loss.
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        WithLoss(usize, String, String),
        WithoutLoss(usize, String),
    }

    pub(super) fn serialize<S: Serializer>(
        best: &Option<Best>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let text = best.map(|best| (best.epoch, best.value.to_string(), best.loss.to_string()));
        text.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Best>, D::Error> {
        let number = |text: String| text.parse().map_err(D::Error::custom);
        let text: Option<Text> = Deserialize::deserialize(deserializer)?;
        text.map(|text| {
            let (epoch, value, loss) = match text {
                Text::WithLoss(epoch, value, loss) => (epoch, value, number(loss)?),
                Text::WithoutLoss(epoch, value) => (epoch, value, f64::NAN),
            };
            Ok(Best {
                epoch,
                value: number(value)?,
                loss,
            })
        })
        .transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_loss_must_fall_by_more_than_min_delta() {
        let mut best = BestEpoch::new(Monitor::Loss, 0.1);
        let improved: Vec<bool> = [1.0, 0.95, 0.85, 0.80, 0.74]
            .iter()
            .enumerate()
            .map(|(epoch, &loss)| best.observe(epoch + 1, loss, loss))
            .collect();
        assert_eq!(improved, [true, false, true, false, true]);
        assert_eq!((best.epoch(), best.value()), (Some(5), Some(0.74)));
    }

    #[test]
    fn a_loss_that_is_no_number_uses_up_patience_and_is_never_best() {
        let stopping = EarlyStopping {
            monitor: Monitor::Loss,
            patience: 2,
            min_delta: 0.0,
        };
        let mut best = BestEpoch::new(stopping.monitor, stopping.min_delta);
        assert!(!best.observe(1, f64::NAN, f64::NAN));
        assert!(best.observe(2, 3.0, 3.0));
        assert!(!best.observe(3, f64::NAN, f64::NAN));
        assert!(!best.should_stop(&stopping));
        assert!(!best.observe(4, f64::NAN, f64::NAN));
        assert!(best.should_stop(&stopping));
        assert_eq!(best.value(), Some(3.0));
    }

    #[test]
    fn a_restored_state_waits_only_for_the_rest_of_its_patience() {
        let stopping = EarlyStopping::new(3);
        let mut best = BestEpoch::new(stopping.monitor, stopping.min_delta);
        best.observe(1, 0.9, 0.3);
        best.observe(2, 0.8, 0.3);
        let stored = serde_json::to_string(&best).unwrap();
        let mut best: BestEpoch = serde_json::from_str(&stored).unwrap();
        best.observe(3, 0.8, 0.3);
        assert!(!best.should_stop(&stopping));
        best.observe(4, 0.9, 0.3);
        assert!(best.should_stop(&stopping));
    }

    #[test]
    fn a_restored_best_is_not_beaten_by_its_equal() {
        for value in [0.6 - 0.2, 1.0 / 3.0, 144.0 / 153.0, 5e-324] {
            let mut best = BestEpoch::new(Monitor::Accuracy, 0.0);
            best.observe(1, value, value);
            let stored = serde_json::to_string(&best).unwrap();
            let mut best: BestEpoch = serde_json::from_str(&stored).unwrap();
            assert!(!best.observe(2, value, value), "{value}");
            assert!(best.observe(3, value, value.next_down()), "{value}");
        }
    }

    /// Checks the definition: the highest value, of these the lowest loss, of these the first.
    #[test]
    fn ties_go_to_the_lower_loss() {
        let epochs = [
            (0.90, 0.40),
            (0.95, 0.30),
            (0.95, 0.20),
            (0.94, 0.10),
            (0.95, 0.20),
            (0.95, 0.25),
        ];
        let mut best = BestEpoch::new(Monitor::Accuracy, 0.0);
        let told: Vec<bool> = epochs
            .iter()
            .enumerate()
            .map(|(at, (accuracy, loss))| best.observe(at + 1, *accuracy, *loss))
            .collect();
        assert_eq!(told, [true, true, true, false, false, false]);
        assert_eq!((best.epoch(), best.epochs_since()), (Some(3), 4));
    }

    #[test]
    fn a_best_epoch_that_was_kept_without_its_loss_is_read() {
        let text = r#"{"monitor":"accuracy","min_delta":0.0,"best":[4,"0.9375"],"epochs_since":2}"#;
        let mut best: BestEpoch = serde_json::from_str(text).unwrap();
        assert_eq!((best.epoch(), best.value()), (Some(4), Some(0.9375)));
        assert!(!best.observe(7, 0.9375, 0.1));
    }
}

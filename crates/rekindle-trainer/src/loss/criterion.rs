//! Losses that users write.

use burn::prelude::*;

use super::{Loss, Targets};

/// A loss of your own, for [`Trainer::criterion`](crate::Trainer::criterion) and
/// [`Learner::with_criterion`](crate::Learner::with_criterion).
///
/// ```
/// use burn::prelude::*;
/// use burn::tensor::activation::softmax;
/// use rekindle_trainer::loss::{Criterion, Targets};
///
/// /// The squared distance between probabilities and the true class (Brier 1950).
/// struct Brier;
///
/// impl Criterion for Brier {
///     fn name(&self) -> String {
///         "brier".into()
///     }
///
///     fn value(&self, outputs: Tensor<2>, targets: &Targets, smoothing: f64) -> Tensor<1> {
///         let wanted = targets.tensor(&outputs, smoothing);
///         let distance = softmax(outputs, 1) - wanted;
///         distance.square().sum_dim(1).mean()
///     }
/// }
///
/// let outputs = Tensor::<2>::from_data([[0.0f32, 0.0], [0.0, 0.0]], &Device::flex());
/// let targets = Targets { labels: vec![0, 1], ..Targets::default() };
/// assert_eq!(Brier.value(outputs, &targets, 0.0).into_scalar::<f32>(), 0.5);
/// ```
pub trait Criterion: Send + Sync {
    /// Returns a name that says the settings too, for the record of a run: one that was begun with another is not resumed.
    fn name(&self) -> String;

    /// Computes the loss of outputs `[n, classes]` as a scalar `[1]` that gradients flow through: for most purposes the mean
    /// over the images. `smoothing` is the recipe's.
    fn value(&self, outputs: Tensor<2>, targets: &Targets, smoothing: f64) -> Tensor<1>;
}

impl Criterion for Loss {
    fn name(&self) -> String {
        self.to_string()
    }

    fn value(&self, outputs: Tensor<2>, targets: &Targets, smoothing: f64) -> Tensor<1> {
        Loss::value(*self, outputs, targets, smoothing)
    }
}

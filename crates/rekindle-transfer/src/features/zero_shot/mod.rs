//! Classes without a single image, known by a description.

mod attribute_prediction;
mod attributes;
mod conse;
mod eszsl;
mod evaluation;

pub use attribute_prediction::DirectAttributePrediction;
pub use attributes::{AttributeTable, ClassSplit};
pub use conse::Conse;
pub use eszsl::{Eszsl, EszslMap};
pub use evaluation::{GeneralizedAccuracy, mean_class_accuracy};

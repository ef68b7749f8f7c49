//! Classes without a single image, known by a description.

mod attribute_prediction;
mod attributes;
mod calibrated_stacking;
mod conse;
mod eszsl;
mod evaluation;
mod text_classes;
mod visual_exemplars;

pub use attribute_prediction::DirectAttributePrediction;
pub use attributes::{AttributeTable, ClassSplit};
pub use calibrated_stacking::{CalibratedStacking, GeneralizedScores};
pub use conse::Conse;
pub use eszsl::{Eszsl, EszslMap};
pub use evaluation::{GeneralizedAccuracy, mean_class_accuracy};
pub use text_classes::{TextClasses, TipAdapter};
pub use visual_exemplars::{ExemplarMap, VisualExemplars};

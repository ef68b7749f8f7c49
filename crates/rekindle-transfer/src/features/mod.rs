//! Work on features that are computed once and kept.

mod cache;
mod category_relationship;
mod lbfgs;
mod logistic_regression;
mod prior_probe;
mod table;

pub use cache::{CacheKey, FeatureCache, Row};
pub use category_relationship::{CategoryRelationship, mix_heads};
pub use logistic_regression::LogisticRegression;
pub use prior_probe::{FittedProbe, PriorProbe};
pub use table::{Features, LinearHead};

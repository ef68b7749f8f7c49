//! Using the unlabelled target images themselves, all at once.

mod domain_statistics;
mod graph;
mod label_propagation;
mod prototype_refinement;

pub use domain_statistics::DomainStatistics;
pub use graph::NeighborGraph;
pub use label_propagation::LabelPropagation;
pub use prototype_refinement::{PrototypeRefinement, RefinedPrototypes};

//! Source and target in different feature spaces.

mod cca;
mod manifold_alignment;

pub use cca::{CanonicalMaps, Cca};
pub use manifold_alignment::{AlignedManifolds, ManifoldAlignment};

//! Feature spaces of two domains brought together: asymmetric (the source mapped onto the target) and
//! symmetric (both into a shared space). None of them sees a label.

mod coral;
mod subspace_alignment;
mod tca;

pub use coral::{Coral, CoralMap};
pub use subspace_alignment::{AlignedSubspaces, SubspaceAlignment};
pub use tca::{Kernel, Tca, TransferComponents};

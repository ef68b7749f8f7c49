//! Finding groups in features without any label, and comparing them with labels afterwards.

mod k_means;
mod pca;
mod scores;

pub use k_means::{Clusters, KMeans};
pub use pca::{Pca, PrincipalComponents};
pub use scores::{adjusted_rand_index, normalized_mutual_information};

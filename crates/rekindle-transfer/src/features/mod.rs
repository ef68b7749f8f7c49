//! Methods on features that are computed once and cached.

mod alignment;
mod audit;
mod cache;
mod category_relationship;
mod clustering;
mod few_shot;
mod held_out;
mod heterogeneous;
mod instance;
mod lbfgs;
pub(crate) mod linalg;
mod logistic_regression;
mod one_vs_rest;
mod open_set;
mod prior_probe;
mod probe_search;
mod ridge;
pub(crate) mod table;
mod transductive;
mod zero_shot;

pub use alignment::{
    AlignedSubspaces, Coral, CoralMap, Kernel, SubspaceAlignment, Tca, TransferComponents,
};
pub use audit::{
    ConfidentLearning, FoundLabelErrors, HeldOutAnswers, HeldOutRidge, LabelErrors, LabelIssue,
    Neighbor, NeighborIndex, NeighborSearch, PruneBy, nearest_neighbors, outlier_scores,
};
pub use cache::{
    CacheKey, FeatureCache, MergedCaches, MergedRows, RefusedChunk, Row, RowPlace, merge_caches,
};
pub use category_relationship::{CategoryRelationship, mix_heads};
pub use clustering::{
    Clusters, KMeans, Pca, PrincipalComponents, adjusted_rand_index, normalized_mutual_information,
};
pub use few_shot::{
    Distance, Episode, EpisodeSampler, Matching, MeanAccuracy, Prototypes, SimpleShot,
};
pub use held_out::{grouped_folds, stratified_folds, stratified_order};
pub use heterogeneous::{AlignedManifolds, CanonicalMaps, Cca, ManifoldAlignment};
pub use instance::{
    BoostedHeads, DensityRatio, Kliep, KliepWeights, Kmm, TrAdaBoost, effective_sample_size,
    median_squared_distance,
};
pub use logistic_regression::LogisticRegression;
pub use one_vs_rest::{FoundOneVsRest, OneVsRest, TriedPenalty};
pub use open_set::{
    FoundUnknownScore, Mahalanobis, NearestKnown, OpenSetSearch, ScoredUnknown, UnknownDetector,
    UnknownScore, auroc, energy, false_positive_rate, max_probability,
};
pub use prior_probe::{FittedProbe, PriorProbe};
pub use probe_search::{FoundProbe, ProbeKind, ProbeSearch, ScoredProbe};
pub use ridge::{FoundRidge, RidgeRegression, TriedAlpha};
pub use table::{Features, LinearHead, accuracy, argmax_rows};
pub use transductive::{
    DomainStatistics, LabelPropagation, NeighborGraph, PrototypeRefinement, RefinedPrototypes,
};
pub use zero_shot::{
    AttributeTable, CalibratedStacking, ClassSplit, Conse, DirectAttributePrediction, Eszsl,
    EszslMap, ExemplarMap, GeneralizedAccuracy, GeneralizedScores, TextClasses, TipAdapter,
    VisualExemplars, mean_class_accuracy,
};

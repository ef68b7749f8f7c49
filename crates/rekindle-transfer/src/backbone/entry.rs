//! Names the places at which a tensor enters a classifier.

/// A place between the parts of a network, in the order of a forward pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entry {
    /// In front of the stage with this index, or of the pooling if the index is the number of stages. Stage 0
    /// takes images.
    Stage(usize),
    /// In front of the head: pooled features, as `[batch, num_features, 1, 1]` where a tensor of four dimensions is asked for.
    Head,
}

impl Entry {
    /// In front of everything.
    pub const IMAGES: Self = Self::Stage(0);

    /// Returns true if images enter here.
    pub fn takes_images(self) -> bool {
        self == Self::IMAGES
    }
}

//! Options that every model has.

/// Options of a model. The default is the published network's.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// Number of classes; 0 builds no classifier, and the network gives features. 1000 by default.
    pub classes: usize,
    /// Channels of the images: 3, for RGB, by default.
    pub in_channels: usize,
    /// Rate of the dropout in front of the classifier; by default the published one.
    pub drop_rate: Option<f64>,
    /// Rate of the drop path at the last block, growing linearly from 0 at the first; by default the published one.
    pub drop_path_rate: Option<f64>,
    /// Rows and columns of the patches that a transformer has positions for; by default those of its published images, and
    /// for DINOv2 those of 224 pixels.
    pub position_grid: Option<[usize; 2]>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            classes: 1000,
            in_channels: 3,
            drop_rate: None,
            drop_path_rate: None,
            position_grid: None,
        }
    }
}

impl Options {
    /// Returns the published network's options for another number of classes.
    pub fn with_classes(classes: usize) -> Self {
        Self {
            classes,
            ..Self::default()
        }
    }
}

//! A pooled layer on the kernels, such as a stem: convolution, normalisation, ReLU and max pooling.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, Gate, Isa, KernelError, Statistics, max_pool, max_pool_gradient,
};

use super::layer::{Gradients, Incoming, Input, Layer, Saved, Wanted, Weights};

/// Max pooling behind a layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pooling {
    pub window: usize,
    pub stride: usize,
    pub padding: usize,
}

impl Pooling {
    /// That of a ResNet's stem.
    pub const STEM: Self = Self {
        window: 3,
        stride: 2,
        padding: 1,
    };
    /// Windows of 2 x 2 side by side.
    pub const HALVING: Self = Self {
        window: 2,
        stride: 2,
        padding: 0,
    };
}

/// What the stem's backward pass needs.
#[derive(Clone, Debug)]
pub(crate) struct SavedStem {
    layer: Saved,
    pooled: Arc<Activation>,
}

impl SavedStem {
    /// The batch's statistics.
    pub fn statistics(&self) -> &Statistics {
        &self.layer.statistics
    }
}

/// The pooled layer's output, and what a backward pass needs.
pub(crate) fn forward(
    layer: &Layer,
    weights: Weights<'_>,
    images: Input<'_>,
    pooling: Pooling,
) -> Result<(Arc<Activation>, SavedStem), KernelError> {
    let (x, saved) = layer.forward(weights, images, None, true)?;
    let pooled = Arc::new(pool(&x, pooling)?);
    let saved = SavedStem {
        layer: saved,
        pooled: Arc::clone(&pooled),
    };
    Ok((pooled, saved))
}

/// As [`forward`] where no backward pass follows.
pub(crate) fn infer(
    layer: &Layer,
    weights: Weights<'_>,
    images: Input<'_>,
    pooling: Pooling,
) -> Result<(Activation, Option<Statistics>), KernelError> {
    let (x, statistics) = layer.infer(weights, images, None, true)?;
    Ok((pool(&x, pooling)?, statistics))
}

/// Gradients for `dy`, the gradient by the pooled output.
pub(crate) fn backward(
    layer: &Layer,
    weights: Weights<'_>,
    images: Input<'_>,
    saved: &SavedStem,
    pooling: Pooling,
    dy: &Activation,
    wanted: Wanted,
) -> Result<Gradients, KernelError> {
    let isa = Isa::detect();
    // Computed again: kept, it would be the largest activation of the network.
    let Saved { conv, statistics } = &saved.layer;
    let x = weights.norm().forward(isa, conv, statistics, None, true)?;
    let Pooling {
        window,
        stride,
        padding,
    } = pooling;
    let dy = max_pool_gradient(isa, &x, &saved.pooled, dy, window, stride, padding)?;
    drop(x);
    let incoming = Incoming {
        dy,
        gate: Gate::Relu,
        add: None,
    };
    layer.backward(weights, images, &saved.layer, incoming, wanted)
}

fn pool(x: &Activation, pooling: Pooling) -> Result<Activation, KernelError> {
    let Pooling {
        window,
        stride,
        padding,
    } = pooling;
    max_pool(Isa::detect(), x, window, stride, padding)
}

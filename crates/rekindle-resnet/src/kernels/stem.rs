//! The stem on the kernels: convolution, normalisation, ReLU and max pooling.

use std::sync::Arc;

use rekindle_kernels::{
    Activation, Gate, Isa, KernelError, Statistics, max_pool, max_pool_gradient,
};

use super::layer::{Gradients, Incoming, Input, Layer, Saved, Wanted, Weights};

/// Window, stride and padding of the stem's pooling.
const POOL: [usize; 3] = [3, 2, 1];

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

/// Images to activations a quarter as high and wide, and what a backward pass needs.
pub(crate) fn forward(
    layer: &Layer,
    weights: Weights<'_>,
    images: Input<'_>,
) -> Result<(Arc<Activation>, SavedStem), KernelError> {
    let (x, saved) = layer.forward(weights, images, None, true)?;
    let pooled = Arc::new(pool(&x)?);
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
) -> Result<(Activation, Option<Statistics>), KernelError> {
    let (x, statistics) = layer.infer(weights, images, None, true)?;
    Ok((pool(&x)?, statistics))
}

/// Gradients for `dy`, the gradient by the pooled output.
pub(crate) fn backward(
    layer: &Layer,
    weights: Weights<'_>,
    images: Input<'_>,
    saved: &SavedStem,
    dy: &Activation,
    wanted: Wanted,
) -> Result<Gradients, KernelError> {
    let isa = Isa::detect();
    // Computed again: kept, it would be the largest activation of the network.
    let Saved { conv, statistics } = &saved.layer;
    let x = weights.norm().forward(isa, conv, statistics, None, true)?;
    let [kernel, stride, padding] = POOL;
    let dy = max_pool_gradient(isa, &x, &saved.pooled, dy, kernel, stride, padding)?;
    drop(x);
    let incoming = Incoming {
        dy,
        gate: Gate::Relu,
        add: None,
    };
    layer.backward(weights, images, &saved.layer, incoming, wanted)
}

fn pool(x: &Activation) -> Result<Activation, KernelError> {
    let [kernel, stride, padding] = POOL;
    max_pool(Isa::detect(), x, kernel, stride, padding)
}

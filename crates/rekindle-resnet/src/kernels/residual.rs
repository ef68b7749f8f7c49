//! A residual block on the kernels, forward and backward.

use std::sync::Arc;

use rekindle_kernels::{Activation, Gate, KernelError, Statistics};

use super::layer::{Gradients, Incoming, Input, Layer, Saved, Wanted, Weights};

/// The layers of a block: two or three in a row and, where the shapes differ, one beside them.
#[derive(Clone, Debug)]
pub(crate) struct ResidualBlock {
    pub main: Vec<Layer>,
    pub downsample: Option<Layer>,
}

/// What a block's backward pass needs.
#[derive(Clone, Debug)]
pub(crate) struct SavedBlock {
    main: Vec<Saved>,
    /// Outputs of all layers in the row but the last.
    inner: Vec<Arc<Activation>>,
    downsample: Option<Saved>,
    output: Arc<Activation>,
}

/// Which gradients of a block somebody waits for.
pub(crate) struct WantedOfBlock {
    pub input: bool,
    /// Of the convolutions' weights, in the order of the layers.
    pub weights: Vec<bool>,
}

/// Gradients of a block.
pub(crate) struct BlockGradients {
    pub input: Option<Activation>,
    /// In the order of the layers, the one beside last.
    pub layers: Vec<Gradients>,
}

impl SavedBlock {
    /// The statistics that each layer normalised by, the one beside last.
    pub fn statistics(&self) -> impl Iterator<Item = &Statistics> {
        let saved = self.main.iter().chain(&self.downsample);
        saved.map(|saved| &saved.statistics)
    }
}

impl ResidualBlock {
    pub fn in_channels(&self) -> usize {
        self.main.first().map_or(0, |layer| layer.conv.in_channels)
    }

    pub fn out_channels(&self) -> usize {
        self.main.last().map_or(0, |layer| layer.conv.out_channels)
    }

    /// All layers, the one beside last: the order of weights.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.main.iter().chain(&self.downsample)
    }

    /// The block's output and what a backward pass needs.
    pub fn forward(
        &self,
        weights: &[Weights<'_>],
        x: &Activation,
    ) -> Result<(Arc<Activation>, SavedBlock), KernelError> {
        let beside = match &self.downsample {
            Some(layer) => {
                let weights = weights[self.main.len()];
                Some(layer.forward(weights, Input::Blocked(x), None, false)?)
            }
            None => None,
        };
        let identity = beside.as_ref().map_or(x, |(identity, _)| identity);
        let mut inner: Vec<Arc<Activation>> = Vec::new();
        let mut main = Vec::new();
        for (layer, weights) in self.main.iter().zip(weights) {
            let input = Input::Blocked(inner.last().map_or(x, Arc::as_ref));
            let residual = (main.len() + 1 == self.main.len()).then_some(identity);
            let (output, saved) = layer.forward(*weights, input, residual, true)?;
            inner.push(Arc::new(output));
            main.push(saved);
        }
        let output = inner.pop().ok_or_else(without_layers)?;
        let saved = SavedBlock {
            main,
            inner,
            downsample: beside.map(|(_, saved)| saved),
            output: Arc::clone(&output),
        };
        Ok((output, saved))
    }

    /// The block's output and each layer's statistics of the batch, where it took them.
    pub fn infer(
        &self,
        weights: &[Weights<'_>],
        x: &Activation,
    ) -> Result<(Activation, Vec<Option<Statistics>>), KernelError> {
        let beside = match &self.downsample {
            Some(layer) => {
                let weights = weights[self.main.len()];
                Some(layer.infer(weights, Input::Blocked(x), None, false)?)
            }
            None => None,
        };
        let identity = beside.as_ref().map_or(x, |(identity, _)| identity);
        let mut last: Option<Activation> = None;
        let mut statistics = Vec::new();
        for (layer, weights) in self.main.iter().zip(weights) {
            let input = Input::Blocked(last.as_ref().unwrap_or(x));
            let residual = (statistics.len() + 1 == self.main.len()).then_some(identity);
            let (output, found) = layer.infer(*weights, input, residual, true)?;
            last = Some(output);
            statistics.push(found);
        }
        statistics.extend(beside.map(|(_, found)| found));
        Ok((last.ok_or_else(without_layers)?, statistics))
    }

    /// Gradients for `dy`, the gradient by the output. What was saved is given up layer by layer.
    pub fn backward(
        &self,
        weights: &[Weights<'_>],
        x: &Activation,
        saved: SavedBlock,
        dy: Activation,
        wanted: &WantedOfBlock,
    ) -> Result<BlockGradients, KernelError> {
        let SavedBlock {
            main,
            mut inner,
            downsample,
            output,
        } = saved;
        let count = self.main.len();
        let mut layers = Vec::with_capacity(count + 1);
        let (mut dy, mut identity, mut output) = (Some(dy), None, Some(output));
        let mut beside = None;
        for (index, saved) in main.into_iter().enumerate().rev() {
            let input = inner.pop();
            let last = output.take();
            let incoming = Incoming {
                dy: dy.take().ok_or_else(without_layers)?,
                gate: last.as_deref().map_or(Gate::Relu, Gate::Output),
                add: if index == 0 { identity.as_ref() } else { None },
            };
            let mut gradients = self.main[index].backward(
                weights[index],
                Input::Blocked(input.as_deref().unwrap_or(x)),
                &saved,
                incoming,
                Wanted {
                    input: index > 0 || wanted.input,
                    weight: wanted.weights[index],
                    residual: index + 1 == count && (wanted.input || self.downsample.is_some()),
                },
            )?;
            drop(saved);
            dy = gradients.input.take();
            if index + 1 == count {
                identity = gradients.residual.take();
                if let (Some(layer), Some(saved)) = (&self.downsample, &downsample) {
                    let incoming = Incoming {
                        dy: identity.take().ok_or_else(without_layers)?,
                        gate: Gate::None,
                        add: None,
                    };
                    let mut found = layer.backward(
                        weights[count],
                        Input::Blocked(x),
                        saved,
                        incoming,
                        Wanted {
                            input: wanted.input,
                            weight: wanted.weights[count],
                            residual: false,
                        },
                    )?;
                    identity = found.input.take();
                    beside = Some(found);
                }
            }
            layers.push(gradients);
        }
        layers.reverse();
        layers.extend(beside);
        Ok(BlockGradients { input: dy, layers })
    }
}

fn without_layers() -> KernelError {
    KernelError::InvalidLayer("a residual block needs at least one layer, found none".into())
}

//! Weights packed for the direct algorithm.

use crate::buffer::Buffer;
use crate::dispatch::Kernels;
use crate::filters::Filters;
use crate::isa::Isa;
use crate::line::Line;
use crate::params::Conv2dParams;
use crate::weights::Layout;

/// Weights packed for the direct algorithm.
#[derive(Clone, Debug)]
pub(crate) struct Direct {
    pub params: Conv2dParams,
    pub layout: Layout,
    pub weights: Buffer,
    pub bias: Vec<Line>,
}

impl Direct {
    pub fn pack(
        isa: Isa,
        params: &Conv2dParams,
        filters: Filters<'_>,
        scale_shift: Option<(&[f32], &[f32])>,
    ) -> Self {
        let layout = Layout::new(params, Kernels::of(isa).nr, 1);
        Self {
            params: *params,
            weights: layout.pack(Kernels::of(isa), filters, scale_shift.map(|s| s.0)),
            layout,
            bias: Line::of_channels(params.out_channels, scale_shift.map(|s| s.1)),
        }
    }

    pub fn is_planar(&self) -> bool {
        self.layout.planar
    }

    pub fn bytes(&self) -> usize {
        size_of_val(self.weights.lines()) + size_of_val(self.bias.as_slice())
    }
}

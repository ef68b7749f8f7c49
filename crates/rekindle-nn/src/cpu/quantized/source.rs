//! Holds the source that stages are quantised from: their nodes, and their weights at the time.

use std::sync::Arc;

use rekindle_kernels::Statistics;

use crate::cpu::error::NoKernel;
use crate::cpu::lower::{Purpose, lower};
use crate::cpu::parameters::read;
use crate::cpu::program::Program;
use crate::cpu::weights::Weights;
use crate::graph::{Graph, Segment};
use crate::network::Network;
use crate::shape::Shape;

/// The first stages of a network with their weights.
pub(super) struct Source {
    graph: Arc<Graph>,
    segment: Segment,
    /// Weights in the order of the program's tensors, which is independent of the images' size.
    pub weights: Weights,
    /// Running statistics that each step normalises by.
    pub running: Vec<Option<Statistics>>,
}

impl Source {
    /// Takes the first `stages` stages as they are for images of this height and width.
    pub fn new(network: &Network, stages: usize, size: [usize; 2]) -> Result<Self, NoKernel> {
        let graph = Arc::clone(&network.graph);
        let segment = graph.segment(graph.stage_nodes(0..stages)?)?;
        let program = program(&graph, &segment, size)?;
        let (weights, running) = read(&graph, &network.slots, &program)?;
        Ok(Self {
            graph,
            segment,
            weights,
            running,
        })
    }

    /// Returns the steps for images of this height and width.
    pub fn program(&self, size: [usize; 2]) -> Result<Program, NoKernel> {
        program(&self.graph, &self.segment, size)
    }

    /// Returns the number of channels of the images.
    pub fn in_channels(&self) -> usize {
        self.graph.in_channels()
    }
}

fn program(graph: &Graph, segment: &Segment, size: [usize; 2]) -> Result<Program, NoKernel> {
    let channels = graph.in_channels();
    let purpose = Purpose {
        has_gradients: false,
        is_training: &|_| false,
    };
    lower(graph, segment, Shape::Maps { channels, size }, &purpose)
}

/// Something packed for a program, again where the size of the images changes the program.
pub(super) struct PerSize<T>(Option<Packed<T>>);

struct Packed<T> {
    /// The size that it is for, where not for all.
    size: Option<[usize; 2]>,
    packed: Arc<T>,
}

impl<T> PerSize<T> {
    /// Holds nothing yet.
    pub const EMPTY: Self = Self(None);

    /// Returns what is packed for this size, by `pack` where it isn't there.
    pub fn of(
        &mut self,
        source: &Source,
        size: [usize; 2],
        pack: impl FnOnce(Program) -> Result<T, NoKernel>,
    ) -> Result<Arc<T>, NoKernel> {
        if let Some(Packed { size: of, packed }) = &self.0
            && of.is_none_or(|of| of == size)
        {
            return Ok(Arc::clone(packed));
        }
        // The old one goes first, so that both are never in memory.
        self.0 = None;
        let program = source.program(size)?;
        let size = program.depends_on_size.then_some(size);
        let packed = Arc::new(pack(program)?);
        self.0 = Some(Packed {
            size,
            packed: Arc::clone(&packed),
        });
        Ok(packed)
    }
}

//! Decides how a network runs: whether kernels are allowed, and units that are packed for them.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use burn::backend::flex::FlexTensor;

use super::error::NoKernel;
use super::infer::PackedUnit;
use super::lower::{Purpose, lower};
use super::memory::is_same;
use super::parameters::primitive;
use super::plan::{Unit, units};
use crate::graph::{Graph, Segment};
use crate::shape::Shape;
use crate::slot::Slot;

/// The switch, and units as they were when they last ran without gradients. Clones share what is packed.
#[derive(Clone)]
pub(crate) struct Execution {
    pub is_enabled: bool,
    units: Arc<OnceLock<Vec<Unit>>>,
    packed: Arc<Mutex<Vec<Option<Packed>>>>,
}

/// A packed unit, the tensors that it was packed from and, where it matters, the size of its input.
struct Packed {
    unit: Arc<PackedUnit>,
    sources: Sources,
    size: Option<[usize; 2]>,
}

impl Execution {
    /// Returns the same choice for another network.
    pub fn of_another(&self) -> Self {
        Self {
            is_enabled: self.is_enabled,
            ..Self::default()
        }
    }

    /// Returns the units of the network that it always belongs to.
    pub fn units(&self, graph: &Graph) -> &[Unit] {
        self.units.get_or_init(|| units(graph))
    }

    /// Returns a unit, packed again where its weights have moved.
    pub(super) fn packed(
        &self,
        graph: &Graph,
        slots: &[Slot],
        index: usize,
        input: Shape,
    ) -> Result<Arc<PackedUnit>, NoKernel> {
        let segment = &self.units(graph)[index].segment;
        let sources = Sources::of(graph, slots, segment)?;
        let Shape::Maps { size, .. } = input else {
            return Err(NoKernel::Device);
        };
        let mut all = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        all.resize_with(self.units(graph).len(), || None);
        let packed = &mut all[index];
        if let Some(packed) = packed.as_ref()
            && packed.sources == sources
            && packed.size.is_none_or(|of| of == size)
        {
            return Ok(Arc::clone(&packed.unit));
        }
        // The old unit goes first, so that both are never in memory.
        *packed = None;
        let purpose = Purpose {
            has_gradients: false,
            is_training: &|_| false,
        };
        let program = lower(graph, segment, input, &purpose)?;
        let size = program.depends_on_size.then_some(size);
        let unit = Arc::new(PackedUnit::new(graph, slots, program)?);
        *packed = Some(Packed {
            unit: Arc::clone(&unit),
            sources,
            size,
        });
        Ok(unit)
    }
}

impl Default for Execution {
    fn default() -> Self {
        Self {
            is_enabled: true,
            units: Arc::default(),
            packed: Arc::default(),
        }
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernels {}", if self.is_enabled { "on" } else { "off" })
    }
}

/// A unit's parameters and running statistics. Where their values lie tells whether they have changed.
struct Sources(Vec<FlexTensor>);

impl Sources {
    fn of(graph: &Graph, slots: &[Slot], segment: &Segment) -> Result<Self, NoKernel> {
        let nodes = &graph.nodes()[segment.nodes.clone()];
        let tensors = nodes.iter().flat_map(|node| &node.tensors);
        let tensors = tensors.map(|tensor| primitive(&slots[*tensor]));
        tensors.collect::<Result<_, _>>().map(Self)
    }
}

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs.all(|(a, b)| is_same(a, b))
    }
}

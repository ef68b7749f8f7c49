//! How a network runs: whether the kernels may, and stages that are packed for them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use rekindle_nn::cpu::memory::is_same;

use super::packed::PackedStage;
use crate::{ResNet, STAGES};

/// The switch, and the stages as they were when they last ran without gradients. Clones share what is packed.
#[derive(Clone)]
pub(crate) struct Execution {
    is_enabled: bool,
    stages: Arc<Mutex<[Option<Packed>; STAGES.len()]>>,
}

/// A packed stage and the tensors that it was packed from.
struct Packed {
    stage: Arc<PackedStage>,
    sources: Sources,
}

impl Execution {
    pub fn with_kernels(is_enabled: bool) -> Self {
        Self {
            is_enabled,
            stages: Arc::default(),
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// One of the stages, packed again where its weights have moved; `None` where it can't be packed.
    pub(super) fn packed(&self, resnet: &ResNet, stage: usize) -> Option<Arc<PackedStage>> {
        let sources = Sources::of(resnet, stage);
        let mut stages = self.stages.lock().unwrap_or_else(PoisonError::into_inner);
        let packed = stages.get_mut(stage)?;
        if let Some(packed) = packed.as_ref()
            && packed.sources == sources
        {
            return Some(Arc::clone(&packed.stage));
        }
        // The old stage goes first, so that both are never in memory.
        *packed = None;
        let stage = Arc::new(PackedStage::new(resnet, stage)?);
        *packed = Some(Packed {
            stage: Arc::clone(&stage),
            sources,
        });
        Some(stage)
    }
}

impl Default for Execution {
    fn default() -> Self {
        Self::with_kernels(true)
    }
}

impl fmt::Debug for Execution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kernels {}", if self.is_enabled { "on" } else { "off" })
    }
}

/// A stage's parameters and running statistics. Where their values lie tells whether they have changed.
#[derive(Default)]
struct Sources(Vec<FlexTensor>);

impl Sources {
    fn of(resnet: &ResNet, stage: usize) -> Self {
        let mut sources = Self::default();
        if stage == 0 {
            resnet.conv1.visit(&mut sources);
            resnet.bn1.visit(&mut sources);
        }
        for block in resnet.blocks(stage) {
            block.visit(&mut sources);
        }
        sources
    }
}

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len() && pairs.all(|(a, b)| is_same(a, b))
    }
}

impl ModuleVisitor for Sources {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(param.val().try_into_primitive::<Flex>());
    }
}

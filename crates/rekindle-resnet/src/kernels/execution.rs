//! How a network runs: whether the kernels may, and weights that are packed for them.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::module::{ModuleVisitor, Param};
use burn::prelude::*;

use super::PackedResNet;
use crate::{ResNet, STAGES};

/// The switch, and the network as it was when it last ran without gradients. Clones share what is packed.
#[derive(Clone)]
pub(crate) struct Execution {
    is_enabled: bool,
    packed: Arc<Mutex<Option<Packed>>>,
}

/// A packed network and the tensors that it was packed from.
struct Packed {
    resnet: Arc<PackedResNet>,
    sources: Sources,
}

impl Execution {
    pub fn with_kernels(is_enabled: bool) -> Self {
        Self {
            is_enabled,
            packed: Arc::default(),
        }
    }

    pub fn is_enabled(&self) -> bool {
        self.is_enabled
    }

    /// The whole network, packed again where its weights have moved.
    pub fn packed(&self, resnet: &ResNet) -> Option<Arc<PackedResNet>> {
        let sources = Sources::of(resnet);
        let mut packed = self.packed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(packed) = packed.as_ref()
            && packed.sources == sources
        {
            return Some(Arc::clone(&packed.resnet));
        }
        let resnet = Arc::new(PackedResNet::new(resnet, STAGES.len()).ok()?);
        *packed = Some(Packed {
            resnet: Arc::clone(&resnet),
            sources,
        });
        Some(resnet)
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

/// A network's parameters and running statistics. Where their values lie tells whether they have changed, since
/// nothing else can come to lie there while they are held.
#[derive(Default)]
struct Sources(Vec<FlexTensor>);

impl Sources {
    fn of(resnet: &ResNet) -> Self {
        let mut sources = Self::default();
        resnet.visit(&mut sources);
        sources
    }
}

impl PartialEq for Sources {
    fn eq(&self, other: &Self) -> bool {
        self.0.len() == other.0.len()
            && self
                .0
                .iter()
                .zip(&other.0)
                .all(|(a, b)| a.bytes().as_ptr() == b.bytes().as_ptr() && a.layout() == b.layout())
    }
}

impl ModuleVisitor for Sources {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.extend(param.val().try_into_primitive::<Flex>());
    }
}

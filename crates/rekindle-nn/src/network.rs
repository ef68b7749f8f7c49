//! A description with its parameters: one Burn module for every network.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use burn::module::{
    Content, Devices, Flag, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper,
    ModuleVisitor, Param,
};
use burn::nn::Linear;
use burn::prelude::*;

use crate::GraphError;
use crate::burn::positions::resample;
use crate::draws::Draws;
use crate::graph::{Graph, TensorKind, TensorSpec, Value};
use crate::op::Op;
use crate::quantization::Rounding;
use crate::slot::Slot;

/// Kind of container that visitors are told of.
const CONTAINER: &str = "Struct:Network";
/// The one whose matrices are `[in, out]` where PyTorch's are `[out, in]`.
const LINEAR: &str = "Struct:Linear";
/// Name of a layer's switch between training and evaluation.
const TRAINING: &str = "training";

/// A [`Graph`] with its parameters, run by Burn's operations on any device.
///
/// Paths of parameters are the keys of the published state dict. As everywhere in Burn, cloning shares the running
/// statistics of batch normalisation.
#[derive(Clone)]
pub struct Network {
    pub(crate) graph: Arc<Graph>,
    pub(crate) slots: Vec<Slot>,
    /// By node, for the operations that behave differently in training; off in a frozen one.
    pub(crate) training: BTreeMap<usize, Param<Flag>>,
    pub(crate) draws: Draws,
    /// Bytes that values are rounded to, of a network that simulates those.
    pub(crate) roundings: Option<Arc<BTreeMap<Value, Rounding>>>,
    #[cfg(feature = "kernels")]
    pub(crate) execution: crate::cpu::execution::Execution,
}

impl Network {
    /// Returns a network on `device` with the initial values of the published code, a function of `seed` alone.
    ///
    /// A parameter is drawn when it is first looked at, so weights that are read from a file right away cost nothing.
    pub fn new(graph: Graph, seed: u64, device: &Device) -> Self {
        let slots = graph.tensors().iter();
        let slots = slots.map(|spec| Slot::new(spec, seed, device)).collect();
        let nodes = graph.nodes().iter().enumerate();
        let training = nodes
            .filter(|(_, node)| differs_in_training(&node.op))
            .map(|(index, _)| (index, Param::from_bool(true)))
            .collect();
        Self {
            graph: Arc::new(graph),
            slots,
            training,
            draws: Draws::default(),
            roundings: None,
            #[cfg(feature = "kernels")]
            execution: Default::default(),
        }
    }

    /// Returns a network on `device` whose tensors hold what `values` gives for their names, row-major in PyTorch's layout.
    ///
    /// # Errors
    ///
    /// [`GraphError::Values`] for the first tensor that `values` gives another number of elements for.
    pub fn with_values(
        graph: Graph,
        mut values: impl FnMut(&str) -> Vec<f32>,
        device: &Device,
    ) -> Result<Self, GraphError> {
        let mut network = Self::new(graph, 0, device);
        for (spec, slot) in network.graph.tensors().iter().zip(&mut network.slots) {
            let values = values(&spec.name);
            if values.len() != spec.elements() {
                return Err(GraphError::Values {
                    name: spec.name.clone(),
                    expected: spec.elements(),
                    found: values.len(),
                });
            }
            *slot = Slot::of_values(spec, values, device);
        }
        Ok(network)
    }

    /// Returns the description.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// Returns the device that holds the parameters.
    pub fn device(&self) -> Device {
        self.slots
            .first()
            .map_or_else(Device::default, Slot::device)
    }

    /// Makes what dropouts and drop paths draw in training a function of `seed`, until the next call: passes behind one
    /// call draw the same. Before the first, they draw from the device's own generator. Clones share the seed.
    pub fn seed_draws(&self, seed: u64) {
        self.draws.seed(seed);
    }

    /// Returns the number of classes; 0 without a classifier.
    pub fn num_classes(&self) -> usize {
        self.graph.head().classes
    }

    /// Returns the length of the rows that the classifier takes.
    pub fn num_features(&self) -> usize {
        self.graph.head().features
    }

    /// Replaces the classifier by a fresh one for `classes` classes, a function of `seed`; 0 takes it away.
    pub fn reset_classifier(mut self, classes: usize, seed: u64) -> Self {
        let graph = Graph::clone(&self.graph).with_classes(classes);
        let kept = graph.head().nodes.start;
        let fresh = Self::new(graph, seed, &self.device());
        let tensors = fresh.graph.nodes()[kept..].iter();
        let tensors: usize = tensors.map(|node| node.tensors.len()).sum();
        self.slots.truncate(fresh.slots.len() - tensors);
        let others = fresh.slots.into_iter().skip(self.slots.len());
        self.slots.extend(others);
        self.training.retain(|node, _| *node < kept);
        let flags = fresh.training.into_iter();
        self.training
            .extend(flags.filter(|(node, _)| *node >= kept));
        self.graph = fresh.graph;
        self
    }

    /// Takes the classifier off as a layer of its own; none where there is none.
    pub fn split_classifier(mut self) -> (Self, Option<Linear>) {
        if self.num_classes() == 0 {
            return (self, None);
        }
        let (Some(Slot::Vector(bias)), Some(Slot::Matrix(weight))) =
            (self.slots.pop(), self.slots.pop())
        else {
            unreachable!("a classifier is a linear layer with a bias")
        };
        let graph = Graph::clone(&self.graph).with_classes(0);
        let kept = graph.head().nodes.start;
        self.training.retain(|node, _| *node < kept);
        self.graph = Arc::new(graph);
        let bias = Some(bias);
        (self, Some(Linear { weight, bias }))
    }

    /// Puts a linear layer in place of the classifier.
    ///
    /// # Errors
    ///
    /// [`GraphError::Classifier`] for a layer that takes rows of another length, and for one without classes.
    pub fn with_classifier(self, layer: Linear) -> Result<Self, GraphError> {
        let [features, classes] = layer.weight.shape().dims();
        if features != self.num_features() || classes == 0 {
            return Err(GraphError::Classifier {
                expected: self.num_features(),
                found: [features, classes],
            });
        }
        let device = layer.weight.lazy_device();
        let mut network = self.reset_classifier(classes, 0);
        let bias = layer
            .bias
            .unwrap_or_else(|| Param::from_tensor(Tensor::zeros([classes], &device)));
        let head = network.slots.len() - 2;
        network.slots.truncate(head);
        network
            .slots
            .extend([Slot::Matrix(layer.weight), Slot::Vector(bias)]);
        Ok(network)
    }

    /// Returns the network with positions for images of `height` by `width` pixels, resampled where they were for others;
    /// networks without tokens as they are. It computes the same as before: without this, positions are resampled in every
    /// pass over images of another size.
    pub fn with_image_size(mut self, [height, width]: [usize; 2]) -> Self {
        let (Some(tokens), Some(grid)) =
            (self.graph.tokens(), self.graph.patch_grid(height, width))
        else {
            return self;
        };
        let mut graph = Graph::clone(&self.graph);
        let Some(position) = graph.set_position_grid(grid) else {
            return self;
        };
        let own = usize::from(tokens.has_class_position);
        let table = self.slots[position].table().swap_dims(1, 2);
        let patches = table.clone().narrow(2, own, tokens.positions() - own);
        let patches = resample(patches, tokens.grid, grid);
        let table = match own {
            0 => patches,
            _ => Tensor::cat(vec![table.narrow(2, 0, own), patches], 2),
        };
        self.slots[position].set_table(table.swap_dims(1, 2).detach());
        self.graph = Arc::new(graph);
        self
    }

    /// Returns the network with fresh parameters, a function of `seed` alone.
    pub fn reinitialise(mut self, seed: u64) -> Self {
        let fresh = Self::new(Graph::clone(&self.graph), seed, &self.device());
        (self.slots, self.training) = (fresh.slots, fresh.training);
        self
    }

    /// Gives every parameter an identity made from its name alone, so that an optimiser's state saved by one process
    /// finds its parameters in another.
    pub fn with_stable_ids(mut self) -> Self {
        let specs = self.graph.tensors().iter();
        let slots = self.slots.into_iter().zip(specs);
        self.slots = slots
            .map(|(slot, spec)| slot.with_stable_id(&spec.name))
            .collect();
        self
    }

    /// Tells whether a node's switch is on.
    pub(crate) fn is_training(&self, node: usize) -> bool {
        let flag = self.training.get(&node);
        flag.is_some_and(|flag| flag.is_enabled())
    }

    /// Applies a function to every tensor and every switch.
    fn rebuild(
        mut self,
        mut slot: impl FnMut(&TensorSpec, Slot) -> Slot,
        mut flag: impl FnMut(&str, Param<Flag>) -> Param<Flag>,
    ) -> Self {
        let graph = &self.graph;
        let tensors = graph.tensors().iter().zip(self.slots);
        self.slots = tensors.map(|(spec, inside)| slot(spec, inside)).collect();
        let training = self.training.into_iter();
        self.training = training
            .map(|(node, inside)| (node, flag(&graph.nodes()[node].name, inside)))
            .collect();
        self
    }
}

fn differs_in_training(op: &Op) -> bool {
    matches!(
        op,
        Op::BatchNorm(_) | Op::Dropout { .. } | Op::DropPath { .. }
    )
}

/// Lists the modules to enter on the way to a tensor, with their containers.
fn path(spec: &TensorSpec) -> Vec<(&str, &'static str)> {
    let mut path: Vec<_> = spec.name.split('.').map(|part| (part, CONTAINER)).collect();
    if let (TensorKind::Matrix, Some(last)) = (spec.kind, path.last_mut()) {
        last.1 = LINEAR;
    }
    path
}

fn flag_path(node: &str) -> impl DoubleEndedIterator<Item = &str> {
    node.split('.').chain([TRAINING])
}

impl Module for Network {
    fn visit<V: ModuleVisitor>(&self, visitor: &mut V) {
        for (spec, slot) in self.graph.tensors().iter().zip(&self.slots) {
            let path = path(spec);
            path.iter().for_each(|(n, c)| visitor.enter_module(n, c));
            slot.visit(visitor);
            path.iter()
                .rev()
                .for_each(|(n, c)| visitor.exit_module(n, c));
        }
        for (node, flag) in &self.training {
            let name = &self.graph.nodes()[*node].name;
            flag_path(name).for_each(|n| visitor.enter_module(n, CONTAINER));
            flag.visit(visitor);
            flag_path(name)
                .rev()
                .for_each(|n| visitor.exit_module(n, CONTAINER));
        }
    }

    fn map<M: ModuleMapper>(self, mapper: &mut M) -> Self {
        let mapper = std::cell::RefCell::new(mapper);
        self.rebuild(
            |spec, slot| {
                let mut mapper = mapper.borrow_mut();
                let path = path(spec);
                path.iter().for_each(|(n, c)| mapper.enter_module(n, c));
                let slot = slot.map(&mut **mapper);
                path.iter()
                    .rev()
                    .for_each(|(n, c)| mapper.exit_module(n, c));
                slot
            },
            |name, flag| {
                let mut mapper = mapper.borrow_mut();
                flag_path(name).for_each(|n| mapper.enter_module(n, CONTAINER));
                let flag = Module::map(flag, &mut **mapper);
                flag_path(name)
                    .rev()
                    .for_each(|n| mapper.exit_module(n, CONTAINER));
                flag
            },
        )
    }

    fn collect_devices(&self, devices: Devices) -> Devices {
        let slots = self.slots.iter();
        slots.fold(devices, |devices, slot| slot.collect_devices(devices))
    }

    fn to_device(self, device: &Device) -> Self {
        self.rebuild(|_, slot| slot.to_device(device), |_, flag| flag)
    }

    fn fork(self, device: &Device) -> Self {
        self.rebuild(|_, slot| slot.fork(device), |_, flag| flag)
    }

    fn valid(&self) -> Self {
        self.clone()
            .rebuild(|_, slot| slot.valid(), |_, flag| flag.valid())
    }

    fn train(self) -> Self {
        self.rebuild(|_, slot| slot.train(), |_, flag| Module::train(flag))
    }

    fn materialize(self) -> Self {
        self.rebuild(|_, slot| slot.materialize(), |_, flag| flag)
    }
}

impl ModuleDisplayDefault for Network {
    fn content(&self, content: Content) -> Option<Content> {
        let stages: Vec<&str> = self
            .graph
            .stages()
            .iter()
            .map(|s| s.name.as_str())
            .collect();
        content
            .set_top_level_type("Network")
            .add_debug_attribute("name", &self.graph.name())
            .add_debug_attribute("stages", &stages)
            .add_debug_attribute("features", &self.num_features())
            .add_debug_attribute("classes", &self.num_classes())
            .optional()
    }

    fn num_params(&self) -> usize {
        Module::num_params(self)
    }
}

impl ModuleDisplay for Network {}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format(Default::default()))
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network")
            .field("name", &self.graph.name())
            .field("tensors", &self.slots.len())
            .finish_non_exhaustive()
    }
}

//! A network's tensors as the kernels read them.

use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::tensor::DType;
use rekindle_kernels::Statistics;

use super::error::NoKernel;
use super::program::{Norm, Program};
use super::weights::Weights;
use crate::graph::Graph;
use crate::op::Op;
use crate::slot::Slot;

/// Returns the tensor that a plain flex device holds.
pub(super) fn primitive(slot: &Slot) -> Result<FlexTensor, NoKernel> {
    let tensor = match slot {
        Slot::Vector(param) => param.val().try_into_primitive::<Flex>(),
        Slot::Matrix(param) | Slot::PlainMatrix(param) => param.val().try_into_primitive::<Flex>(),
        Slot::Table(param) => param.val().try_into_primitive::<Flex>(),
        Slot::Kernel(param) => param.val().try_into_primitive::<Flex>(),
        Slot::Statistic(state) => state.value().try_into_primitive::<Flex>(),
    };
    let tensor = tensor.ok().filter(|tensor| tensor.dtype() == DType::F32);
    tensor.ok_or(NoKernel::Device)
}

/// Reads a program's tensors and, by step, what it normalises by in evaluation mode.
pub(super) fn read(
    graph: &Graph,
    slots: &[Slot],
    program: &Program,
) -> Result<(Weights, Vec<Option<Statistics>>), NoKernel> {
    let tensors = program.tensors.iter();
    let tensors = tensors.map(|tensor| primitive(&slots[*tensor]));
    let weights = Weights::new(tensors.collect::<Result<Vec<_>, _>>()?);
    let norms = program.norms();
    let running = norms.map(|norm| norm.map(|norm| running_statistics(graph, slots, norm)));
    Ok((weights, running.collect()))
}

/// Reads what a normalisation in evaluation mode normalises by.
pub(super) fn running_statistics(graph: &Graph, slots: &[Slot], norm: &Norm) -> Statistics {
    let node = &graph.nodes()[norm.node];
    if let Op::LayerScale { channels } = node.op {
        return Statistics::fixed(vec![0.0; channels], vec![1.0; channels]);
    }
    let tensors = &node.tensors;
    let [mean, var] = [2, 3].map(|position| {
        let state = slots[tensors[position]].statistic();
        state.value().into_data().iter::<f32>().collect()
    });
    Statistics::fixed(mean, var)
}

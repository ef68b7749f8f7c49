//! Finds the nodes that the kernels may run together.

use std::ops::Range;

use super::lower::without_kernel;
use crate::cuts::MOST_BLOCK_TENSORS;
use crate::graph::{Graph, Segment, cut};
use crate::op::Op;

/// Nodes that run as one operation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    pub segment: Segment,
    /// It takes what the unit before it gives, which nobody else reads.
    pub continues: bool,
}

/// Lists the units of a network: its blocks and, between them and in blocks of which not all operations have a kernel,
/// the longest segments that do.
pub(crate) fn units(graph: &Graph) -> Vec<Unit> {
    let mut segments = Vec::new();
    for stage in graph.stages() {
        let mut start = stage.segment.nodes.start;
        for block in &stage.blocks {
            gap(graph, start..block.nodes.start, &mut segments);
            start = block.nodes.end;
            match has_kernels(graph, block.nodes.clone()) {
                true => segments.push(block.clone()),
                false => gap(graph, block.nodes.clone(), &mut segments),
            }
        }
        gap(graph, start..stage.segment.nodes.end, &mut segments);
    }
    gap(graph, graph.pooling(), &mut segments);
    let mut units: Vec<Unit> = Vec::with_capacity(segments.len());
    for segment in segments {
        let before = units.last().map(|unit| &unit.segment);
        let continues = before.is_some_and(|before| {
            let behind = &graph.nodes()[segment.nodes.end..];
            before.nodes.end == segment.nodes.start
                && before.output == segment.input
                && !behind
                    .iter()
                    .any(|node| node.inputs.contains(&before.output))
        });
        units.push(Unit { segment, continues });
    }
    units
}

fn has_kernels(graph: &Graph, nodes: Range<usize>) -> bool {
    let nodes = &graph.nodes()[nodes];
    let mut nodes = nodes.iter();
    nodes.all(|node| without_kernel(graph, node).is_none())
}

/// Adds the longest segments among `nodes`, from the first node on.
fn gap(graph: &Graph, nodes: Range<usize>, segments: &mut Vec<Segment>) {
    let mut start = nodes.start;
    while start < nodes.end {
        match longest(graph, start..nodes.end) {
            Some(segment) => {
                start = segment.nodes.end;
                segments.push(segment);
            }
            None => start += 1,
        }
    }
}

/// Finds the longest segment that begins with the first of `nodes` and is worth a change of layout.
fn longest(graph: &Graph, nodes: Range<usize>) -> Option<Segment> {
    // An average that begins a segment is the network's pooling, which has an operation of its own.
    if matches!(graph.nodes()[nodes.start].op, Op::GlobalAvgPool) {
        return None;
    }
    let mut found = None;
    let mut parameters = 0;
    let mut is_worth_it = false;
    for (index, node) in graph
        .nodes()
        .iter()
        .enumerate()
        .take(nodes.end)
        .skip(nodes.start)
    {
        let tensors = node.tensors.iter();
        parameters += tensors
            .filter(|t| !graph.tensors()[**t].kind.is_statistic())
            .count();
        if without_kernel(graph, node).is_some() || parameters > MOST_BLOCK_TENSORS {
            break;
        }
        is_worth_it |= matches!(
            node.op,
            Op::Conv2d(_) | Op::BatchNorm(_) | Op::Linear(_) | Op::LayerNorm(_)
        );
        if is_worth_it && let Ok(segment) = cut(graph.nodes(), nodes.start..index + 1, "unit") {
            found = Some(segment);
        }
    }
    found
}

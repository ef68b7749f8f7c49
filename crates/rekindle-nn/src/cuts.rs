//! Checks of a whole description: names, and where it is cut into stages and blocks.

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::GraphError;
use crate::graph::{Node, Segment, Stage, TensorSpec, cut};

/// The most parameter tensors that a block may have: its backward pass is one operation of Burn's graph, whose number
/// of parents is part of a type.
pub const MOST_BLOCK_TENSORS: usize = 16;

/// A stage as it was marked, not checked yet, and as a description has it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Marked {
    pub name: String,
    pub nodes: Range<usize>,
    pub blocks: Vec<Range<usize>>,
}

impl Marked {
    pub fn of(stage: &Stage) -> Self {
        let blocks = stage.blocks.iter();
        Self {
            name: stage.name.clone(),
            nodes: stage.segment.nodes.clone(),
            blocks: blocks.map(|block| block.nodes.clone()).collect(),
        }
    }
}

/// Refuses two tensors of one name.
pub(crate) fn check_names(tensors: &[TensorSpec]) -> Result<(), GraphError> {
    let mut names = BTreeSet::new();
    let twice = tensors.iter().find(|t| !names.insert(t.name.as_str()));
    twice.map_or(Ok(()), |tensor| {
        let name = tensor.name.clone();
        Err(GraphError::DuplicateName { name })
    })
}

/// Cuts stages and blocks out, where one value enters and one leaves.
pub(crate) fn cut_stages(
    nodes: &[Node],
    tensors: &[TensorSpec],
    marked: Vec<Marked>,
) -> Result<Vec<Stage>, GraphError> {
    let mut stages: Vec<Stage> = Vec::with_capacity(marked.len());
    for stage in marked {
        let Marked {
            name,
            nodes: range,
            blocks,
        } = stage;
        let segment = cut(nodes, range, &format!("stage {name}"))?;
        let before = stages.last().map(|stage| &stage.segment);
        let expected = before.map_or(0, |before| before.nodes.end);
        if segment.nodes.start != expected {
            return Err(GraphError::Cut {
                what: format!("stage {name}"),
                reason: "it does not begin where the stage before it ends".into(),
            });
        }
        let blocks = blocks.into_iter().map(|range| block(nodes, tensors, range));
        stages.push(Stage {
            name,
            segment,
            blocks: blocks.collect::<Result<_, _>>()?,
        });
    }
    match stages.is_empty() {
        true => Err(GraphError::Missing { what: "stages" }),
        false => Ok(stages),
    }
}

fn block(
    nodes: &[Node],
    tensors: &[TensorSpec],
    range: Range<usize>,
) -> Result<Segment, GraphError> {
    let first = nodes.get(range.start).map_or("?", |node| &node.name);
    let name = format!("block at {first}");
    let segment = cut(nodes, range.clone(), &name)?;
    let inside = nodes[range].iter().flat_map(|node| &node.tensors);
    let found = inside.filter(|t| !tensors[**t].kind.is_statistic()).count();
    match found > MOST_BLOCK_TENSORS {
        true => Err(GraphError::TooManyTensors {
            block: first.to_string(),
            found,
            most: MOST_BLOCK_TENSORS,
        }),
        false => Ok(segment),
    }
}

//! Cuts a network into stages and blocks that nobody marked.

use std::ops::Range;

use crate::cuts::{MOST_BLOCK_TENSORS, Marked};
use crate::graph::{Node, TensorSpec, Value};
use crate::op::Op;
use crate::shape::Shape;

/// Stages that blocks of one size are divided into.
const STAGES: usize = 4;

/// Nodes between two places where one value passes.
#[derive(Clone, Debug)]
struct Piece {
    nodes: Range<usize>,
    /// Height and width of what it gives.
    size: [usize; 2],
}

/// Marks stages and blocks in the nodes that give feature maps; what is behind them turns maps into rows.
///
/// A stage begins where maps become smaller. Where most blocks give maps of one size, as in a transformer, these are
/// divided into four stages.
pub(super) fn mark(nodes: &[Node], tensors: &[TensorSpec], shapes: &[Shape]) -> Vec<Marked> {
    let pieces = pieces(nodes, shapes);
    let blocks: Vec<Range<usize>> = blocks(&pieces, nodes, tensors);
    let mut starts = vec![0];
    for pair in pieces.windows(2) {
        if pair[0].size != pair[1].size {
            starts.push(pair[1].nodes.start);
        }
    }
    let end = pieces.last().map_or(0, |piece| piece.nodes.end);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (index, start) in starts.iter().enumerate() {
        let range = *start..starts.get(index + 1).copied().unwrap_or(end);
        let inside: Vec<&Range<usize>> = blocks_in(&blocks, &range).collect();
        // Small networks have few blocks, and large ones most of them at one size.
        if inside.len() < 2 * STAGES
            || 2 * inside.len() < blocks.len()
            || is_divided(&starts, &blocks)
        {
            ranges.push(range);
            continue;
        }
        let mut from = range.start;
        for quarter in 1..=STAGES {
            let last = inside[inside.len() * quarter / STAGES - 1];
            let to = if quarter == STAGES {
                range.end
            } else {
                last.end
            };
            ranges.push(from..to);
            from = to;
        }
    }
    let mut marked = Vec::with_capacity(ranges.len());
    for range in ranges.into_iter().filter(|range| !range.is_empty()) {
        let inside: Vec<Range<usize>> = blocks_in(&blocks, &range).cloned().collect();
        let name = match marked.is_empty() && inside.is_empty() {
            true => "stem".to_string(),
            false => {
                let first = marked.first();
                let has_stem = first.is_some_and(|first: &Marked| first.name == "stem");
                format!("stage{}", marked.len() + usize::from(!has_stem))
            }
        };
        marked.push(Marked {
            name,
            nodes: range,
            blocks: inside,
        });
    }
    marked
}

/// Tells whether blocks are spread over enough sizes.
fn is_divided(starts: &[usize], blocks: &[Range<usize>]) -> bool {
    let stage_of =
        |block: &Range<usize>| starts.iter().filter(|start| **start <= block.start).count();
    let mut stages: Vec<usize> = blocks.iter().map(stage_of).collect();
    stages.dedup();
    stages.len() >= STAGES - 1
}

fn blocks_in<'a>(
    blocks: &'a [Range<usize>],
    range: &Range<usize>,
) -> impl Iterator<Item = &'a Range<usize>> {
    let range = range.clone();
    let is_inside =
        move |block: &&Range<usize>| block.start >= range.start && block.end <= range.end;
    blocks.iter().filter(is_inside)
}

/// Cuts nodes wherever one value passes, up to the last maps of more than one pixel.
fn pieces(nodes: &[Node], shapes: &[Shape]) -> Vec<Piece> {
    let mut last_reader = vec![0; nodes.len() + 1];
    for (index, node) in nodes.iter().enumerate() {
        node.inputs
            .iter()
            .for_each(|value| last_reader[value.index()] = index + 1);
    }
    // The last node that reads anything older than what a node gives.
    let mut reach = last_reader[0];
    let mut pieces: Vec<Piece> = Vec::new();
    for index in 0..nodes.len() {
        let value = Value::of_node(index);
        if reach <= index + 1
            && let Shape::Maps { size, .. } = shapes[value.index()]
        {
            let start = pieces.last().map_or(0, |piece| piece.nodes.end);
            pieces.push(Piece {
                nodes: start..index + 1,
                size,
            });
        }
        reach = reach.max(last_reader[value.index()]);
    }
    while pieces.len() > 1 && pieces.last().is_some_and(|piece| piece.size == [1, 1]) {
        pieces.pop();
    }
    // A normalisation in front of the features belongs to them.
    let is_norm = |piece: &Piece| {
        piece.nodes.len() == 1 && matches!(nodes[piece.nodes.start].op, Op::LayerNorm(_))
    };
    while pieces.len() > 1 && pieces.last().is_some_and(is_norm) {
        pieces.pop();
    }
    pieces
}

/// Makes blocks of pieces with a shortcut, each with the activation behind it.
fn blocks(pieces: &[Piece], nodes: &[Node], tensors: &[TensorSpec]) -> Vec<Range<usize>> {
    let mut blocks = Vec::new();
    for (index, piece) in pieces.iter().enumerate() {
        let mut range = piece.nodes.clone();
        let parameters = nodes[range.clone()].iter().flat_map(|node| &node.tensors);
        let count = parameters
            .filter(|t| !tensors[**t].kind.is_statistic())
            .count();
        if range.len() < 2 || count > MOST_BLOCK_TENSORS {
            continue;
        }
        if let Some(next) = pieces.get(index + 1)
            && next.nodes.len() == 1
            && matches!(nodes[next.nodes.start].op, Op::Activation(_))
        {
            range.end = next.nodes.end;
        }
        blocks.push(range);
    }
    blocks
}

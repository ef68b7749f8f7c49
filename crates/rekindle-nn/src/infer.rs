//! Shapes of all values from the size of the images, and what can be counted with them.

use crate::GraphError;
use crate::graph::{Graph, Node, Value};
use crate::op::{GroupNorm, LayerNorm, Op};
use crate::shape::Shape;

impl Graph {
    /// Computes the shape of every value, the images first, for images of `height` by `width` pixels.
    ///
    /// # Errors
    ///
    /// [`GraphError::TooSmall`] for images that a window doesn't fit into, and [`GraphError::Mismatch`] where the two
    /// sides of a sum come out in different sizes.
    pub fn shapes(&self, height: usize, width: usize) -> Result<Vec<Shape>, GraphError> {
        let mut shapes = vec![Shape::Maps {
            channels: self.in_channels(),
            size: [height, width],
        }];
        for node in self.nodes() {
            let inputs: Vec<Shape> = node.inputs.iter().map(|v| shapes[v.index()]).collect();
            shapes.push(infer(node, &inputs)?);
        }
        Ok(shapes)
    }

    /// Counts multiply-adds of convolutions, linear layers and attention for one image.
    ///
    /// # Errors
    ///
    /// As [`shapes`](Self::shapes).
    pub fn multiply_adds(&self, height: usize, width: usize) -> Result<u64, GraphError> {
        let shapes = self.shapes(height, width)?;
        let per_output = |node: &Node, gives: Shape| match &node.op {
            Op::Conv2d(conv) => conv.in_channels / conv.groups * conv.kernel[0] * conv.kernel[1],
            Op::Linear(linear) => linear.in_features,
            // A product with all keys, and one with all values.
            Op::Attention(attention) => 2 * gives.elements() / attention.channels.max(1),
            _ => 0,
        };
        let nodes = self.nodes().iter().enumerate();
        Ok(nodes
            .map(|(index, node)| {
                let gives = shapes[Value::of_node(index).index()];
                gives.elements() as u64 * per_output(node, gives) as u64
            })
            .sum())
    }
}

/// Computes the shape that a node gives.
pub(crate) fn infer(node: &Node, inputs: &[Shape]) -> Result<Shape, GraphError> {
    let first = *inputs
        .first()
        .ok_or(GraphError::Missing { what: "input" })?;
    let wrong = |expected: String| GraphError::Input {
        node: node.name.clone(),
        expected,
        found: first,
    };
    let maps = || match first {
        Shape::Maps { channels, size } => Ok((channels, size)),
        Shape::Rows { .. } => Err(wrong("feature maps".into())),
    };
    let maps_of = |expected: usize| match maps()? {
        (channels, size) if channels == expected => Ok(size),
        _ => Err(wrong(format!("{expected} channels"))),
    };
    let mismatch = |right: Shape| GraphError::Mismatch {
        node: node.name.clone(),
        left: first,
        right,
    };
    match &node.op {
        Op::Conv2d(conv) => {
            let size = maps_of(conv.in_channels)?;
            let padding = conv.padding.pairs(size, conv.window(), conv.stride);
            Ok(Shape::Maps {
                channels: conv.out_channels,
                size: slide(node, size, conv.window(), conv.stride, padding)?,
            })
        }
        Op::MaxPool(pool) | Op::AvgPool(pool) => {
            let (channels, size) = maps()?;
            let size = slide(node, size, pool.kernel, pool.stride, pool.pairs(size))?;
            Ok(Shape::Maps { channels, size })
        }
        Op::BatchNorm(norm) => maps_of(norm.channels).map(|_| first),
        Op::Activation(_) | Op::Dropout { .. } | Op::DropPath { .. } => Ok(first),
        Op::Add | Op::Sub => match inputs {
            [a, b] if a == b => Ok(first),
            _ => Err(mismatch(*inputs.last().unwrap_or(&first))),
        },
        Op::Mul => match inputs {
            [a @ Shape::Maps { .. }, b] if a == b => Ok(first),
            [
                Shape::Maps { channels, .. },
                Shape::Maps {
                    channels: gate,
                    size: [1, 1],
                },
            ] if channels == gate => Ok(first),
            _ => Err(mismatch(*inputs.last().unwrap_or(&first))),
        },
        Op::GlobalAvgPool => maps().map(|(channels, _)| Shape::Maps {
            channels,
            size: [1, 1],
        }),
        Op::Flatten => maps().map(|_| Shape::Rows {
            channels: first.elements(),
        }),
        Op::Linear(linear) => match first {
            Shape::Rows { channels } if channels == linear.in_features => Ok(Shape::Rows {
                channels: linear.out_features,
            }),
            Shape::Maps { channels, size } if channels == linear.in_features => Ok(Shape::Maps {
                channels: linear.out_features,
                size,
            }),
            _ => Err(wrong(format!("{} channels", linear.in_features))),
        },
        Op::LayerNorm(LayerNorm { channels, .. }) => match first.channels() == *channels {
            true => Ok(first),
            false => Err(wrong(format!("{channels} channels"))),
        },
        Op::LayerScale { channels }
        | Op::GlobalResponseNorm(LayerNorm { channels, .. })
        | Op::GroupNorm(GroupNorm { channels, .. }) => maps_of(*channels).map(|_| first),
        Op::Tokens(tokens) => {
            let [rows, columns] = maps_of(tokens.channels)?;
            Ok(Shape::Maps {
                channels: tokens.channels,
                size: [1, tokens.prefix() + rows * columns],
            })
        }
        Op::Attention(attention) => match maps_of(3 * attention.channels)? {
            size @ [1, _] => Ok(Shape::Maps {
                channels: attention.channels,
                size,
            }),
            _ => Err(wrong("a row of tokens".into())),
        },
        Op::Token { index } => match maps()? {
            (channels, [1, tokens]) if *index < tokens => Ok(Shape::Rows { channels }),
            _ => Err(wrong(format!("a row of at least {} tokens", index + 1))),
        },
        Op::TokenMean { start } => match maps()? {
            (channels, [1, tokens]) if *start < tokens => Ok(Shape::Rows { channels }),
            _ => Err(wrong(format!("a row of at least {} tokens", start + 1))),
        },
        Op::Concat if matches!(first, Shape::Rows { .. }) => {
            let mut total = 0;
            for input in inputs {
                match *input {
                    Shape::Rows { channels } => total += channels,
                    other => return Err(mismatch(other)),
                }
            }
            Ok(Shape::Rows { channels: total })
        }
        Op::Concat => {
            let (mut total, size) = maps()?;
            for other in &inputs[1..] {
                match *other {
                    Shape::Maps { channels, size: s } if s == size => total += channels,
                    other => return Err(mismatch(other)),
                }
            }
            Ok(Shape::Maps {
                channels: total,
                size,
            })
        }
        Op::Slice { start, channels } => match maps()? {
            (found, size) if start + channels <= found => Ok(Shape::Maps {
                channels: *channels,
                size,
            }),
            _ => Err(wrong(format!("at least {} channels", start + channels))),
        },
        Op::ChannelShuffle { groups } => match maps()? {
            (channels, _) if *groups > 0 && channels % groups == 0 => Ok(first),
            _ => Err(wrong(format!("a multiple of {groups} channels"))),
        },
    }
}

/// Computes the size of what a window gives that slides over an input with its padding.
fn slide(
    node: &Node,
    size: [usize; 2],
    window: [usize; 2],
    stride: [usize; 2],
    padding: [[usize; 2]; 2],
) -> Result<[usize; 2], GraphError> {
    if stride.contains(&0) || window.contains(&0) {
        return Err(GraphError::Zero {
            node: node.name.clone(),
            what: "its window or stride",
        });
    }
    let mut result = [0; 2];
    for axis in 0..2 {
        let padded = size[axis] + padding[axis][0] + padding[axis][1];
        if padded < window[axis] || size[axis] == 0 {
            return Err(GraphError::TooSmall {
                node: node.name.clone(),
                window,
                size,
            });
        }
        result[axis] = (padded - window[axis]) / stride[axis] + 1;
    }
    Ok(result)
}

//! Descriptions: what can be read off them, and what is refused.
#![allow(clippy::unwrap_used)]

use rekindle_nn::{Builder, Conv, Graph, GraphError, Op, Padding, Pool2d, Shape, Value};

/// Two stages, the second with a block that has a shortcut and a gate.
fn small(classes: usize) -> Graph {
    let mut b = Builder::new("small", 3).head_dropout(0.2);
    let mut x = b.images();
    x = b.stage("stem", |b| {
        let x = b.conv2d("conv1", x, Conv::new(8, 3).stride(2).padding(Padding::Same));
        let x = b.batch_norm("bn1", x);
        let x = b.relu(x);
        b.max_pool(x, Pool2d::new(3, 2, 1))
    });
    x = b.stage("layer1", |b| {
        b.scope("layer1.0", |b| {
            b.block(|b| {
                let y = b.conv2d("conv", x, Conv::depthwise(3));
                let gate = b.global_avg_pool(y);
                let gate = b.conv2d("fc", gate, Conv::new(8, 1).bias());
                let y = b.mul(y, gate);
                let y = b.drop_path(y, 0.1);
                b.add(x, y)
            })
        })
    });
    x = b.global_pool(x);
    x = b.linear("pre", x, 6);
    x = b.relu(x);
    b.finish("head.fc", x, classes).unwrap()
}

#[test]
fn names_come_from_the_scopes_in_the_order_of_writing() {
    let names: Vec<_> = small(4).state_dict();
    let names: Vec<(&str, &[usize])> = names
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_slice()))
        .collect();
    let expected: [(&str, &[usize]); 14] = [
        ("conv1.weight", &[8, 3, 3, 3]),
        ("bn1.weight", &[8]),
        ("bn1.bias", &[8]),
        ("bn1.running_mean", &[8]),
        ("bn1.running_var", &[8]),
        ("bn1.num_batches_tracked", &[]),
        ("layer1.0.conv.weight", &[8, 1, 3, 3]),
        ("layer1.0.fc.weight", &[8, 8, 1, 1]),
        ("layer1.0.fc.bias", &[8]),
        ("pre.weight", &[6, 8]),
        ("pre.bias", &[6]),
        ("head.fc.weight", &[4, 6]),
        ("head.fc.bias", &[4]),
        ("", &[]),
    ];
    assert_eq!(names, expected[..13]);
    assert_eq!(small(4).num_params(), 216 + 16 + 72 + 72 + 54 + 28);
}

#[test]
fn stages_blocks_pooling_and_head_follow_each_other() {
    let graph = small(4);
    let [stem, layer] = graph.stages() else {
        panic!()
    };
    assert_eq!(
        (stem.name.as_str(), stem.segment.nodes.clone()),
        ("stem", 0..4)
    );
    assert_eq!(layer.segment.input, stem.segment.output);
    assert_eq!(layer.blocks, std::slice::from_ref(&layer.segment));
    assert_eq!(graph.pooling(), 10..14);
    assert_eq!(graph.head().nodes, 14..16);
    assert!(matches!(graph.nodes()[14].op, Op::Dropout { .. }));
    assert_eq!(graph.stage_nodes(0..2).unwrap(), 0..10);
    assert_eq!(graph.stage_nodes(1..1).unwrap(), 4..4);
    for stages in [0..3, 3..3, std::ops::Range { start: 2, end: 1 }] {
        let error = graph.stage_nodes(stages).unwrap_err();
        assert!(matches!(error, GraphError::UnknownStage { stages: 2, .. }));
    }
    let stages = [
        "conv1.weight",
        "bn1.training",
        "layer1.0.fc.bias",
        "pre.weight",
        "head.fc.bias",
        "conv",
    ];
    let found = stages.map(|path| graph.stage_of(path));
    assert_eq!(found, [Some(0), Some(0), Some(1), Some(1), None, None]);
    let features = graph.with_classes(0);
    assert_eq!((features.nodes().len(), features.head().features), (14, 6));
    assert_eq!(features.with_classes(4), small(4));
}

#[test]
fn shapes_follow_from_the_size_of_the_images() {
    let graph = small(4);
    let shapes = graph.shapes(63, 32).unwrap();
    assert_eq!(
        shapes[1],
        Shape::Maps {
            channels: 8,
            size: [32, 16]
        }
    );
    assert_eq!(
        shapes[4],
        Shape::Maps {
            channels: 8,
            size: [16, 8]
        }
    );
    assert_eq!(shapes.last(), Some(&Shape::Rows { channels: 4 }));
    let counted = 27 * 8 * 32 * 16 + 9 * 8 * 16 * 8 + 64 + 48 + 24;
    assert_eq!(graph.multiply_adds(63, 32).unwrap(), counted);
    assert!(matches!(
        graph.shapes(0, 32),
        Err(GraphError::TooSmall { .. })
    ));
}

/// Writes a network whose only stage is this, and finishes it.
fn stage(inside: impl FnOnce(&mut Builder, Value) -> Value) -> Result<Graph, GraphError> {
    let mut b = Builder::new("wrong", 3);
    let x = b.images();
    let x = b.stage("only", |b| inside(b, x));
    let x = b.global_pool(x);
    b.finish("fc", x, 2)
}

#[test]
fn the_first_mistake_is_the_error() {
    let groups = stage(|b, x| {
        let x = b.conv2d("a", x, Conv::new(4, 3).groups(2));
        b.conv2d("b", x, Conv::new(0, 3))
    });
    assert_eq!(
        groups.unwrap_err().to_string(),
        "a: 3 to 4 channels can't be divided into 2 groups"
    );
    let zero = stage(|b, x| b.conv2d("b", x, Conv::new(0, 3))).unwrap_err();
    assert!(matches!(zero, GraphError::Zero { .. }), "{zero}");
    let zero = stage(|b, x| b.conv2d("b", x, Conv::new(4, 3).stride(0))).unwrap_err();
    assert_eq!(zero.to_string(), "b: its stride is zero");
    let sum = stage(|b, x| {
        let y = b.conv2d("a", x, Conv::new(3, 3).stride(2));
        b.add(x, y)
    });
    assert!(matches!(sum.unwrap_err(), GraphError::Mismatch { .. }));
    let large = stage(|b, x| b.max_pool(x, Pool2d::new(999, 1, 0))).unwrap_err();
    assert!(matches!(large, GraphError::TooSmall { .. }), "{large}");
    let stride = stage(|b, x| b.max_pool(x, Pool2d::new(2, 0, 0))).unwrap_err();
    assert!(matches!(stride, GraphError::Zero { .. }), "{stride}");
    let none = stage(|b, _| b.concat(&[])).unwrap_err();
    assert!(matches!(none, GraphError::Missing { .. }), "{none}");
    let row = stage(|b, x| b.token(x, 0)).unwrap_err();
    assert!(row.to_string().contains("takes a row of"), "{row}");
    let heads = stage(|b, x| b.attention(x, 2)).unwrap_err();
    assert!(matches!(heads, GraphError::Groups { .. }), "{heads}");
    let slice = stage(|b, x| b.slice(x, 2, 2)).unwrap_err();
    assert!(matches!(slice, GraphError::Input { .. }), "{slice}");
    let shuffle = stage(|b, x| b.channel_shuffle(x, 2)).unwrap_err();
    assert!(matches!(shuffle, GraphError::Input { .. }), "{shuffle}");
    let foreign = stage(|b, x| b.add(x, Value::of_node(9))).unwrap_err();
    assert_eq!(
        foreign,
        GraphError::Missing {
            what: "value that a node takes"
        }
    );
    let foreign = stage(|b, _| b.conv2d("a", Value::of_node(9), Conv::depthwise(3))).unwrap_err();
    assert!(matches!(foreign, GraphError::Zero { .. }), "{foreign}");
    let twice = stage(|b, x| {
        let x = b.batch_norm("a", x);
        b.batch_norm("a", x)
    });
    assert_eq!(
        twice.unwrap_err().to_string(),
        "two tensors are called a.weight"
    );
}

#[test]
fn cuts_through_which_more_than_one_value_passes_are_refused() {
    let mut b = Builder::new("leaky", 3);
    let x = b.images();
    let mut inner = x;
    let y = b.stage("a", |b| {
        inner = b.relu(x);
        b.relu(inner)
    });
    let y = b.stage("b", |b| b.add(y, inner));
    let y = b.global_pool(y);
    let error = b.finish("fc", y, 2).unwrap_err();
    assert!(
        matches!(&error, GraphError::Cut { what, .. } if what == "stage a"),
        "{error}"
    );

    let error = stage(|b, x| {
        let y = b.batch_norm("n", x);
        b.block(|b| b.add(x, y))
    });
    assert!(matches!(error.unwrap_err(), GraphError::Cut { .. }));

    let many = stage(|b, x| b.block(|b| (0..9).fold(x, |x, index| b.batch_norm(index, x))));
    let error = many.unwrap_err();
    assert!(
        matches!(
            error,
            GraphError::TooManyTensors {
                found: 18,
                most: 16,
                ..
            }
        ),
        "{error}"
    );

    let mut b = Builder::new("no stages", 3);
    let x = b.images();
    let x = b.global_pool(x);
    let error = b.finish("fc", x, 2).unwrap_err();
    assert_eq!(error, GraphError::Missing { what: "stages" });
}

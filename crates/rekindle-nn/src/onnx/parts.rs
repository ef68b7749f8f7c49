//! The pieces that graphs of ONNX are put together from.

use std::collections::BTreeMap;

use super::proto::{
    ATTRIBUTE_FLOAT, ATTRIBUTE_GRAPH, ATTRIBUTE_INT, ATTRIBUTE_INTS, AttributeProto,
    DimensionProto, FLOAT, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    StringStringEntryProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};
use super::{IR_VERSION, OPSET};

/// Returns a whole file around a graph, with metadata in the order of its keys.
pub fn model(graph: GraphProto, metadata: &BTreeMap<String, String>) -> ModelProto {
    let entries = metadata.iter().map(|(key, value)| StringStringEntryProto {
        key: Some(key.clone()),
        value: Some(value.clone()),
    });
    ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("rekindle".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        graph: Some(graph),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        metadata_props: entries.collect(),
    }
}

/// Returns a node with one output.
pub fn node(
    operation: &str,
    name: &str,
    inputs: &[&str],
    output: &str,
    attribute: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.to_string()],
        name: Some(name.to_string()),
        op_type: Some(operation.to_string()),
        attribute,
        ..NodeProto::default()
    }
}

/// Returns a weight: row-major values of this shape.
pub fn weight(name: String, shape: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        dims: shape.iter().map(|extent| *extent as i64).collect(),
        data_type: Some(FLOAT),
        name: Some(name),
        raw_data: Some(values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

/// Returns an attribute of a kind, without its value.
pub fn attribute(name: &str, kind: i32) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(kind),
        ..AttributeProto::default()
    }
}

/// Returns an integer.
pub fn int(name: &str, value: usize) -> AttributeProto {
    AttributeProto {
        i: Some(value as i64),
        ..attribute(name, ATTRIBUTE_INT)
    }
}

/// Returns a list of integers.
pub fn ints<const N: usize>(name: &str, values: [usize; N]) -> AttributeProto {
    AttributeProto {
        ints: values.iter().map(|value| *value as i64).collect(),
        ..attribute(name, ATTRIBUTE_INTS)
    }
}

/// Returns a number.
pub fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, ATTRIBUTE_FLOAT)
    }
}

/// Returns nodes that run where a condition says so.
pub fn branch(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        g: Some(graph),
        ..attribute(name, ATTRIBUTE_GRAPH)
    }
}

/// Returns an input or output of `f32` with these dimensions.
pub fn value(name: &str, dim: Vec<DimensionProto>) -> ValueInfoProto {
    typed(name, FLOAT, dim)
}

/// Returns an input or output of an element type with these dimensions.
pub fn typed(name: &str, kind: i32, dim: Vec<DimensionProto>) -> ValueInfoProto {
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(kind),
                shape: Some(TensorShapeProto { dim }),
            }),
        }),
    }
}

/// Returns a dimension that is free.
pub fn named(name: &str) -> DimensionProto {
    DimensionProto {
        dim_value: None,
        dim_param: Some(name.into()),
    }
}

/// Returns a dimension that is given.
pub fn fixed(extent: usize) -> DimensionProto {
    DimensionProto {
        dim_value: Some(extent as i64),
        dim_param: None,
    }
}

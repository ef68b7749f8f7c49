//! Represents the contents of a pickle as a graph of values.

/// One pickle, read to its end.
#[derive(Debug, Default)]
pub(super) struct Pickle {
    pub nodes: Vec<Node>,
    pub texts: Vec<Box<str>>,
    /// Every Python name that it refers to, as `module.name`, in order of appearance.
    pub globals: Vec<String>,
    pub root: Value,
}

/// A value, or the place of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Value {
    /// None, a float, bytes: what no tensor's description needs.
    #[default]
    Other,
    Bool(bool),
    Int(i64),
    Text(u32),
    Global(u32),
    Node(u32),
}

#[derive(Debug)]
pub(super) enum Node {
    /// A tuple, list or set.
    Sequence(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    /// An object outside of the pickle: a storage.
    Persistent(Value),
    Object(Box<Object>),
}

/// Result that calling or instantiating something would have had.
#[derive(Debug)]
pub(super) struct Object {
    pub callable: Value,
    pub arguments: Value,
    /// Its attributes, mostly.
    pub state: Value,
    /// Items that were set, if it is a kind of dictionary.
    pub items: Vec<(Value, Value)>,
}

impl Pickle {
    pub fn node(&self, value: Value) -> Option<&Node> {
        match value {
            Value::Node(index) => self.nodes.get(index as usize),
            _ => None,
        }
    }

    pub fn text(&self, value: Value) -> Option<&str> {
        match value {
            Value::Text(index) => self.texts.get(index as usize).map(|text| &**text),
            _ => None,
        }
    }

    pub fn global(&self, value: Value) -> Option<&str> {
        match value {
            Value::Global(index) => self.globals.get(index as usize).map(String::as_str),
            _ => None,
        }
    }

    pub fn sequence(&self, value: Value) -> Option<&[Value]> {
        match self.node(value)? {
            Node::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.node(value)? {
            Node::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    /// Returns the entry of a dictionary under a string.
    pub fn entry(&self, dict: Value, key: &str) -> Option<Value> {
        let pairs = self.dict(dict)?;
        let found = pairs.iter().rev().find(|(k, _)| self.text(*k) == Some(key));
        found.map(|(_, value)| *value)
    }
}

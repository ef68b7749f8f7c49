//! PyTorch's `.pth`: the tensors in a pickle's graph, by the path of keys that leads to each.

mod graph;
mod operands;
mod pickle;
mod python_names;
mod storages;
mod strided;

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;
use std::sync::Arc;

use crate::Error;
use crate::checkpoint::{ElementType, Format, NamedTensor};
use crate::contents::{Contents, guarded};
use graph::{Node, Object, Pickle, Value};
use pickle::DISGUISED;
use python_names::{is_known, runs_code};
use storages::{Storages, key_text, translate_io};
use strided::Strided;

/// Nobody nests further; Python itself stops at a thousand.
const MAX_DEPTH: usize = 100;

/// Bytes that all names together may take: a pickle can say one long key many times in few bytes.
const MAX_NAME_BYTES: usize = 64 << 20;

/// The tables in which a `torch.nn.Module` keeps its tensors and its parts.
const MODULE_TABLES: [&str; 3] = ["_parameters", "_buffers", "_modules"];

pub(crate) fn read(path: &Path, format: Format) -> Result<Contents, Error> {
    guarded(path, format, || {
        let (pickle, storages) = open(path, format)?;
        let refused = |global: &&String| *global == DISGUISED || runs_code(global);
        if let Some(global) = pickle.globals.iter().find(refused) {
            return Err(foreign_code(path, global));
        }
        let mut walk = Walk {
            pickle: &pickle,
            storages: Arc::new(storages),
            path: path.into(),
            format,
            name: String::new(),
            name_bytes: 0,
            steps: 8 * (pickle.nodes.len() + 1000),
            seen: HashSet::new(),
            open: HashSet::new(),
            contents: Contents::default(),
        };
        walk.visit(pickle.root, None, 0)?;
        let contents = walk.contents;
        if contents.tensors.is_empty()
            && let Some(global) = pickle.globals.iter().find(|global| !is_known(global))
        {
            return Err(foreign_code(path, global));
        }
        Ok(contents)
    })
}

/// Returns the first Python name in bytes that may be a pickle of the oldest protocol, which has no magic.
pub(crate) fn foreign_name_in(bytes: &[u8]) -> Option<String> {
    let pickle = Pickle::read(&mut Cursor::new(bytes)).ok()?;
    pickle.globals.into_iter().find(|global| !is_known(global))
}

fn open(path: &Path, format: Format) -> Result<(Pickle, Storages), Error> {
    let fail = |error| translate_io(path, format, error);
    match format {
        Format::PytorchZip => {
            let (bytes, storages) = Storages::zip(path)?;
            let pickle = Pickle::read(&mut Cursor::new(bytes)).map_err(fail)?;
            Ok((pickle, storages))
        }
        Format::PytorchLegacy => Storages::legacy(path),
        _ => {
            let mut reader = BufReader::new(File::open(path).map_err(Error::read(path))?);
            let pickle = Pickle::read(&mut reader).map_err(fail)?;
            Ok((pickle, Storages::none(path)?))
        }
    }
}

fn foreign_code(path: &Path, global: &str) -> Error {
    Error::ForeignCode {
        path: path.to_path_buf(),
        global: global.to_string(),
    }
}

/// A walk over everything that the saved object holds.
struct Walk<'a> {
    pickle: &'a Pickle,
    storages: Arc<Storages>,
    path: Arc<Path>,
    format: Format,
    /// Keys from the root to here, joined by dots.
    name: String,
    name_bytes: usize,
    /// Number of times that values may be visited again under another key.
    steps: usize,
    seen: HashSet<u32>,
    open: HashSet<u32>,
    contents: Contents,
}

impl<'a> Walk<'a> {
    /// Takes the tensors in `value`; `inside` is the class that nobody here knows around it.
    fn visit(
        &mut self,
        value: Value,
        inside: Option<&Arc<str>>,
        depth: usize,
    ) -> Result<(), Error> {
        let Value::Node(index) = value else {
            return Ok(());
        };
        let pickle = self.pickle;
        let Some(node) = pickle.node(value) else {
            return Ok(());
        };
        if let Node::Object(object) = node
            && let Some(tensor) = self.tensor(object)
        {
            return self.take(tensor?, inside);
        }
        if depth == MAX_DEPTH {
            return Err(self.corrupt(format!("it is nested deeper than {MAX_DEPTH} levels")));
        }
        self.steps = self.steps.saturating_sub(1);
        let is_new = self.seen.insert(index);
        if (!is_new && self.steps == 0) || !self.open.insert(index) {
            return Ok(());
        }
        match node {
            Node::Dict(pairs) => self.entries(pairs, inside, depth)?,
            Node::Sequence(items) => {
                for (position, item) in items.iter().enumerate() {
                    self.under(&position.to_string(), *item, inside, depth)?;
                }
            }
            Node::Persistent(_) => {}
            Node::Object(object) => self.object(object, inside, depth)?,
        }
        self.open.remove(&index);
        Ok(())
    }

    fn entries(
        &mut self,
        pairs: &[(Value, Value)],
        inside: Option<&Arc<str>>,
        depth: usize,
    ) -> Result<(), Error> {
        let pickle = self.pickle;
        for (key, value) in pairs {
            // Other keys, such as classes and tuples, lead to nothing that could be a state dict.
            if let Some(key) = key_text(pickle, *key) {
                self.under(&key, *value, inside, depth)?;
            }
        }
        Ok(())
    }

    fn under(
        &mut self,
        key: &str,
        value: Value,
        inside: Option<&Arc<str>>,
        depth: usize,
    ) -> Result<(), Error> {
        if !matches!(value, Value::Node(_)) {
            return Ok(());
        }
        let length = self.name.len();
        if length > 0 {
            self.name.push('.');
        }
        self.name.push_str(key);
        self.visit(value, inside, depth + 1)?;
        self.name.truncate(length);
        Ok(())
    }

    fn object(
        &mut self,
        object: &Object,
        inside: Option<&Arc<str>>,
        depth: usize,
    ) -> Result<(), Error> {
        let pickle = self.pickle;
        let class = self.class(object.callable).unwrap_or("an unnamed class");
        let foreign: Option<Arc<str>> = (!is_known(class)).then(|| class.into());
        if foreign.is_some() {
            self.contents.foreign.insert(class.to_string());
        }
        let inside = inside.or(foreign.as_ref());
        if let Some(tables) = self.module_tables(object.state) {
            for table in tables {
                self.visit(table, inside, depth)?;
            }
            return Ok(());
        }
        for argument in pickle.sequence(object.arguments).unwrap_or_default() {
            match pickle.node(*argument) {
                Some(Node::Dict(pairs)) => self.entries(pairs, inside, depth)?,
                Some(Node::Sequence(items)) => {
                    // `OrderedDict([(key, value), ..])`
                    for item in items {
                        if let Some([key, value]) = pickle.sequence(*item) {
                            self.entries(&[(*key, *value)], inside, depth)?;
                        }
                    }
                }
                _ => {}
            }
        }
        self.entries(&object.items, inside, depth)?;
        self.visit(object.state, inside, depth + 1)
    }

    /// Returns the name of a class, which legacy files keep outside of the pickle for modules: `("module", class,
    /// file, source)`.
    fn class(&self, callable: Value) -> Option<&'a str> {
        let pickle = self.pickle;
        match pickle.node(callable) {
            Some(Node::Persistent(id)) => pickle.global(*pickle.sequence(*id)?.get(1)?),
            _ => pickle.global(callable),
        }
    }

    /// Returns a module's tensors and parts, without the buffers that its state dict leaves out.
    fn module_tables(&mut self, state: Value) -> Option<[Value; 3]> {
        let pickle = self.pickle;
        let tables = MODULE_TABLES.map(|table| pickle.entry(state, table));
        let [Some(parameters), Some(buffers), Some(modules)] = tables else {
            return None;
        };
        let transient = pickle.entry(state, "_non_persistent_buffers_set");
        let transient = transient
            .and_then(|set| self.set_items(set))
            .unwrap_or_default();
        if !transient.is_empty() {
            let under = self.name.clone();
            let dot = if under.is_empty() { "" } else { "." };
            for name in transient {
                self.contents
                    .transient
                    .insert(format!("{under}{dot}{name}"));
            }
        }
        Some([parameters, buffers, modules])
    }

    /// Returns a set's strings: `set([..])` before protocol 4, its own instruction since.
    fn set_items(&self, set: Value) -> Option<Vec<String>> {
        let pickle = self.pickle;
        let items = match pickle.node(set)? {
            Node::Object(object) => {
                let [items] = pickle.sequence(object.arguments)? else {
                    return None;
                };
                pickle.sequence(*items)?
            }
            _ => pickle.sequence(set)?,
        };
        let texts = items.iter().filter_map(|item| pickle.text(*item));
        Some(texts.map(str::to_string).collect())
    }

    fn take(&mut self, tensor: Strided, inside: Option<&Arc<str>>) -> Result<(), Error> {
        if self.contents.transient.contains(&self.name) {
            return Ok(());
        }
        self.name_bytes += self.name.len();
        if self.name_bytes > MAX_NAME_BYTES {
            let limit = MAX_NAME_BYTES >> 20;
            return Err(self.corrupt(format!("its tensors' names take more than {limit} MiB")));
        }
        let name = self.name.clone();
        let (shape, element_type) = (tensor.shape.clone(), tensor.element_type);
        let identity = tensor.identity();
        let (path, format) = (Arc::clone(&self.path), self.format);
        let read = move || {
            guarded(&path, format, || {
                tensor
                    .read()
                    .map_err(|error| translate_io(&path, format, error))
            })
        };
        let path = Arc::clone(&self.path);
        let mut named =
            NamedTensor::new(name.clone(), shape, element_type, path, self.format, read);
        named.identity = identity;
        named.inside = inside.cloned();
        match self.contents.tensors.insert(name.clone(), named) {
            None => Ok(()),
            Some(_) => Err(Error::DuplicateTensor {
                path: self.path.to_path_buf(),
                name,
                detail: String::new(),
            }),
        }
    }

    /// Returns the tensor that a call would rebuild, where it is such a call.
    fn tensor(&self, object: &Object) -> Option<Result<Strided, Error>> {
        let pickle = self.pickle;
        let global = pickle.global(object.callable)?;
        let arguments = pickle.sequence(object.arguments)?;
        let function = match global.rsplit_once('.')? {
            ("torch._utils", function) => function.strip_prefix("_rebuild_")?,
            ("torch._tensor", "_rebuild_from_type_v2") => {
                // `function(*arguments)` as a class of its own.
                let [callable, _, inner, ..] = *arguments else {
                    return None;
                };
                return self.tensor(&Object {
                    callable,
                    arguments: inner,
                    state: Value::Other,
                    items: Vec::new(),
                });
            }
            _ => return None,
        };
        match function {
            "parameter" | "parameter_with_state" => match pickle.node(*arguments.first()?)? {
                Node::Object(inner) => self.tensor(inner),
                _ => None,
            },
            "tensor" | "tensor_v2" | "tensor_v3" | "qtensor" => Some(
                self.strided(arguments, function)
                    .map_err(|detail| self.corrupt(detail)),
            ),
            _ => Some(Ok(Strided::unreadable("a tensor of another layout"))),
        }
    }

    fn strided(&self, arguments: &[Value], function: &str) -> Result<Strided, String> {
        let pickle = self.pickle;
        let [storage, offset, shape, stride, ..] = *arguments else {
            return Err(format!("a tensor of {} arguments", arguments.len()));
        };
        let Some(Node::Persistent(id)) = pickle.node(storage) else {
            return Err("a tensor without a storage".to_string());
        };
        let Some([_, class, key, _, count, view @ ..]) = pickle.sequence(*id) else {
            return Err("a storage that is not described".to_string());
        };
        let class = pickle.global(*class).or(pickle.text(*class)).unwrap_or("?");
        let class = class.rsplit('.').next().unwrap_or(class);
        let type_of = |index: usize| {
            let name = pickle.global(*arguments.get(index)?)?;
            Some(element_type(name.rsplit('.').next()?))
        };
        // Negated and conjugated views say so in a last argument.
        let flags = arguments.get(6).and_then(|flags| pickle.dict(*flags));
        let element_type = match function {
            "qtensor" => ElementType::Other("quantised"),
            "tensor_v3" => type_of(6).unwrap_or(ElementType::Other("unknown")),
            _ if flags.is_some_and(|flags| !flags.is_empty()) => {
                ElementType::Other("a negated or conjugated view")
            }
            _ => element_type(class.trim_end_matches("Storage")),
        };
        // Files before PyTorch 1.6 may look at a part of a storage: (key, offset, size).
        let from = match view.first().and_then(|view| pickle.sequence(*view)) {
            Some([_, from, _]) => number(*from)?,
            _ => 0,
        };
        let offset = number(offset)?
            .checked_add(from)
            .ok_or("an offset beyond all bounds")?;
        let storage_elements = number(*count)?;
        Strided::new(
            Arc::clone(&self.storages),
            key_text(pickle, *key).ok_or("a storage without a key")?,
            element_type,
            offset,
            self.numbers(shape)?,
            self.numbers(stride)?,
            storage_elements,
        )
    }

    fn numbers(&self, value: Value) -> Result<Vec<usize>, String> {
        let items = match self.pickle.node(value) {
            // `torch.Size((2, 3))`
            Some(Node::Object(size)) => match self.pickle.sequence(size.arguments) {
                Some([inner]) => self.pickle.sequence(*inner),
                _ => None,
            },
            _ => self.pickle.sequence(value),
        };
        let items = items.ok_or("a tensor without a shape")?;
        items.iter().map(|item| number(*item)).collect()
    }

    fn corrupt(&self, detail: String) -> Error {
        Error::corrupt(&self.path, self.format.name(), detail)
    }
}

fn number(value: Value) -> Result<usize, String> {
    match value {
        Value::Int(number) => usize::try_from(number).map_err(|_| format!("an extent of {number}")),
        _ => Err("an extent that is no whole number".to_string()),
    }
}

/// Returns the type for a storage's class without its ending, or for a `torch.dtype`.
fn element_type(name: &str) -> ElementType {
    match name {
        "Double" | "float64" | "double" => ElementType::F64,
        "Float" | "float32" | "float" => ElementType::F32,
        "Half" | "float16" | "half" => ElementType::F16,
        "BFloat16" | "bfloat16" => ElementType::BF16,
        "Long" | "int64" | "long" => ElementType::I64,
        "Int" | "int32" | "int" => ElementType::I32,
        "Short" | "int16" | "short" => ElementType::I16,
        "Char" | "int8" => ElementType::I8,
        "uint64" => ElementType::U64,
        "uint32" => ElementType::U32,
        "uint16" => ElementType::U16,
        "Byte" | "uint8" => ElementType::U8,
        "Bool" | "bool" => ElementType::Bool,
        name if name.to_ascii_lowercase().starts_with("complex") => ElementType::Other("complex"),
        name if name.starts_with("float8") => ElementType::Other("a float of 8 bits"),
        _ => ElementType::Other("another type"),
    }
}

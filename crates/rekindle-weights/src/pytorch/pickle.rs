//! Reads a pickle as a graph of values, without building or calling anything.
//!
//! A pickle is a program for a small stack machine. Python runs it; here its instructions only link values: a call is
//! kept as the callable's name and its arguments, whatever they are. Objects of classes that nobody here knows
//! are therefore no obstacle, and take no more memory than their instructions account for.
//! Instructions and their arguments as in CPython's `Lib/pickletools.py`.

use std::collections::HashMap;
use std::io::{self, BufRead};

use super::graph::{Node, Object, Pickle, Value};
use super::operands::{
    LONGEST_TEXT, not_a_pickle, read_array, read_length, read_line, read_long, read_number, skip,
    skip_counted,
};

/// Bounds memory where one byte makes one value: lists of a million losses fit several times.
const MAX_VALUES: usize = 2 << 20;

/// Stands for a name that `STACK_GLOBAL` takes from something else than two strings, which only a pickle that is
/// built to deceive does.
pub(super) const DISGUISED: &str = "a name put together while loading";

impl Pickle {
    /// Reads one pickle and leaves `reader` behind it.
    ///
    /// # Errors
    /// `InvalidData` where the bytes are no pickle, `UnexpectedEof` where they end before it does.
    pub fn read(reader: &mut impl BufRead) -> io::Result<Self> {
        let mut machine = Machine::default();
        while machine.step(reader)? {}
        machine.pickle.root = machine.pop()?;
        Ok(machine.pickle)
    }
}

#[derive(Default)]
struct Machine {
    pickle: Pickle,
    stack: Vec<Value>,
    marks: Vec<usize>,
    memo: HashMap<u64, Value>,
    known_globals: HashMap<String, u32>,
    made: usize,
}

impl Machine {
    /// Reads one instruction; `false` after the last.
    fn step(&mut self, reader: &mut impl BufRead) -> io::Result<bool> {
        let opcode = read_array::<1>(reader)?[0];
        match opcode {
            b'.' => return Ok(false),
            0x80 => drop(read_array::<1>(reader)?),
            0x95 => drop(read_array::<8>(reader)?),
            b'(' => {
                self.count()?;
                self.marks.push(self.stack.len());
            }
            b'0' => match self.marks.last() {
                Some(mark) if *mark == self.stack.len() => drop(self.marks.pop()),
                _ => drop(self.pop()?),
            },
            b'1' => drop(self.pop_to_mark()?),
            b'2' => {
                let top = *self.stack.last().ok_or_else(not_a_pickle)?;
                self.push(top)?;
            }
            b'c' | b'i' => self.named(opcode, reader)?,
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let texts = self.pickle.text(module).zip(self.pickle.text(name));
                let global = match texts {
                    Some((module, name)) => format!("{module}.{name}"),
                    None => DISGUISED.to_string(),
                };
                let global = self.global(global);
                self.push(global)?;
            }
            b'q' | b'r' | b'p' | 0x94 => {
                let key = match opcode {
                    b'q' => u64::from(read_array::<1>(reader)?[0]),
                    b'r' => u64::from(u32::from_le_bytes(read_array(reader)?)),
                    b'p' => read_number(reader)?,
                    _ => self.memo.len() as u64,
                };
                let top = *self.stack.last().ok_or_else(not_a_pickle)?;
                self.count()?;
                self.memo.insert(key, top);
            }
            b'h' | b'j' | b'g' => {
                let key = match opcode {
                    b'h' => u64::from(read_array::<1>(reader)?[0]),
                    b'j' => u64::from(u32::from_le_bytes(read_array(reader)?)),
                    _ => read_number(reader)?,
                };
                let value = *self.memo.get(&key).ok_or_else(not_a_pickle)?;
                self.push(value)?;
            }
            b'P' => {
                let line = read_line(reader)?;
                let id = self.text(line)?;
                self.push_node(Node::Persistent(id))?;
            }
            b'Q' => {
                let id = self.pop()?;
                self.push_node(Node::Persistent(id))?;
            }
            b'R' | 0x81 | 0x92 | b'o' | b'b' => self.object(opcode)?,
            b'}'
            | b']'
            | b')'
            | 0x8f
            | b'd'
            | b'l'
            | b't'
            | 0x91
            | 0x85..=0x87
            | b's'
            | b'u'
            | b'a'
            | b'e'
            | 0x90 => self.container(opcode)?,
            _ => {
                let value = self.scalar(opcode, reader)?;
                self.push(value)?;
            }
        }
        Ok(true)
    }

    /// `GLOBAL`, and `INST`, which instantiates it as well.
    fn named(&mut self, opcode: u8, reader: &mut impl BufRead) -> io::Result<()> {
        let module = read_line(reader)?;
        let name = read_line(reader)?;
        let callable = self.global(format!("{module}.{name}"));
        if opcode == b'c' {
            return self.push(callable);
        }
        let arguments = self.pop_to_mark()?;
        let arguments = self.add(Node::Sequence(arguments))?;
        self.push_object(callable, arguments)
    }

    fn object(&mut self, opcode: u8) -> io::Result<()> {
        match opcode {
            b'o' => {
                let mut arguments = self.pop_to_mark()?;
                if arguments.is_empty() {
                    return Err(not_a_pickle());
                }
                let callable = arguments.remove(0);
                let arguments = self.add(Node::Sequence(arguments))?;
                self.push_object(callable, arguments)
            }
            b'b' => {
                let state = self.pop()?;
                let top = *self.stack.last().ok_or_else(not_a_pickle)?;
                // A dictionary's attributes say nothing about its entries.
                if let Some(Node::Object(object)) = self.node_mut(top) {
                    object.state = state;
                }
                Ok(())
            }
            _ => {
                let mut arguments = self.pop()?;
                if opcode == 0x92 {
                    let keywords = arguments;
                    let positional = self.pop()?;
                    arguments = self.add(Node::Sequence(vec![positional, keywords]))?;
                }
                let callable = self.pop()?;
                self.push_object(callable, arguments)
            }
        }
    }

    fn container(&mut self, opcode: u8) -> io::Result<()> {
        match opcode {
            b'}' => self.push_node(Node::Dict(Vec::new())),
            b']' | b')' | 0x8f => self.push_node(Node::Sequence(Vec::new())),
            b'd' => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Dict(pairs(&items)?))
            }
            b'l' | b't' | 0x91 => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Sequence(items))
            }
            0x85..=0x87 => {
                let count = usize::from(opcode - 0x84);
                let from = self.bottom().max(self.stack.len().saturating_sub(count));
                let items = self.stack.split_off(from);
                if items.len() != count {
                    return Err(not_a_pickle());
                }
                self.push_node(Node::Sequence(items))
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.extend(vec![(key, value)])
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.extend(pairs(&items)?)
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            _ => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
        }
    }

    /// Puts entries into the dictionary, or the object that is a kind of one, on top of the stack.
    fn extend(&mut self, entries: Vec<(Value, Value)>) -> io::Result<()> {
        let top = *self.stack.last().ok_or_else(not_a_pickle)?;
        match self.node_mut(top) {
            Some(Node::Dict(into)) => into.extend(entries),
            Some(Node::Object(object)) => object.items.extend(entries),
            _ => return Err(not_a_pickle()),
        }
        Ok(())
    }

    fn append(&mut self, items: Vec<Value>) -> io::Result<()> {
        let top = *self.stack.last().ok_or_else(not_a_pickle)?;
        match self.node_mut(top) {
            Some(Node::Sequence(into)) => into.extend(items),
            Some(Node::Object(object)) => {
                let from = object.items.len() as i64;
                let numbered = (from..).zip(items);
                object
                    .items
                    .extend(numbered.map(|(index, item)| (Value::Int(index), item)));
            }
            _ => return Err(not_a_pickle()),
        }
        Ok(())
    }

    fn scalar(&mut self, opcode: u8, reader: &mut impl BufRead) -> io::Result<Value> {
        Ok(match opcode {
            b'U' | 0x8c => self.string(reader, 1)?,
            b'T' | b'X' => self.string(reader, 4)?,
            0x8d => self.string(reader, 8)?,
            b'V' => {
                let line = read_line(reader)?;
                self.text(line)?
            }
            b'S' => {
                let line = read_line(reader)?;
                self.text(line.trim_matches(['\'', '"']).to_string())?
            }
            0x88 => Value::Bool(true),
            0x89 => Value::Bool(false),
            b'K' => Value::Int(i64::from(read_array::<1>(reader)?[0])),
            b'M' => Value::Int(i64::from(u16::from_le_bytes(read_array(reader)?))),
            b'J' => Value::Int(i64::from(i32::from_le_bytes(read_array(reader)?))),
            b'I' | b'L' => match read_line(reader)?.trim_end_matches('L') {
                "00" => Value::Bool(false),
                "01" => Value::Bool(true),
                number => number.parse().map_or(Value::Other, Value::Int),
            },
            0x8a => read_long(reader, 1)?,
            0x8b => read_long(reader, 4)?,
            b'N' => Value::Other,
            b'G' => skip(reader, 8).map(|()| Value::Other)?,
            b'F' => read_line(reader).map(|_| Value::Other)?,
            b'C' => skip_counted(reader, 1)?,
            b'B' => skip_counted(reader, 4)?,
            0x8e | 0x96 => skip_counted(reader, 8)?,
            _ => return Err(not_a_pickle()),
        })
    }

    fn string(&mut self, reader: &mut impl BufRead, length_bytes: usize) -> io::Result<Value> {
        let length = read_length(reader, length_bytes)?;
        if length > LONGEST_TEXT {
            skip(reader, length)?;
            return Ok(Value::Other);
        }
        let mut bytes = vec![0; length as usize];
        reader.read_exact(&mut bytes)?;
        self.text(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn text(&mut self, text: String) -> io::Result<Value> {
        self.count()?;
        self.pickle.texts.push(text.into_boxed_str());
        Ok(Value::Text(self.pickle.texts.len() as u32 - 1))
    }

    fn global(&mut self, name: String) -> Value {
        let globals = &mut self.pickle.globals;
        let index = *self.known_globals.entry(name).or_insert_with_key(|name| {
            globals.push(name.clone());
            globals.len() as u32 - 1
        });
        Value::Global(index)
    }

    fn push_object(&mut self, callable: Value, arguments: Value) -> io::Result<()> {
        self.push_node(Node::Object(Box::new(Object {
            callable,
            arguments,
            state: Value::Other,
            items: Vec::new(),
        })))
    }

    fn push_node(&mut self, node: Node) -> io::Result<()> {
        let value = self.add(node)?;
        self.push(value)
    }

    fn add(&mut self, node: Node) -> io::Result<Value> {
        self.count()?;
        self.pickle.nodes.push(node);
        Ok(Value::Node(self.pickle.nodes.len() as u32 - 1))
    }

    fn push(&mut self, value: Value) -> io::Result<()> {
        self.count()?;
        self.stack.push(value);
        Ok(())
    }

    fn count(&mut self) -> io::Result<()> {
        self.made += 1;
        if self.made > 4 * MAX_VALUES {
            let detail = format!("a pickle of more than {MAX_VALUES} values");
            return Err(io::Error::new(io::ErrorKind::InvalidData, detail));
        }
        Ok(())
    }

    /// Returns the start of the part of the stack that instructions may take from.
    fn bottom(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> io::Result<Value> {
        if self.stack.len() <= self.bottom() {
            return Err(not_a_pickle());
        }
        self.stack.pop().ok_or_else(not_a_pickle)
    }

    fn pop_to_mark(&mut self) -> io::Result<Vec<Value>> {
        let mark = self.marks.pop().ok_or_else(not_a_pickle)?;
        Ok(self.stack.split_off(mark))
    }

    fn node_mut(&mut self, value: Value) -> Option<&mut Node> {
        match value {
            Value::Node(index) => self.pickle.nodes.get_mut(index as usize),
            _ => None,
        }
    }
}

fn pairs(items: &[Value]) -> io::Result<Vec<(Value, Value)>> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
    } else {
        Err(not_a_pickle())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn globals(pickle: &[u8]) -> Vec<String> {
        Pickle::read(&mut &pickle[..]).unwrap().globals
    }

    #[test]
    fn names_the_call_of_every_protocol() {
        // pickle.dumps of an object whose __reduce__ returns (os.system, ("true",))
        for pickle in [
            &b"cposix\nsystem\np0\n(Vtrue\np1\ntp2\nRp3\n."[..],
            b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.",
            b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.",
            b"(S'true'\niposix\nsystem\n.",
            b"(cposix\nsystem\nS'true'\no.",
        ] {
            assert_eq!(globals(pickle), ["posix.system"]);
        }
    }

    #[test]
    fn follows_the_memo_and_sees_disguise() {
        // Both strings come back out of the memo.
        let recalled = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x9400h\x00h\x01\x93.";
        assert_eq!(globals(recalled), ["posix.system"]);
        // Something else was pushed and popped after the name: the stack still holds it.
        let hidden = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94N0\x93.";
        assert_eq!(globals(hidden), ["posix.system"]);
        assert_eq!(globals(b"\x80\x04\x8c\x05posixN\x93."), [DISGUISED]);
    }

    #[test]
    fn values_are_pythons() {
        // pickle.dumps({"a": -3, "b": [1, True, None], "c": {"d": 2**40}}, protocol=2), its memo left out.
        let bytes = b"\x80\x02}(X\x01\x00\x00\x00aJ\xfd\xff\xff\xffX\x01\x00\x00\x00b](K\x01\x88NeX\x01\x00\x00\x00c}X\x01\x00\x00\x00d\x8a\x06\x00\x00\x00\x00\x00\x01su.";
        let pickle = Pickle::read(&mut &bytes[..]).unwrap();
        assert_eq!(pickle.entry(pickle.root, "a"), Some(Value::Int(-3)));
        let list = pickle.entry(pickle.root, "b").unwrap();
        assert_eq!(
            pickle.sequence(list).unwrap(),
            [Value::Int(1), Value::Bool(true), Value::Other]
        );
        let inner = pickle.entry(pickle.root, "c").unwrap();
        assert_eq!(pickle.entry(inner, "d"), Some(Value::Int(1 << 40)));
    }

    #[test]
    fn ends_are_errors_not_answers() {
        for bytes in [
            &b"\x80\x02cposix\nsys"[..],
            b"\x80\x02X\xff\xff\xff\xff",
            b"\xff",
            b".",
            b"(.",
            b"]s.",
            b"(K\x01u.",
            b"h\x00.",
            b"\x8b\xff\xff\xff\xff.",
        ] {
            assert!(Pickle::read(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }
}

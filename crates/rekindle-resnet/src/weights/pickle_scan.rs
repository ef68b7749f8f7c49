//! Finds the Python names that a pickle refers to, without building anything from it.
//!
//! A pickle is a program for a small stack machine, and two of its instructions (`GLOBAL` and
//! `STACK_GLOBAL`) name a Python callable that a later instruction calls. The reader used for
//! tensors never calls any of them and passes over those it does not know; a file of weights that
//! wants `os.system` is still one to refuse loudly, before somebody hands it to Python.
//! Instructions and their arguments as in CPython's `Lib/pickletools.py`.

use std::collections::HashMap;
use std::io::{self, BufRead, Read};

/// The first name in a pickle that has no place in a file of weights, if there is one.
/// `Err` where the bytes end before the pickle does or are no pickle.
pub(super) fn foreign_global(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut scan = Scan::default();
    while scan.step(reader)? {}
    Ok(scan.globals.into_iter().find(|global| !is_known(global)))
}

/// As [`foreign_global`], for bytes that may not be a pickle at all: then `None`.
pub(super) fn foreign_global_in(reader: &mut impl BufRead) -> Option<String> {
    foreign_global(reader).ok().flatten()
}

/// Names that a state dict, or a saved module or training state around it, refers to.
fn is_known(global: &str) -> bool {
    const EXACT: &[&str] = &[
        "collections.OrderedDict",
        "collections.defaultdict",
        "collections.Counter",
        "argparse.Namespace",
        "_codecs.encode",
        "numpy.dtype",
        "numpy.ndarray",
        "numpy.core.multiarray.scalar",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "torch.Size",
        "torch.device",
        "torch.Tensor",
        "torch.serialization._get_layout",
        "torch._tensor._rebuild_from_type_v2",
        "torch.optim.swa_utils.AveragedModel",
        "pathlib.Path",
        "pathlib.PosixPath",
        "pathlib.WindowsPath",
        "pathlib.PurePosixPath",
    ];
    const BUILTINS: &[&str] = &[
        "set",
        "frozenset",
        "dict",
        "list",
        "tuple",
        "int",
        "float",
        "complex",
        "bool",
        "str",
        "bytes",
        "bytearray",
        "slice",
        "range",
        "object",
    ];
    let (module, name) = global.rsplit_once('.').unwrap_or(("", global));
    EXACT.contains(&global)
        || (matches!(module, "builtins" | "__builtin__") && BUILTINS.contains(&name))
        || (module == "torch._utils" && name.starts_with("_rebuild_"))
        || (module == "torch" && (name.ends_with("Storage") || is_torch_type(name)))
        || (module == "torch.storage" && name.ends_with("Storage"))
        || [
            "torch.nn.modules.",
            "torch.nn.parameter.",
            "torch.nn.parallel.",
            "torchvision.models.",
            "torchvision.ops.",
            "timm.models.",
            "timm.layers.",
        ]
        .iter()
        .any(|prefix| global.starts_with(prefix))
}

fn is_torch_type(name: &str) -> bool {
    [
        "float", "bfloat", "int", "uint", "bool", "half", "double", "long", "short", "complex",
    ]
    .iter()
    .any(|start| name.starts_with(start))
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Enough for every module path and class name; longer strings are read past.
const LONGEST_NAME: u64 = 4096;

/// What of the stack machine is needed to tell which two strings `STACK_GLOBAL` takes.
#[derive(Default)]
struct Scan {
    globals: Vec<String>,
    /// The two values pushed last, where they are strings.
    recent: [Option<String>; 2],
    memo: HashMap<u64, Option<String>>,
}

impl Scan {
    /// Reads one instruction; `false` after the last.
    fn step(&mut self, reader: &mut impl BufRead) -> io::Result<bool> {
        let opcode = read_array::<1>(reader)?[0];
        match opcode {
            b'.' => return Ok(false),
            b'c' | b'i' => {
                let module = read_line(reader)?;
                let name = read_line(reader)?;
                self.globals.push(format!("{module}.{name}"));
                self.push(None);
            }
            0x93 => {
                // A pickle made by Python pushes module and name just before. Anything else is
                // built to deceive and reported as such.
                let [module, name] = std::mem::take(&mut self.recent);
                self.globals.push(match (module, name) {
                    (Some(module), Some(name)) => format!("{module}.{name}"),
                    _ => "a name put together while loading".to_string(),
                });
                self.push(None);
            }
            b'U' | 0x8c => self.read_string(reader, 1)?,
            b'T' | b'X' => self.read_string(reader, 4)?,
            0x8d => self.read_string(reader, 8)?,
            b'V' | b'S' => {
                let line = read_line(reader)?;
                let quotes: &[char] = if opcode == b'S' { &['\'', '"'] } else { &[] };
                self.push(Some(line.trim_matches(quotes).to_string()));
            }
            b'q' => self.memoise(u64::from(read_array::<1>(reader)?[0])),
            b'r' => self.memoise(u64::from(u32::from_le_bytes(read_array(reader)?))),
            b'p' => {
                let key = read_line(reader)?.parse().map_err(|_| not_a_pickle())?;
                self.memoise(key);
            }
            0x94 => self.memoise(self.memo.len() as u64),
            b'h' => self.recall(u64::from(read_array::<1>(reader)?[0])),
            b'j' => self.recall(u64::from(u32::from_le_bytes(read_array(reader)?))),
            b'g' => {
                let key = read_line(reader)?.parse().map_err(|_| not_a_pickle())?;
                self.recall(key);
            }
            0x80 => {
                read_array::<1>(reader)?;
            }
            0x95 => {
                read_array::<8>(reader)?;
            }
            _ => {
                skip_argument(opcode, reader)?;
                self.push(None);
            }
        }
        Ok(true)
    }

    fn push(&mut self, value: Option<String>) {
        self.recent.swap(0, 1);
        self.recent[1] = value;
    }

    fn memoise(&mut self, key: u64) {
        self.memo.insert(key, self.recent[1].clone());
    }

    fn recall(&mut self, key: u64) {
        let value = self.memo.get(&key).cloned().flatten();
        self.push(value);
    }

    fn read_string(&mut self, reader: &mut impl BufRead, length_bytes: usize) -> io::Result<()> {
        let length = read_length(reader, length_bytes)?;
        let value = if length <= LONGEST_NAME {
            let mut bytes = vec![0; length as usize];
            reader.read_exact(&mut bytes)?;
            Some(String::from_utf8_lossy(&bytes).into_owned())
        } else {
            skip(reader, length)?;
            None
        };
        self.push(value);
        Ok(())
    }
}

/// Reads past the argument of an instruction that neither names nor moves a string.
fn skip_argument(opcode: u8, reader: &mut impl BufRead) -> io::Result<()> {
    match opcode {
        b'('
        | b'0'
        | b'1'
        | b'2'
        | b'N'
        | b'Q'
        | b'R'
        | b'b'
        | b'd'
        | b'}'
        | b'l'
        | b']'
        | b'a'
        | b'e'
        | b't'
        | b')'
        | b's'
        | b'u'
        | b'o'
        | 0x81
        | 0x85..=0x87
        | 0x88
        | 0x89
        | 0x8f..=0x92
        | 0x97
        | 0x98 => Ok(()),
        b'K' | 0x82 => skip(reader, 1),
        b'M' | 0x83 => skip(reader, 2),
        b'J' | 0x84 => skip(reader, 4),
        b'G' => skip(reader, 8),
        b'I' | b'L' | b'F' | b'P' => read_line(reader).map(drop),
        b'C' | 0x8a => read_length(reader, 1).and_then(|n| skip(reader, n)),
        b'B' | 0x8b => read_length(reader, 4).and_then(|n| skip(reader, n)),
        0x8e | 0x96 => read_length(reader, 8).and_then(|n| skip(reader, n)),
        _ => Err(not_a_pickle()),
    }
}

fn read_array<const N: usize>(reader: &mut impl BufRead) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn read_length(reader: &mut impl BufRead, bytes: usize) -> io::Result<u64> {
    let mut length = [0; 8];
    reader.read_exact(&mut length[..bytes])?;
    Ok(u64::from_le_bytes(length))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(LONGEST_NAME)
        .read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(not_a_pickle());
    }
    Ok(String::from_utf8_lossy(&line)
        .trim_end_matches('\r')
        .to_string())
}

fn skip(reader: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    if skipped == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn not_a_pickle() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "not a pickle")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn scan(pickle: &[u8]) -> Option<String> {
        foreign_global(&mut &pickle[..]).unwrap()
    }

    #[test]
    fn names_the_call_of_every_protocol() {
        // pickle.dumps of an object whose __reduce__ returns (os.system, ("true",))
        assert_eq!(
            scan(b"cposix\nsystem\np0\n(Vtrue\np1\ntp2\nRp3\n.").unwrap(),
            "posix.system"
        );
        assert_eq!(
            scan(b"\x80\x02cposix\nsystem\nq\x00X\x04\x00\x00\x00trueq\x01\x85q\x02Rq\x03.")
                .unwrap(),
            "posix.system"
        );
        assert_eq!(
            scan(b"\x80\x04\x95\x1f\x00\x00\x00\x00\x00\x00\x00\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x04true\x94\x85\x94R\x94.").unwrap(),
            "posix.system"
        );
    }

    #[test]
    fn follows_the_memo_and_refuses_disguise() {
        // Both strings come back out of the memo.
        let recalled = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x940000h\x00h\x01\x93.";
        assert_eq!(scan(recalled).unwrap(), "posix.system");
        // The name is on the stack, but something else was pushed and popped after it.
        let hidden = b"\x80\x04\x8c\x05posix\x94\x8c\x06system\x94N0\x93.";
        assert_eq!(scan(hidden).unwrap(), "a name put together while loading");
    }

    #[test]
    fn knows_what_state_dicts_use() {
        for global in [
            "collections.OrderedDict",
            "torch._utils._rebuild_tensor_v2",
            "torch.FloatStorage",
            "torch.float16",
            "torch.nn.modules.conv.Conv2d",
            "torchvision.models.resnet.ResNet",
            "builtins.set",
        ] {
            assert!(is_known(global), "{global}");
        }
        for global in [
            "builtins.eval",
            "os.system",
            "torch.hub.load",
            "torch.load",
            "posix.fork",
            "nt.system",
            "torch._utils.os.system",
        ] {
            assert!(!is_known(global), "{global}");
        }
    }

    #[test]
    fn ends_are_errors_not_answers() {
        assert!(foreign_global(&mut &b"\x80\x02cposix\nsys"[..]).is_err());
        assert!(foreign_global(&mut &b"\x80\x02X\xff\xff\xff\xff"[..]).is_err());
        assert!(foreign_global(&mut &b"\xff"[..]).is_err());
    }
}

//! Writes `.pth` files as `torch.save` lays them out, for tests without Python.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs::File;
use std::io::Write;
use std::path::Path;

use zip::write::{SimpleFileOptions, ZipWriter};

/// A tensor for a state dict: name, PyTorch's storage class, shape, little-endian bytes.
pub struct Stored {
    pub name: String,
    pub storage: &'static str,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

pub fn floats(name: &str, shape: &[usize], values: &[f32]) -> Stored {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    Stored {
        name: name.to_string(),
        storage: "FloatStorage",
        shape: shape.to_vec(),
        bytes: values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
    }
}

pub fn longs(name: &str, shape: &[usize], values: &[i64]) -> Stored {
    Stored {
        storage: "LongStorage",
        bytes: values
            .iter()
            .flat_map(|value| value.to_le_bytes())
            .collect(),
        ..floats(name, shape, &vec![0.0; values.len()])
    }
}

/// Position of the state dict in a training checkpoint.
#[derive(Clone, Copy)]
pub enum Nesting {
    Plain,
    /// `{KEY: state dict, "epoch": 3, "optimizer": {"momentum": tensor}}`
    Under(&'static str),
}

pub fn write_zip(path: &Path, tensors: &[Stored], nesting: Nesting) {
    write_zip_of(path, &pickle(tensors, nesting, false), tensors);
}

/// The container around any pickle.
pub fn write_zip_of(path: &Path, pickle: &[u8], tensors: &[Stored]) {
    let mut zip = ZipWriter::new(File::create(path).unwrap());
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut add = |name: String, bytes: &[u8]| {
        zip.start_file(format!("archive/{name}"), stored).unwrap();
        zip.write_all(bytes).unwrap();
    };
    add("data.pkl".into(), pickle);
    add("byteorder".into(), b"little");
    for (key, tensor) in tensors.iter().enumerate() {
        add(format!("data/{key}"), &tensor.bytes);
    }
    add("version".into(), b"3\n");
    zip.finish().unwrap();
}

pub fn write_legacy(path: &Path, tensors: &[Stored], nesting: Nesting) {
    let mut file = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    file.extend(b"\x80\x02M\xe9\x03.");
    file.extend(b"\x80\x02}");
    string(&mut file, "protocol_version");
    file.extend(b"M\xe9\x03s");
    string(&mut file, "little_endian");
    file.extend(b"\x88s.");
    file.extend(pickle(tensors, nesting, true));
    file.extend(b"\x80\x02](");
    for key in 0..tensors.len() {
        string(&mut file, &key.to_string());
    }
    file.extend(b"e.");
    for tensor in tensors {
        let count: usize = tensor.shape.iter().product();
        file.extend((count as i64).to_le_bytes());
        file.extend(&tensor.bytes);
    }
    std::fs::write(path, file).unwrap();
}

pub fn pickle(tensors: &[Stored], nesting: Nesting, legacy: bool) -> Vec<u8> {
    let mut out = b"\x80\x02}".to_vec();
    if let Nesting::Under(key) = nesting {
        string(&mut out, "epoch");
        out.extend(b"K\x03s");
        string(&mut out, "optimizer");
        out.push(b'}');
        string(&mut out, "momentum");
        rebuild(&mut out, 0, &tensors[0], legacy);
        out.extend(b"ss");
        string(&mut out, key);
        out.push(b'}');
    }
    for (key, tensor) in tensors.iter().enumerate() {
        string(&mut out, &tensor.name);
        rebuild(&mut out, key, tensor, legacy);
        out.push(b's');
    }
    if matches!(nesting, Nesting::Under(_)) {
        out.push(b's');
    }
    out.push(b'.');
    out
}

/// `_rebuild_tensor_v2(storage, 0, shape, strides, False, OrderedDict())`
fn rebuild(out: &mut Vec<u8>, key: usize, tensor: &Stored, legacy: bool) {
    let count: usize = tensor.shape.iter().product();
    out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
    string(out, "storage");
    out.extend(format!("ctorch\n{}\n", tensor.storage).bytes());
    string(out, &key.to_string());
    string(out, "cpu");
    int(out, count);
    if legacy {
        out.push(b'N');
    }
    out.extend(b"tQK\x00");
    tuple(out, &tensor.shape);
    let strides: Vec<usize> = (0..tensor.shape.len())
        .map(|axis| tensor.shape[axis + 1..].iter().product())
        .collect();
    tuple(out, &strides);
    out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
}

fn tuple(out: &mut Vec<u8>, values: &[usize]) {
    out.push(b'(');
    for &value in values {
        int(out, value);
    }
    out.push(b't');
}

fn int(out: &mut Vec<u8>, value: usize) {
    out.push(b'J');
    out.extend(i32::try_from(value).unwrap().to_le_bytes());
}

fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.bytes());
}

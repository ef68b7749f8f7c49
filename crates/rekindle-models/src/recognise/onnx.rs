//! Networks out of ONNX files.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use rekindle_nn::onnx::{ImportOptions, Imported, import};
use rekindle_weights::{Checkpoint, Error as WeightsError, Format, LoadOptions, NetworkSource};

use super::pixels::{BYTES, TAKES, taken};
use super::{Found, find};
use crate::Error;

/// Reads an ONNX file, and the files of weights beside it that it names.
pub(crate) fn open(
    path: &Path,
    options: &LoadOptions,
    architecture: Option<&str>,
) -> Result<Found, Error> {
    let bytes = std::fs::read(path).map_err(|source| WeightsError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let import_options = ImportOptions {
        features_from: options.features_from.clone(),
        ..ImportOptions::default()
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut beside = |location: &str, offset: u64, length: Option<u64>| {
        read_beside(folder, location, offset, length)
    };
    let imported = import(&bytes, &mut beside, &import_options);
    let imported = imported.map_err(|source| Error::Onnx {
        path: path.to_path_buf(),
        source,
    })?;
    let Imported {
        graph,
        mut tensors,
        mut metadata,
        producer,
        image_size,
        takes_bytes,
        notes,
    } = imported;
    // What the file says is the network's.
    metadata.remove(super::GRAPH);
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    let named = metadata
        .get("architecture")
        .cloned()
        .or(architecture.map(str::to_string));
    let name = named.or(stem).unwrap_or_else(|| "onnx".into());
    metadata.remove(IMAGE_SIZE);
    metadata.remove(TAKES);
    let pixels = match takes_bytes {
        true => Some(BYTES),
        false => taken(&graph, &tensors),
    };
    if let Some(pixels) = pixels {
        metadata.insert(TAKES.into(), pixels.into());
    }
    if let Some([height, width]) = image_size
        && height == width
    {
        metadata.insert(IMAGE_SIZE.into(), height.to_string());
    }
    let specs = graph.tensors().iter();
    let all: Vec<_> = specs
        .map(|spec| {
            let values = tensors.remove(&spec.name).unwrap_or_default();
            (spec.name.clone(), spec.shape.clone(), values)
        })
        .collect();
    let checkpoint = Checkpoint::from_values(path, Format::Onnx, all, metadata);
    // Our own files are of networks that are described in code, and named as there.
    if producer.starts_with("rekindle")
        && options.features_from.is_none()
        && let Ok(found) = find(&checkpoint, &LoadOptions::default())
        && found.name == name
        && found.config.num_params() == graph.num_params()
    {
        return Ok(found);
    }
    let mut source = NetworkSource::default();
    source.tensors = checkpoint.tensors.len();
    source.choice = notes.join("; ");
    Ok(Found {
        config: graph.with_name(&name),
        name,
        checkpoint,
        source,
    })
}

/// Key of metadata under which the side of the images is that an ONNX file takes.
pub(crate) const IMAGE_SIZE: &str = "image_size";

/// Reads a part of a file beside another, and of none elsewhere.
fn read_beside(
    folder: &Path,
    location: &str,
    offset: u64,
    length: Option<u64>,
) -> Result<Vec<u8>, String> {
    let is_inside = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::CurDir);
    if location.is_empty() || !Path::new(location).components().all(is_inside) {
        return Err("it is not named as a file beside the ONNX file".into());
    }
    let mut file = File::open(folder.join(location)).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    let rest = size.checked_sub(offset);
    let rest = rest.ok_or_else(|| format!("it has {size} bytes, and weights begin at {offset}"))?;
    let length = length.unwrap_or(rest);
    if length > rest {
        return Err(format!(
            "it has {size} bytes, and {length} are needed from {offset} on"
        ));
    }
    file.seek(SeekFrom::Start(offset))
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(length)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    Ok(bytes)
}

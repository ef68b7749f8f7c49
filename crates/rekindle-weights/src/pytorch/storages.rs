//! The numbers that a pickle's tensors look at: in a zip archive, or behind each other in a legacy file.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use zip::read::{ArchiveOffset, Config};
use zip::{CompressionMethod, ZipArchive, ZipReadOptions};

use super::graph::{Node, Pickle, Value};
use crate::Error;
use crate::checkpoint::Format;

/// Largest `data.pkl`, which a compressed entry could unpack to any size.
const MAX_PICKLE_SIZE: u64 = 100 << 20;

/// No compressed entry unpacks to more than so many times its size: deflate's own bound.
const MAX_DEFLATE_RATIO: u64 = 1032;

/// An open file's storages by their keys. The file stays the one that was opened, also if another takes its name.
pub(super) struct Storages {
    source: Source,
    places: HashMap<String, Place>,
}

enum Source {
    Zip(Mutex<ZipArchive<BufReader<File>>>),
    Legacy(Mutex<BufReader<File>>),
}

/// Position of a storage: its entry's index in the archive, or its first byte in the file.
#[derive(Clone, Copy)]
struct Place {
    at: u64,
    size: u64,
}

/// The archive is the file.
const FROM_THE_START: Config = Config {
    archive_offset: ArchiveOffset::Known(0),
};

impl Storages {
    /// Opens an archive: its pickle's bytes, and its storages.
    pub fn zip(path: &Path) -> Result<(Vec<u8>, Self), Error> {
        let file = File::open(path).map_err(Error::read(path))?;
        // Where the archive begins is known; guessing goes wrong for a name of some lengths before the zip64 record.
        let archive = ZipArchive::with_config(FROM_THE_START, BufReader::new(file)).map_err(|error| {
            Error::truncated(
                path,
                format_args!(
                    "the directory at the end of the zip archive is missing or damaged ({error})"
                ),
            )
        })?;
        let names: Vec<String> = (0..archive.len())
            .map(|index| match archive.name_for_index(index) {
                Some(Ok(name)) => name.into_owned(),
                _ => String::new(),
            })
            .collect();
        let data_pickle = |name: &&String| *name == "data.pkl" || name.ends_with("/data.pkl");
        let Some(root) = names
            .iter()
            .filter(data_pickle)
            .min_by_key(|name| name.len())
        else {
            return Err(no_checkpoint(path, &names));
        };
        let root = root.trim_end_matches("data.pkl").to_string();
        if names
            .iter()
            .any(|name| name.starts_with(&format!("{root}code/")))
        {
            return Err(torch_script(path));
        }

        let corrupt = |detail: String| Error::corrupt(path, Format::PytorchZip.name(), detail);
        let mut places = HashMap::new();
        let (mut pickle, mut order) = (None, None);
        for (index, name) in names.iter().enumerate() {
            let Some(inner) = name.strip_prefix(&root) else {
                continue;
            };
            let entry = archive
                .by_index_data(index)
                .map_err(|error| corrupt(error.to_string()))?;
            let bound = match entry.compression() {
                CompressionMethod::Stored => entry.compressed_size(),
                _ => entry.compressed_size().saturating_mul(MAX_DEFLATE_RATIO),
            };
            if entry.size() > bound {
                return Err(corrupt(format!(
                    "its entry `{name}` claims {} bytes and holds {}",
                    entry.size(),
                    entry.compressed_size()
                )));
            }
            let place = Place {
                at: index as u64,
                size: entry.size(),
            };
            match inner.strip_prefix("data/") {
                Some(key) => drop(places.insert(key.to_string(), place)),
                None if inner == "data.pkl" => pickle = Some(place),
                None if inner == "byteorder" => order = Some(place),
                None => {}
            }
        }

        let storages = Self {
            source: Source::Zip(Mutex::new(archive)),
            places,
        };
        let whole = |place: Option<Place>, limit: u64| match place {
            Some(place) if place.size > limit => Err(corrupt(format!(
                "its pickle has {} bytes, more than {} MiB",
                place.size,
                limit >> 20
            ))),
            Some(place) => storages
                .read_place(place, 0, place.size)
                .map_err(|error| translate_io(path, Format::PytorchZip, error)),
            None => Ok(Vec::new()),
        };
        if whole(order, 64)?.trim_ascii() == b"big" {
            return Err(corrupt(BIG_ENDIAN.to_string()));
        }
        let pickle = whole(pickle, MAX_PICKLE_SIZE)?;
        Ok((pickle, storages))
    }

    /// Opens a legacy file, a row of pickles with the storages behind them: the third pickle is the saved object.
    pub fn legacy(path: &Path) -> Result<(Pickle, Self), Error> {
        const FORMAT: Format = Format::PytorchLegacy;
        let fail = |error| translate_io(path, FORMAT, error);
        let file = File::open(path).map_err(Error::read(path))?;
        let size = file.metadata().map_err(Error::read(path))?.len();
        let mut reader = BufReader::new(file);
        let mut next = || Pickle::read(&mut reader).map_err(fail);

        let _magic = next()?;
        let protocol = next()?;
        if protocol.root != Value::Int(1001) {
            return Err(Error::corrupt(
                path,
                FORMAT.name(),
                "its protocol is not 1001",
            ));
        }
        let system = next()?;
        if system.entry(system.root, "little_endian") != Some(Value::Bool(true)) {
            return Err(Error::corrupt(path, FORMAT.name(), BIG_ENDIAN));
        }
        let pickle = next()?;
        let keys = next()?;
        let sizes = element_sizes(&pickle);
        let mut places = HashMap::new();
        for key in keys.sequence(keys.root).unwrap_or_default() {
            let key = key_text(&keys, *key).unwrap_or_default();
            let element_size = sizes.get(&key).copied().ok_or_else(|| {
                let detail = format!("nothing says of which type its storage `{key}` is");
                Error::corrupt(path, FORMAT.name(), detail)
            })?;
            let mut count = [0; 8];
            reader.read_exact(&mut count).map_err(fail)?;
            let at = reader.stream_position().map_err(Error::read(path))?;
            let end = u64::from_le_bytes(count)
                .checked_mul(element_size)
                .and_then(|length| Some((length, length.checked_add(at)?)))
                .filter(|(_, end)| *end <= size);
            let Some((length, end)) = end else {
                return Err(Error::truncated(
                    path,
                    format_args!("its storage `{key}` reaches beyond its {size} bytes"),
                ));
            };
            places.insert(key, Place { at, size: length });
            reader
                .seek_relative((end - at) as i64)
                .map_err(Error::read(path))?;
        }
        let source = Source::Legacy(Mutex::new(reader));
        Ok((pickle, Self { source, places }))
    }

    /// A bare pickle has none.
    pub fn none(path: &Path) -> Result<Self, Error> {
        let file = File::open(path).map_err(Error::read(path))?;
        Ok(Self {
            source: Source::Legacy(Mutex::new(BufReader::new(file))),
            places: HashMap::new(),
        })
    }

    /// Bytes that a storage has, where it is there.
    pub fn size(&self, key: &str) -> Option<u64> {
        self.places.get(key).map(|place| place.size)
    }

    /// Reads `length` bytes from `start` on.
    pub fn read(&self, key: &str, start: u64, length: u64) -> io::Result<Vec<u8>> {
        let place = self.places.get(key).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, format!("no storage `{key}`"))
        })?;
        self.read_place(*place, start, length)
    }

    fn read_place(&self, place: Place, start: u64, length: u64) -> io::Result<Vec<u8>> {
        if start.checked_add(length).is_none_or(|end| end > place.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = Vec::with_capacity(length.min(1 << 26) as usize);
        match &self.source {
            Source::Legacy(file) => {
                let mut file = lock(file);
                file.seek(SeekFrom::Start(place.at + start))?;
                file.by_ref().take(length).read_to_end(&mut bytes)?;
            }
            Source::Zip(archive) => {
                let mut archive = lock(archive);
                let index = place.at as usize;
                let data = archive.by_index_data(index)?;
                let is_whole = length == place.size;
                if !is_whole && data.compression() == CompressionMethod::Stored {
                    let mut entry = archive.by_index_seek(index)?;
                    entry.seek(SeekFrom::Start(start))?;
                    entry.take(length).read_to_end(&mut bytes)?;
                } else {
                    // The checksum is compared at the end of an entry; 0 stands for none in PyTorch's files.
                    let options = ZipReadOptions::new().ignore_crc32(data.crc32() == 0);
                    let mut entry = archive.by_index_with_options(index, options)?;
                    io::copy(&mut entry.by_ref().take(start), &mut io::sink())?;
                    let limit = if is_whole { length + 1 } else { length };
                    entry.take(limit).read_to_end(&mut bytes)?;
                }
            }
        }
        if bytes.len() as u64 == length {
            Ok(bytes)
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }
}

const BIG_ENDIAN: &str = "it was written on a big-endian machine, whose numbers are not read here";

/// Returns a storage's key, which old files have as a number.
pub(super) fn key_text(pickle: &Pickle, key: Value) -> Option<String> {
    match key {
        Value::Int(key) => Some(key.to_string()),
        _ => pickle.text(key).map(str::to_string),
    }
}

/// Bytes per element of every storage that a pickle mentions.
fn element_sizes(pickle: &Pickle) -> HashMap<String, u64> {
    let mentioned = pickle.nodes.iter().filter_map(|node| {
        let Node::Persistent(id) = node else {
            return None;
        };
        let [_, class, key, ..] = *pickle.sequence(*id)? else {
            return None;
        };
        let size = match pickle.global(class)?.rsplit('.').next()? {
            "ComplexDoubleStorage" => 16,
            "DoubleStorage" | "LongStorage" | "ComplexFloatStorage" => 8,
            "FloatStorage" | "IntStorage" | "QInt32Storage" => 4,
            "HalfStorage" | "BFloat16Storage" | "ShortStorage" => 2,
            _ => 1,
        };
        Some((key_text(pickle, key)?, size))
    });
    mentioned.collect()
}

fn no_checkpoint(path: &Path, names: &[String]) -> Error {
    let weights = names.iter().find(|name| {
        let ending = Path::new(name.as_str()).extension();
        ending.is_some_and(|ending| {
            ["pth", "pt", "ckpt", "safetensors", "bpk"]
                .iter()
                .any(|known| ending == *known)
        })
    });
    let shown: Vec<&str> = names.iter().take(3).map(String::as_str).collect();
    let found = match shown[..] {
        [] => "an empty zip archive".to_string(),
        _ => format!(
            "a zip archive of {} files ({})",
            names.len(),
            shown.join(", ")
        ),
    };
    Error::NotWeights {
        path: path.to_path_buf(),
        found,
        advice: match weights {
            Some(name) => format!("unpack it and give {name}"),
            None => "a PyTorch checkpoint would have a `data.pkl` inside".to_string(),
        },
    }
}

fn torch_script(path: &Path) -> Error {
    Error::NotWeights {
        path: path.to_path_buf(),
        found: "a TorchScript program (torch.jit.save)".to_string(),
        advice: "load it in Python with torch.jit.load and save its `state_dict()`".to_string(),
    }
}

/// Translates the errors that reading a container can fail with.
pub(super) fn translate_io(path: &Path, format: Format, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            Error::truncated(path, format_args!("it ends inside its {format} data"))
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            Error::corrupt(path, format.name(), error)
        }
        _ => Error::read(path)(error),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

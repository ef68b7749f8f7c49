//! Changes what a safetensors file says about itself.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use crate::Error;
use crate::safetensors::{self, LONGEST_HEADER};
use crate::write::write_atomically;

/// Sets one entry of the metadata of a safetensors file. Every tensor stays as it is, byte for byte, so that PyTorch's
/// `load_state_dict(strict=True)` takes the file as before.
///
/// # Errors
/// Those of reading a file that is no safetensors, and [`Error::Write`]; the file is then unchanged.
pub fn set_metadata(path: impl AsRef<Path>, key: &str, value: &str) -> Result<(), Error> {
    let path = path.as_ref();
    // Checks the layout, and that no name is there twice.
    safetensors::read(path)?;
    let mut file = File::open(path).map_err(Error::read(path))?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(Error::read(path))?;
    let length = u64::from_le_bytes(length);
    let mut header = Vec::new();
    let read = (&mut file).take(length).read_to_end(&mut header);
    read.map_err(Error::read(path))?;
    let header = with_entry(&header, key, value).map_err(|error| {
        Error::corrupt(
            path,
            "safetensors",
            format_args!("its header is not valid: {error}"),
        )
    })?;
    if header.len() as u64 > LONGEST_HEADER {
        let found = format!(
            "the header would have {} bytes, more than the format allows ({LONGEST_HEADER})",
            header.len()
        );
        return Err(Error::write(path)(io::Error::new(
            io::ErrorKind::InvalidInput,
            found,
        )));
    }
    write_atomically(path, |out| {
        let mut out = BufWriter::new(out);
        out.write_all(&(header.len() as u64).to_le_bytes())?;
        out.write_all(&header)?;
        file.seek(SeekFrom::Start(8 + length))?;
        io::copy(&mut file, &mut out)?;
        out.flush()
    })
}

/// The header with the entry, padded to eight bytes.
fn with_entry(header: &[u8], key: &str, value: &str) -> serde_json::Result<Vec<u8>> {
    let mut entries: Map<String, Value> = serde_json::from_slice(header)?;
    let metadata = entries.entry("__metadata__").or_insert_with(|| json!({}));
    metadata[key] = json!(value);
    let mut header = serde_json::to_vec(&entries)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

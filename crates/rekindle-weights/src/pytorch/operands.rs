//! Operands of a pickle's instructions.

use std::io::{self, BufRead, Read};

use super::graph::Value;

/// Enough for every module path and key; longer strings are read past.
pub(super) const LONGEST_TEXT: u64 = 4096;

pub(super) fn read_array<const N: usize>(reader: &mut impl BufRead) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

pub(super) fn read_length(reader: &mut impl BufRead, bytes: usize) -> io::Result<u64> {
    let mut length = [0; 8];
    reader.read_exact(&mut length[..bytes])?;
    Ok(u64::from_le_bytes(length))
}

/// A signed whole number of any length; one beyond 64 bits describes no tensor.
pub(super) fn read_long(reader: &mut impl BufRead, length_bytes: usize) -> io::Result<Value> {
    let length = read_length(reader, length_bytes)?;
    if length > 8 {
        return skip(reader, length).map(|()| Value::Other);
    }
    let mut bytes = [0; 8];
    let used = &mut bytes[..length as usize];
    reader.read_exact(used)?;
    let is_negative = used.last().is_some_and(|byte| byte & 0x80 != 0);
    if is_negative {
        bytes[length as usize..].fill(0xff);
    }
    Ok(Value::Int(i64::from_le_bytes(bytes)))
}

pub(super) fn read_number(reader: &mut impl BufRead) -> io::Result<u64> {
    read_line(reader)?.parse().map_err(|_| not_a_pickle())
}

pub(super) fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = Vec::new();
    reader
        .by_ref()
        .take(LONGEST_TEXT)
        .read_until(b'\n', &mut line)?;
    if line.pop() != Some(b'\n') {
        return Err(not_a_pickle());
    }
    Ok(String::from_utf8_lossy(&line)
        .trim_end_matches('\r')
        .to_string())
}

pub(super) fn skip_counted(reader: &mut impl BufRead, length_bytes: usize) -> io::Result<Value> {
    let length = read_length(reader, length_bytes)?;
    skip(reader, length).map(|()| Value::Other)
}

pub(super) fn skip(reader: &mut impl BufRead, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
    if skipped == length {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

pub(super) fn not_a_pickle() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its pickle doesn't add up")
}

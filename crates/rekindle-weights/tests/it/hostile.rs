//! Files that are broken, lying or malicious: an error that says so, never a panic.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::pytorch::{Nesting, floats, longs, pickle, write_legacy, write_zip, write_zip_of};
use rekindle_weights::{Error, TensorOut, read, write_burnpack, write_safetensors};

/// Opens a file and reads everything in it.
fn read_all(path: &Path) -> Result<(), Error> {
    let checkpoint = read(path)?;
    for tensor in checkpoint.tensors.values() {
        tensor.read_bytes()?;
    }
    Ok(())
}

fn refused(folder: &Path, bytes: &[u8]) -> Error {
    let path = folder.join("file.pth");
    fs::write(&path, bytes).unwrap();
    let error = read_all(&path).unwrap_err();
    assert!(
        error.to_string().contains("file.pth"),
        "no file name in: {error}"
    );
    error
}

/// One small file in each format.
fn samples(folder: &Path) -> Vec<(&'static str, PathBuf)> {
    let tensors = [
        floats(
            "conv1.weight",
            &[2, 3, 1, 1],
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        ),
        longs("bn1.num_batches_tracked", &[], &[7]),
    ];
    let out = || {
        vec![
            TensorOut::f32(
                "conv1.weight",
                [2, 3, 1, 1],
                &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
            ),
            TensorOut::i64("bn1.num_batches_tracked", [], &[7]),
        ]
    };
    let path = |name| folder.join(name);
    write_zip(&path("zip"), &tensors, Nesting::Plain);
    write_legacy(&path("legacy"), &tensors, Nesting::Plain);
    write_safetensors(path("safetensors"), out(), &BTreeMap::new()).unwrap();
    write_burnpack(path("burnpack"), out(), &BTreeMap::new()).unwrap();
    ["zip", "legacy", "safetensors", "burnpack"]
        .map(|name| (name, path(name)))
        .into()
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for (format, path) in samples(folder.path()) {
        let whole = fs::read(&path).unwrap();
        read_all(&path).unwrap();
        for length in 0..whole.len() {
            let error = refused(folder.path(), &whole[..length]);
            let honest = match length {
                0 => matches!(error, Error::EmptyFile { .. }),
                _ => matches!(
                    error,
                    Error::Truncated { .. } | Error::Corrupt { .. } | Error::UnknownFormat { .. }
                ),
            };
            assert!(honest, "{format} cut at {length}: {error:?}");
        }
    }
}

#[test]
fn the_last_byte_missing_reads_as_cut_off() {
    let folder = tempfile::tempdir().unwrap();
    for (format, path) in samples(folder.path()) {
        let whole = fs::read(&path).unwrap();
        let error = refused(folder.path(), &whole[..whole.len() - 1]);
        assert!(
            matches!(error, Error::Truncated { .. }),
            "{format}: {error:?}"
        );
    }
}

#[test]
fn damaged_bytes_are_an_error_or_harmless() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = move || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random
    };
    for (_, sample) in samples(folder.path()) {
        let whole = fs::read(&sample).unwrap();
        for _ in 0..300 {
            let mut bytes = whole.clone();
            for _ in 0..=next() % 4 {
                let at = (next() % bytes.len() as u64) as usize;
                bytes[at] = next() as u8;
            }
            fs::write(&path, &bytes).unwrap();
            // A flipped bit in a weight is not detectable; a panic or a hang would be a defect.
            let _ = read_all(&path);
        }
    }
    for length in 1..400u64 {
        let bytes: Vec<u8> = (0..length).map(|_| next() as u8).collect();
        fs::write(&path, &bytes).unwrap();
        read_all(&path).unwrap_err();
    }
}

fn safetensors(header: &[u8], data: &[u8]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend(data);
    bytes
}

#[test]
fn claims_beyond_the_file_allocate_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let huge = br#"{"a":{"dtype":"F32","shape":[1099511627776],"data_offsets":[0,4398046511104]}}"#;
    let error = refused(folder, &safetensors(huge, &[0; 16]));
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");

    let overflow = br#"{"a":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,16]}}"#;
    let error = refused(folder, &safetensors(overflow, &[0; 16]));
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");

    let mut length_lies = safetensors(br#"{"a":{"#, &[]);
    length_lies[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let error = refused(folder, &length_lies);
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");

    // burnpack: magic, version, and four gigabytes of metadata.
    let mut burnpack = 0x4255_524Eu32.to_le_bytes().to_vec();
    burnpack.extend([1, 0, 0xff, 0xff, 0xff, 0xff, 0]);
    let error = refused(folder, &burnpack);
    assert!(
        matches!(error, Error::Corrupt { .. } | Error::Truncated { .. }),
        "{error:?}"
    );

    // A pickle whose first string claims four gigabytes, and a tensor that claims eight.
    let error = refused(folder, b"\x80\x02}X\xff\xff\xff\xffconv1");
    assert!(matches!(error, Error::Truncated { .. }), "{error:?}");
    let small = floats("conv1.weight", &[2], &[1.0, 2.0]);
    let mut large = floats("conv1.weight", &[2], &[1.0, 2.0]);
    large.shape = vec![2_000_000_000];
    let path = folder.join("file.pth");
    write_zip_of(&path, &pickle(&[large], Nesting::Plain, false), &[small]);
    let error = read_all(&path).unwrap_err();
    assert!(
        matches!(error, Error::Truncated { .. } | Error::Corrupt { .. }),
        "{error:?}"
    );
}

#[test]
fn headers_that_contradict_themselves() {
    let folder = tempfile::tempdir().unwrap();
    let one = r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#;
    let twice = format!(r#"{{"a":{one},"a":{one}}}"#);
    let error = refused(folder.path(), &safetensors(twice.as_bytes(), &[0; 8]));
    assert!(
        matches!(&error, Error::DuplicateTensor { name, .. } if name == "a"),
        "{error:?}"
    );

    let corrupt: [&[u8]; 8] = [
        // Not UTF-8, not JSON, another JSON, an unknown type, offsets that overlap, a gap,
        // the wrong length for the shape, an end before its beginning.
        b"{\"\xff\xfe\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}",
        br#"{"a":}"#,
        br#"{"a":[1,2]}"#,
        br#"{"a":{"dtype":"F33","shape":[2],"data_offsets":[0,8]}}"#,
        br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        br#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#,
        br#"{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#,
        br#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}"#,
    ];
    for header in corrupt {
        let error = refused(folder.path(), &safetensors(header, &[0; 8]));
        assert!(
            matches!(error, Error::Corrupt { .. }),
            "{:?}: {error:?}",
            String::from_utf8_lossy(header)
        );
    }
    let deep = ["{\"a\":".repeat(100_000).as_bytes(), b"1"].concat();
    let error = refused(folder.path(), &safetensors(&deep, &[]));
    assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
}

#[test]
fn what_is_no_file_of_weights_is_called_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    for html in [
        "<!DOCTYPE html><html>",
        "\n  <html lang=\"en\">",
        "\u{feff}<HTML>",
    ] {
        let error = refused(folder, html.as_bytes());
        assert!(
            matches!(error, Error::HtmlInsteadOfWeights { .. }),
            "{error:?}"
        );
    }
    for (text, fetch) in [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 46830571\n",
            "git lfs pull",
        ),
        (
            "version https://hawser.github.com/spec/v1\noid sha256:00\n",
            "git lfs pull",
        ),
        (
            "/annex/objects/SHA256E-s46830571--0a1b2c.pth\n",
            "git annex get",
        ),
        (
            "../../.git/annex/objects/aa/bb/SHA256E-s4--0a.pth/SHA256E-s4--0a.pth",
            "git annex get",
        ),
    ] {
        let error = refused(folder, text.as_bytes());
        assert!(matches!(error, Error::GitPointer { .. }), "{error:?}");
        assert!(error.to_string().contains(fetch), "{error}");
    }
    let mut tar = vec![0; 512];
    tar[..9].copy_from_slice(b"a/b.pth\0\0");
    tar[257..262].copy_from_slice(b"ustar");
    let mut old = tar.clone();
    old[..9].copy_from_slice(b"sys_info\0");
    for (bytes, said) in [
        (&b"\x1f\x8b\x08\0"[..], "gzip"),
        (
            b"{\n  \"weight_map\": {\"conv1.weight\": \"a.safetensors\"}}",
            "several files",
        ),
        (b"{\"error\": \"Repository not found\"}", "JSON"),
        (b"[1, 2]", "JSON"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x89PNG\r\n", "picture"),
        (&tar, "tar archive"),
        (&old, "before 0.1.10"),
    ] {
        let error = refused(folder, bytes);
        assert!(matches!(error, Error::NotWeights { .. }), "{error:?}");
        assert!(error.to_string().contains(said), "{error}");
    }
    let zip = folder.join("file.pth");
    let mut archive = zip::ZipWriter::new(fs::File::create(&zip).unwrap());
    let options = zip::write::SimpleFileOptions::default();
    archive.start_file("weights/resnet18.pth", options).unwrap();
    archive.finish().unwrap();
    let error = read_all(&zip).unwrap_err();
    assert!(matches!(error, Error::NotWeights { .. }), "{error:?}");
    assert!(
        error.to_string().contains("weights/resnet18.pth"),
        "{error}"
    );
    let error = refused(folder, &safetensors(b"{}", &[]));
    assert!(matches!(error, Error::NoTensors { .. }), "{error:?}");
    write_zip_of(&folder.join("file.pth"), b"\x80\x02}.", &[]);
    let error = read_all(&folder.join("file.pth")).unwrap_err();
    assert!(matches!(error, Error::NoTensors { .. }), "{error:?}");

    let error = read_all(&folder.join("absent.pth")).unwrap_err();
    assert!(matches!(error, Error::Read { .. }), "{error:?}");
    let error = read_all(folder).unwrap_err();
    assert!(error.to_string().contains("is a folder"), "{error:?}");
}

#[test]
fn foreign_code_is_named_and_never_run() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("proof");
    let command = format!("touch {}", proof.display());
    let tensors = [floats("conv1.weight", &[2], &[1.0, 2.0])];

    // A valid state dict to the very end, with a call hidden in one of its values.
    let state_dict = pickle(&tensors, Nesting::Plain, false);
    let mut with_call = state_dict[..state_dict.len() - 1].to_vec();
    with_call.extend(b"X\x01\x00\x00\x00xcposix\nsystem\n(X");
    with_call.extend((command.len() as u32).to_le_bytes());
    with_call.extend(command.bytes());
    with_call.extend(b"tRs.");
    let path = folder.path().join("evil.pth");
    write_zip_of(&path, &with_call, &tensors);

    let bare = folder.path().join("bare.pth");
    fs::write(&bare, format!("cbuiltins\neval\n(V{command}\ntR.")).unwrap();
    for (path, name) in [(&path, "posix.system"), (&bare, "builtins.eval")] {
        let error = read(path).unwrap_err();
        assert!(
            matches!(&error, Error::ForeignCode { global, .. } if global == name),
            "{error:?}"
        );
        assert!(error.to_string().contains("Nothing was run"), "{error}");
    }
    assert!(!proof.exists());
}

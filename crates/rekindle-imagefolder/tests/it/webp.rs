//! WebP's chunks of metadata, honest and not.

use std::path::Path;

use image::ImageFormat;
use rekindle_imagefolder::{DecodeOptions, decode_bytes};

use crate::made::{encode, picture};

/// A lossless picture of 6 by 4 pixels in the extended format, with `chunk` behind it.
fn webp_with(flags: u8, chunk: &[u8]) -> Vec<u8> {
    let simple = encode(picture(6, 4, 1), ImageFormat::WebP);
    let mut chunks = b"WEBPVP8X\x0a\x00\x00\x00".to_vec();
    chunks.extend([flags, 0, 0, 0, 5, 0, 0, 3, 0, 0]);
    chunks.extend(&simple[12..]);
    chunks.extend(chunk);
    let mut file = b"RIFF".to_vec();
    file.extend((chunks.len() as u32).to_le_bytes());
    file.extend(chunks);
    file
}

fn chunk(name: &[u8; 4], claimed: u32, content: &[u8]) -> Vec<u8> {
    [name, &claimed.to_le_bytes()[..], content].concat()
}

/// Little-endian EXIF with the one tag "orientation": 6, a quarter turn.
const EXIF: &[u8] =
    b"II*\x00\x08\x00\x00\x00\x01\x00\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00";
const XMP: &[u8] = b"<x tiff:Orientation=\"8\" />";

fn dimensions(file: &[u8]) -> (u32, u32) {
    decode_bytes(Path::new("x.webp"), file, &DecodeOptions::default())
        .unwrap()
        .dimensions()
}

#[test]
fn orientation_is_read_from_either_chunk() {
    let exif = chunk(b"EXIF", EXIF.len() as u32, EXIF);
    assert_eq!(dimensions(&webp_with(8, &exif)), (4, 6));
    let odd = [&XMP[..25], b"/>"].concat();
    assert_eq!(odd.len() % 2, 1);
    let xmp = [chunk(b"XMP ", odd.len() as u32, &odd), vec![0]].concat();
    assert_eq!(dimensions(&webp_with(4, &xmp)), (4, 6));
    assert_eq!(dimensions(&webp_with(0, &[])), (6, 4));
    // An unknown chunk of odd length stands in front of it.
    let behind = [chunk(b"junk", 3, b"abc\0"), exif].concat();
    assert_eq!(dimensions(&webp_with(8, &behind)), (4, 6));
}

#[cfg(target_os = "linux")]
#[test]
fn a_chunk_that_claims_gigabytes_takes_no_memory() {
    let peak = || test_support::memory("VmPeak").unwrap() >> 20;
    let lying = chunk(b"EXIF", 0xf000_0000, EXIF);
    let file = webp_with(8, &lying);
    let before = peak();
    assert_eq!(dimensions(&file), (6, 4));
    let megabytes = peak() - before;
    assert!(megabytes < 1000, "{megabytes} MB of addresses were taken");
}

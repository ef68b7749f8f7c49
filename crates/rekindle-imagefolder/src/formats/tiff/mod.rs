//! TIFF, in the combinations that Pillow reads. The crate `tiff` unpacks samples as they are stored;
//! what they mean is decided here.

mod native;

use std::io::Cursor;
use std::path::Path;

use image::RgbImage;
use image::metadata::Orientation;
use tiff::TiffError;
use tiff::decoder::{ChunkType, Decoder, Limits};
use tiff::tags::Tag;

use super::{broken, deep_grey, high, repeated, rgb_image};
use crate::decode::{DecodeOptions, check_size};
use crate::error::Error;
use crate::jpeg;
use crate::jpeg::color::cmyk_pixel;
use crate::jpeg::markers::Model;

pub(crate) use native::native;

const PHOTOMETRIC: u16 = 262;
const BITS_PER_SAMPLE: u16 = 258;
const SAMPLES_PER_PIXEL: u16 = 277;

/// Sample format of an image, as its tags give it.
struct Kind {
    photometric: u32,
    compression: u32,
    bits: u32,
    samples: usize,
    /// 1 unsigned, 2 signed, 3 floating point.
    format: u32,
    /// Meaning of the samples after the colour channels: 1 is premultiplied alpha, 2 is plain alpha.
    extra: Vec<u32>,
    is_planar: bool,
}

impl Kind {
    /// Samples of the colour alone.
    fn colors(&self) -> usize {
        self.samples.saturating_sub(self.extra.len())
    }
}

/// A file whose tags are read.
struct Opened<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    tags: Tags<'a>,
    size: (u32, u32),
    kind: Kind,
    orientation: Orientation,
    /// The first pixel of a byte is in its lowest bit.
    is_reversed: bool,
}

impl<'a> Opened<'a> {
    fn new(path: &'a Path, bytes: &'a [u8], options: &DecodeOptions) -> Result<Self, Error> {
        let failed = |error: TiffError| failed(path, bytes, error);
        let mut tags = Decoder::new(Cursor::new(bytes)).map_err(failed)?;
        let (width, height) = tags.dimensions().map_err(failed)?;
        check_size(path, width.into(), height.into(), options)?;
        let kind = read_kind(&mut tags).map_err(failed)?;
        let orientation = tags
            .find_tag_unsigned::<u8>(Tag::Orientation)
            .ok()
            .flatten()
            .and_then(Orientation::from_exif)
            .unwrap_or(Orientation::NoTransforms);
        let is_reversed = number(&mut tags, Tag::FillOrder, 1).map_err(failed)? == 2;
        let opened = Self {
            path,
            bytes,
            tags,
            size: (width, height),
            kind,
            orientation,
            is_reversed,
        };
        if is_reversed && (opened.kind.compression != 1 || opened.kind.bits > 8) {
            return Err(opened.unsupported("a TIFF whose bits run backwards".to_string()));
        }
        Ok(opened)
    }

    fn unsupported(&self, found: String) -> Error {
        Error::Unsupported {
            path: self.path.to_path_buf(),
            found,
        }
    }

    fn samples(&mut self, options: &DecodeOptions) -> Result<Vec<u8>, Error> {
        if self.kind.is_planar && self.tags.get_chunk_type() == ChunkType::Tile {
            let found = "a TIFF of tiles with a plane for each sample";
            return Err(self.unsupported(found.to_string()));
        }
        let samples = read_samples(self.bytes, &self.kind, options);
        let mut samples = samples.map_err(|error| failed(self.path, self.bytes, error))?;
        if self.is_reversed {
            samples
                .iter_mut()
                .for_each(|byte| *byte = byte.reverse_bits());
        }
        Ok(samples)
    }
}

pub(crate) fn decode(
    path: &Path,
    bytes: &[u8],
    options: &DecodeOptions,
) -> Result<(RgbImage, Orientation), Error> {
    let mut file = Opened::new(path, bytes, options)?;
    if file.kind.compression == 7 {
        let pixels = from_jpegs(path, bytes, &mut file.tags, &file.kind, options)?;
        return Ok((pixels, file.orientation));
    }
    let meaning = Meaning::of(&file.kind, &mut file.tags);
    let meaning = meaning.map_err(|error| failed(path, bytes, error))?;
    let meaning = meaning.ok_or_else(|| file.unsupported(file.kind.name()))?;
    let samples = file.samples(options)?;
    let (kind, (width, height)) = (&file.kind, file.size);
    let (across, down) = (width as usize, height as usize);
    let pixels = match meaning {
        Meaning::DeepGrey => {
            let stride = (across * kind.bits as usize).div_ceil(8);
            let rows = samples.chunks_exact(stride).take(down);
            let values: Vec<u16> = rows
                .flat_map(|row| (0..across).map(|x| wide(kind.bits, row, x)))
                .collect();
            repeated(&deep_grey(path, &values)?)
        }
        meaning => meaning.pixels(kind, across, down, &samples),
    };
    Ok((rgb_image(width, height, pixels), file.orientation))
}

fn failed(path: &Path, bytes: &[u8], error: TiffError) -> Error {
    match error {
        TiffError::UnsupportedError(error) => Error::Unsupported {
            path: path.to_path_buf(),
            found: format!("a TIFF of this kind ({error})"),
        },
        error => {
            let ended = matches!(&error, TiffError::IoError(error)
                if error.kind() == std::io::ErrorKind::UnexpectedEof);
            broken(path, bytes, ended, error.to_string())
        }
    }
}

type Tags<'a> = Decoder<Cursor<&'a [u8]>>;

fn number(tags: &mut Tags<'_>, tag: Tag, default: u32) -> Result<u32, TiffError> {
    Ok(tags.find_tag_unsigned(tag)?.unwrap_or(default))
}

fn read_kind(tags: &mut Tags<'_>) -> Result<Kind, TiffError> {
    let first = |tags: &mut Tags<'_>, tag, default| {
        let all = tags.find_tag_unsigned_vec::<u32>(tag)?;
        Ok::<_, TiffError>(all.and_then(|all| all.first().copied()).unwrap_or(default))
    };
    Ok(Kind {
        photometric: number(tags, Tag::PhotometricInterpretation, 0)?,
        compression: number(tags, Tag::Compression, 1)?,
        bits: first(tags, Tag::BitsPerSample, 1)?,
        samples: number(tags, Tag::SamplesPerPixel, 1)? as usize,
        format: first(tags, Tag::SampleFormat, 1)?,
        extra: tags
            .find_tag_unsigned_vec(Tag::ExtraSamples)?
            .unwrap_or_default(),
        is_planar: number(tags, Tag::PlanarConfiguration, 1)? == 2,
    })
}

impl Kind {
    fn name(&self) -> String {
        let photometric = match self.photometric {
            0 => "grey (white is zero)",
            1 => "grey",
            2 => "RGB",
            3 => "palette",
            4 => "mask",
            5 => "CMYK",
            6 => "YCbCr",
            8..=10 => "L*a*b*",
            _ => "unknown",
        };
        let format = match self.format {
            1 => "unsigned",
            2 => "signed",
            3 => "floating-point",
            _ => "undefined",
        };
        let (samples, bits) = (self.samples, self.bits);
        format!("a TIFF of {samples} {format} samples of {bits} bits each, {photometric},")
    }
}

/// Reads the samples as they are stored, rows padded to whole bytes, in the machine's byte order.
fn read_samples(bytes: &[u8], kind: &Kind, options: &DecodeOptions) -> Result<Vec<u8>, TiffError> {
    // Read as numbers without a meaning; twelve bits as three times four.
    let mut patched = bytes.to_vec();
    let mut patches = vec![(PHOTOMETRIC, 1)];
    if kind.bits == 12 && kind.samples == 1 {
        patches.extend([(BITS_PER_SAMPLE, 4), (SAMPLES_PER_PIXEL, 3)]);
    }
    patch(&mut patched, &patches);
    let limit = usize::try_from(options.max_pixels.saturating_mul(16)).unwrap_or(usize::MAX);
    let mut limits = Limits::default();
    limits.decoding_buffer_size = limit;
    limits.intermediate_buffer_size = limit;
    let mut decoder = Decoder::new(Cursor::new(patched))?.with_limits(limits);
    let layout = decoder.image_buffer_layout()?;
    if layout.complete_len > limit {
        return Err(TiffError::LimitsExceeded);
    }
    let mut samples = vec![0; layout.complete_len];
    decoder.read_image_bytes(&mut samples)?;
    Ok(samples)
}

/// Sets entries of the first directory that hold one number of 16 bits.
fn patch(bytes: &mut [u8], patches: &[(u16, u16)]) -> Option<()> {
    let is_little = bytes.starts_with(b"II");
    let short = |bytes: &[u8], at: usize| {
        let pair = *bytes.get(at..)?.first_chunk()?;
        Some(match is_little {
            true => u16::from_le_bytes(pair),
            false => u16::from_be_bytes(pair),
        })
    };
    let long = |bytes: &[u8], at: usize| {
        let (first, second) = (short(bytes, at)?, short(bytes, at + 2)?);
        Some(match is_little {
            true => u64::from(second) << 16 | u64::from(first),
            false => u64::from(first) << 16 | u64::from(second),
        })
    };
    let double = |bytes: &[u8], at: usize| {
        let (first, second) = (long(bytes, at)?, long(bytes, at + 4)?);
        Some(match is_little {
            true => second << 32 | first,
            false => first << 32 | second,
        })
    };
    let is_big = short(bytes, 2)? == 43;
    let (directory, head, entry, value) = match is_big {
        true => (double(bytes, 8)?, 8, 20, 12),
        false => (long(bytes, 4)?, 2, 12, 8),
    };
    let directory = usize::try_from(directory).ok()?;
    let entries = match is_big {
        true => usize::try_from(double(bytes, directory)?).ok()?,
        false => usize::from(short(bytes, directory)?),
    };
    for i in 0..entries {
        let at = directory.checked_add(head + i.checked_mul(entry)?)?;
        let tag = short(bytes, at)?;
        if let Some((_, new)) = patches.iter().find(|(patched, _)| *patched == tag) {
            let new = match is_little {
                true => new.to_le_bytes(),
                false => new.to_be_bytes(),
            };
            bytes
                .get_mut(at + value..)?
                .first_chunk_mut()
                .map(|place| *place = new)?;
        }
    }
    Some(())
}

/// Conversion of samples to RGB.
enum Meaning {
    /// Grey of 1, 2, 4 or 8 bits, 0 black or white.
    Grey {
        inverted: bool,
    },
    /// Grey of 12 or 16 bits.
    DeepGrey,
    /// Grey numbers that are cut off at 0 and 255.
    Numbers,
    Palette(Vec<[u8; 3]>),
    /// Colours with or without premultiplied alpha.
    Rgb {
        associated: bool,
    },
    Cmyk,
}

impl Meaning {
    /// Pillow's table of kinds; `None` for those that it lacks.
    fn of(kind: &Kind, tags: &mut Tags<'_>) -> Result<Option<Self>, TiffError> {
        // Of grey Pillow knows no alpha that is multiplied in.
        let is_alpha = matches!(kind.extra[..], [0 | 2]);
        Ok(
            match (kind.photometric, kind.format, kind.bits, kind.colors()) {
                (0 | 1, 1, 1 | 2 | 4 | 8, 1)
                    if kind.extra.is_empty() || kind.bits == 8 && is_alpha =>
                {
                    Some(Self::Grey {
                        inverted: kind.photometric == 0,
                    })
                }
                (1, 2, 8, 1) if kind.extra.is_empty() => Some(Self::Grey { inverted: false }),
                (1, 1, 12 | 16, 1) if kind.extra.is_empty() => Some(Self::DeepGrey),
                (1, 2, 16 | 32, 1) | (1, 1, 32, 1) | (0 | 1, 3, 32, 1) if kind.extra.is_empty() => {
                    Some(Self::Numbers)
                }
                (2, 1, 8 | 16, 3 | 4) => Some(Self::Rgb {
                    associated: kind.extra.first() == Some(&1),
                }),
                (3, 1, 1 | 2 | 4 | 8, 1) => {
                    let map = tags.find_tag_unsigned_vec::<u16>(Tag::ColorMap)?;
                    map.map(|map| {
                        let third = map.len() / 3;
                        let color = |i| [map[i], map[third + i], map[2 * third + i]].map(high);
                        Self::Palette((0..third).map(color).collect())
                    })
                }
                (5, 1, 8 | 16, 4) => Some(Self::Cmyk),
                _ => None,
            },
        )
    }

    fn pixels(&self, kind: &Kind, width: usize, height: usize, samples: &[u8]) -> Vec<u8> {
        let mut pixels = Vec::with_capacity(3 * width * height);
        let in_row = if kind.is_planar { 1 } else { kind.samples };
        let stride = (width * in_row * kind.bits as usize).div_ceil(8);
        let plane = stride * height;
        // Bytes, or their high ones.
        let byte = |x: usize, y: usize, sample: usize| {
            let (plane, index) = match kind.is_planar {
                true => (plane * sample, x),
                false => (0, x * kind.samples + sample),
            };
            let row = &samples[plane + stride * y..];
            match kind.bits {
                16 => high(u16::from_ne_bytes([row[2 * index], row[2 * index + 1]])),
                8 => row[index],
                bits => {
                    let bit = index * bits as usize;
                    row[bit / 8] << (bit % 8) >> (8 - bits)
                }
            }
        };
        for y in 0..height {
            for x in 0..width {
                pixels.extend_from_slice(&match self {
                    Self::Grey { inverted } => {
                        let most = 255 >> (8 - kind.bits.min(8));
                        let value = 255 / most * byte(x, y, 0);
                        [if *inverted { 255 - value } else { value }; 3]
                    }
                    Self::DeepGrey => [0; 3],
                    Self::Numbers => [cut_off(kind, &samples[stride * y..], x); 3],
                    Self::Palette(colors) => colors
                        .get(usize::from(byte(x, y, 0)))
                        .copied()
                        .unwrap_or_default(),
                    Self::Rgb { associated } => {
                        let color = [byte(x, y, 0), byte(x, y, 1), byte(x, y, 2)];
                        match *associated {
                            true => apart(color, byte(x, y, 3)),
                            false => color,
                        }
                    }
                    Self::Cmyk => cmyk_pixel([0, 1, 2, 3].map(|sample| byte(x, y, sample))),
                });
            }
        }
        pixels
    }
}

/// A sample of 12 or 16 bits.
fn wide(bits: u32, row: &[u8], x: usize) -> u16 {
    if bits == 16 {
        return u16::from_ne_bytes([row[2 * x], row[2 * x + 1]]);
    }
    let at = x / 2 * 3;
    match x % 2 {
        0 => u16::from(row[at]) << 4 | u16::from(row[at + 1]) >> 4,
        _ => u16::from(row[at + 1] & 15) << 8 | u16::from(row[at + 2]),
    }
}

/// A sample of any other type, cut off at 0 and 255; fractions are dropped.
fn cut_off(kind: &Kind, row: &[u8], x: usize) -> u8 {
    let four = || [row[4 * x], row[4 * x + 1], row[4 * x + 2], row[4 * x + 3]];
    match (kind.format, kind.bits) {
        (2, 16) => i16::from_ne_bytes([row[2 * x], row[2 * x + 1]]).clamp(0, 255) as u8,
        // Pillow takes unsigned ones as signed.
        (1 | 2, _) => i32::from_ne_bytes(four()).clamp(0, 255) as u8,
        _ => f32::from_ne_bytes(four()) as u8,
    }
}

/// A colour without the alpha that was multiplied in.
fn apart(color: [u8; 3], alpha: u8) -> [u8; 3] {
    match alpha {
        0 | 255 => color,
        _ => color.map(|value| (u32::from(value) * 255 / u32::from(alpha)).min(255) as u8),
    }
}

/// Decodes an image whose strips or tiles are JPEGs.
fn from_jpegs(
    path: &Path,
    bytes: &[u8],
    tags: &mut Tags<'_>,
    kind: &Kind,
    options: &DecodeOptions,
) -> Result<RgbImage, Error> {
    let failed = |error: TiffError| failed(path, bytes, error);
    let model = match (kind.photometric, kind.samples, kind.is_planar) {
        (0 | 1, 1, _) => Model::Grey,
        (2, 3, false) => Model::Rgb,
        (6, 3, false) => Model::YCbCr,
        _ => {
            return Err(Error::Unsupported {
                path: path.to_path_buf(),
                found: format!("{} compressed as JPEG,", kind.name()),
            });
        }
    };
    let tables = match tags.find_tag(Tag::JPEGTables).map_err(failed)? {
        Some(tables) => tables.into_u8_vec().map_err(failed)?,
        None => Vec::new(),
    };
    let tables = tables.strip_suffix(&[0xff, 0xd9]).unwrap_or(&tables);
    let tables = tables.strip_prefix(&[0xff, 0xd8]).unwrap_or(tables);
    let list = |tags: [Tag; 2], decoder: &mut Tags<'_>| {
        for tag in tags {
            if let Some(values) = decoder.find_tag_unsigned_vec::<u64>(tag)? {
                return Ok(values);
            }
        }
        Ok(Vec::new())
    };
    let offsets = list([Tag::TileOffsets, Tag::StripOffsets], tags).map_err(failed)?;
    let lengths = list([Tag::TileByteCounts, Tag::StripByteCounts], tags).map_err(failed)?;
    let (width, height) = tags.dimensions().map_err(failed)?;
    let (across, down) = tags.chunk_dimensions();
    let (across, down) = (u64::from(across.max(1)), u64::from(down.max(1)));
    let columns = u64::from(width).div_ceil(across);
    let parts = columns * u64::from(height).div_ceil(down);
    let mut whole = RgbImage::new(width, height);
    for (i, (offset, length)) in (0..parts).zip(offsets.into_iter().zip(lengths)) {
        let end = offset.saturating_add(length);
        let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
        let chunk = range.and_then(|(start, end)| bytes.get(start..end));
        let chunk =
            chunk.ok_or_else(|| broken(path, bytes, true, format!("part {i} is missing")))?;
        let chunk = chunk.strip_prefix(&[0xff, 0xd8]).unwrap_or(chunk);
        let jpeg = [&[0xff, 0xd8], tables, chunk, &[0xff, 0xd9]].concat();
        let (part, _) = jpeg::decode_whole(path, &jpeg, Some(model), options)?;
        let (left, top) = (i % columns * across, i / columns * down);
        image::imageops::replace(&mut whole, &part, left as i64, top as i64);
    }
    if kind.photometric == 0 {
        whole.iter_mut().for_each(|value| *value = 255 - *value);
    }
    Ok(whole)
}

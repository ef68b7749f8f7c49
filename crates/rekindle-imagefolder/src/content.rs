//! A picture's identity: the hash of its content.

use std::fmt;
use std::str::FromStr;

use image::RgbImage;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest, Sha256};

use crate::picture::Picture;
use crate::planes::FloatImage;

/// SHA-256 of a file's bytes, or of size and pixels where there is no file. As text, 64 hexadecimal digits: those that
/// `sha256sum` prints of the file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// Hashes the bytes of a file.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Hashes width, height and pixels of a decoded picture.
    pub fn of_pixels(image: &RgbImage) -> Self {
        let mut hash = Sha256::new();
        hash.update(image.width().to_le_bytes());
        hash.update(image.height().to_le_bytes());
        hash.update(image.as_raw());
        Self(hash.finalize().into())
    }

    /// Hashes width, height and the planes of a picture that was decoded at its full depth.
    pub(crate) fn of_planes(image: &FloatImage) -> Self {
        let mut hash = Sha256::new();
        hash.update((image.width as u32).to_le_bytes());
        hash.update((image.height as u32).to_le_bytes());
        for value in &image.values {
            hash.update(value.to_le_bytes());
        }
        Self(hash.finalize().into())
    }

    /// Hashes what a decoded picture consists of.
    pub(crate) fn of_picture(picture: &Picture) -> Self {
        match picture {
            Picture::Rgb(image) => Self::of_pixels(image),
            Picture::Deep(image) => Self::of_planes(image),
        }
    }

    /// Returns the hash itself.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ContentHash {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut hash = [0; 32];
        let wrong = || format!("{text:?} is no SHA-256; expected 64 hexadecimal digits");
        let digits = text.as_bytes();
        if digits.len() != 64 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(wrong());
        }
        for (byte, place) in hash.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&text[place..place + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(hash))
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The value that FIPS 180-4 gives for "abc".
    #[test]
    fn it_is_sha_256_and_reads_back() {
        let hash = ContentHash::of(b"abc");
        let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash.to_string(), text);
        assert_eq!(text.parse::<ContentHash>().unwrap(), hash);
        for wrong in ["", "ba78", &"é".repeat(32), &"g".repeat(64)] {
            assert!(wrong.parse::<ContentHash>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_same_bytes_in_another_shape_are_another_picture() {
        let (wide, tall) = (RgbImage::new(4, 2), RgbImage::new(2, 4));
        assert_ne!(ContentHash::of_pixels(&wide), ContentHash::of_pixels(&tall));
    }
}

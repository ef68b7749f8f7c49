//! The code of README.md, of the cookbook and of the guide: `cargo test -p readme --doc` compiles it in a crate that
//! depends on nothing but rekindle.

/// README.md.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
pub mod readme {}

/// The pages of the cookbook that have code.
#[cfg(doctest)]
pub mod cookbook {
    #[doc = include_str!("../../../docs/cookbook/augment.md")]
    pub mod augment {}
    #[doc = include_str!("../../../docs/cookbook/image-size.md")]
    pub mod image_size {}
    #[doc = include_str!("../../../docs/cookbook/resume.md")]
    pub mod resume {}
    #[doc = include_str!("../../../docs/cookbook/server.md")]
    pub mod server {}
}

/// The map of transfer learning.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/guide/README.md")]
pub mod guide {}

//! Detects the vector instructions that the kernels use.

use std::fmt;
use std::sync::OnceLock;

/// An instruction set the kernels are written for.
///
/// All of them compute on the same layout and give the same results up to rounding, so that each can be tested on a
/// machine that has a better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Isa {
    /// Plain Rust that every target compiles. The compiler turns it into whatever the target guarantees: SSE2 on
    /// x86-64, NEON with fused multiply-add on AArch64.
    Portable,
    /// AVX2 with FMA: 256-bit vectors.
    Avx2,
    /// AVX-512F: 512-bit vectors.
    Avx512,
}

impl Isa {
    /// Returns the best instruction set of this machine, or the one that the environment variable `REKINDLE_ISA` names:
    /// `portable`, `avx2` or `avx512`, read once. A name that this machine can't follow is said on standard error.
    pub fn detect() -> Self {
        static CHOSEN: OnceLock<Isa> = OnceLock::new();
        *CHOSEN.get_or_init(|| {
            let available = Self::available();
            let best = available.last().copied().unwrap_or(Self::Portable);
            let Some(name) = std::env::var_os("REKINDLE_ISA") else {
                return best;
            };
            let found = available.iter().find(|isa| name == isa.to_string().as_str());
            *found.unwrap_or_else(|| {
                let names: Vec<String> = available.iter().map(Self::to_string).collect();
                let names = names.join(", ");
                eprintln!("REKINDLE_ISA={name:?} is none of {names}, which this machine has; taking {best}");
                available.last().unwrap_or(&Self::Portable)
            })
        })
    }

    /// Returns all instruction sets this machine can run, from the slowest to the fastest.
    pub fn available() -> &'static [Self] {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = std::arch::is_x86_feature_detected!("avx2")
                && std::arch::is_x86_feature_detected!("fma");
            if avx2 && std::arch::is_x86_feature_detected!("avx512f") {
                return &[Self::Portable, Self::Avx2, Self::Avx512];
            }
            if avx2 {
                return &[Self::Portable, Self::Avx2];
            }
        }
        &[Self::Portable]
    }

    /// Returns true if this machine can run it.
    pub fn is_available(self) -> bool {
        Self::available().contains(&self)
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        })
    }
}

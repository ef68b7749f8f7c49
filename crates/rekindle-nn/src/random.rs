//! Random numbers that are functions of a seed.

/// Increment of SplitMix64's state.
const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes all bits of a number: a step of SplitMix64 (Steele, Lea and Flood 2014,
/// <https://doi.org/10.1145/2714064.2660195>) from the state `number`.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut z = number.wrapping_add(GAMMA);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// SplitMix64 from a seed on.
pub(crate) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Draws a uniform number between 0 and 1, and neither of the two.
    pub fn unit(&mut self) -> f64 {
        let z = mixed(self.0);
        self.0 = self.0.wrapping_add(GAMMA);
        // Never zero, for its logarithm.
        ((z >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    /// Draws a standard normal number by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

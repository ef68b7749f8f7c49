//! Random numbers that depend on nothing but a key.

/// A stream of random numbers fixed by its key: the same key gives the same
/// drawing whatever was drawn before, in whichever order.
///
/// SplitMix64 (Steele, Lea, Flood, "Fast splittable pseudorandom number
/// generators", 2014), written out because its values must not change with the
/// version of a dependency.
pub(super) struct Draws {
    state: u64,
}

impl Draws {
    pub(super) fn new(key: &[u64]) -> Self {
        let mut draws = Self { state: 0 };
        for &part in key {
            draws.state = draws.bits() ^ part;
        }
        draws
    }

    fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        scramble(self.state)
    }

    /// Draws a number uniform in `[0, 1)`.
    pub(super) fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 24) as f32
    }

    /// Draws a number uniform in `[low, high)`.
    pub(super) fn between(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.unit()
    }

    /// `centre`, changed by up to the fraction `spread` of itself.
    pub(super) fn around(&mut self, centre: f32, spread: f32) -> f32 {
        centre * self.between(1.0 - spread, 1.0 + spread)
    }

    /// Draws a number uniform in `[-reach, reach)`.
    pub(super) fn jitter(&mut self, reach: f32) -> f32 {
        self.between(-reach, reach)
    }

    /// Draws a standard normal number, as the sum of four uniforms: tails do not matter here.
    pub(super) fn normal(&mut self) -> f32 {
        let sum = self.unit() + self.unit() + self.unit() + self.unit();
        (sum - 2.0) * 3f32.sqrt()
    }

    pub(super) fn chance(&mut self, probability: f32) -> bool {
        self.unit() < probability
    }

    /// Draws a whole number uniform in `low..=high`.
    pub(super) fn count(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() % (high - low + 1) as u64) as usize
    }

    pub(super) fn sign(&mut self) -> f32 {
        if self.chance(0.5) { 1.0 } else { -1.0 }
    }

    /// Returns a key of its own for something that is drawn from position, not in order.
    pub(super) fn key(&mut self) -> u64 {
        self.bits()
    }
}

/// Returns a uniform number in `[0, 1)` for a lattice point, fixed by `key`.
pub(super) fn lattice(key: u64, x: i32, y: i32) -> f32 {
    let point = (u64::from(x as u32) << 32) | u64::from(y as u32);
    let bits = scramble(key ^ scramble(point.wrapping_add(0x9E37_79B9_7F4A_7C15)));
    (bits >> 40) as f32 / (1u64 << 24) as f32
}

fn scramble(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splitmix_matches_its_published_first_values() {
        // Seed 1234567, the test vector of Vigna's splitmix64.c.
        let mut draws = Draws { state: 1_234_567 };
        assert_eq!(draws.bits(), 6_457_827_717_110_365_317);
        assert_eq!(draws.bits(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn keys_that_differ_in_one_part_give_other_streams() {
        let first = |key: &[u64]| Draws::new(key).bits();
        assert_ne!(first(&[1, 2, 3]), first(&[1, 2, 4]));
        assert_ne!(first(&[1, 2, 3]), first(&[2, 1, 3]));
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
    }

    #[test]
    fn normal_has_mean_nought_and_deviation_one() {
        let mut draws = Draws::new(&[5]);
        let values: Vec<f32> = (0..20_000).map(|_| draws.normal()).collect();
        let mean = values.iter().sum::<f32>() / values.len() as f32;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / values.len() as f32;
        assert!(mean.abs() < 0.03, "mean {mean}");
        assert!((variance - 1.0).abs() < 0.05, "variance {variance}");
    }
}

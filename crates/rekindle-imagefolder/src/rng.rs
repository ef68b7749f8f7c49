//! Random draws that depend on nothing but what they are for.
//!
//! Every random decision is a function of a key: the run's seed, what the draw is for
//! ([`Stream`]), and the epoch, index and view it belongs to. No generator is shared, so neither
//! the number of workers nor the order in which they finish changes a run, and a resumed run
//! repeats the draws of the one that was interrupted.
//!
//! The generator is xoshiro256++ (Blackman and Vigna, 2019), its state filled by SplitMix64 from
//! the hashed key. Both are written out here because the values must stay the same over the years,
//! which no library of generators promises for its default.

use std::convert::Infallible;

/// Purpose of a draw. Draws of different streams are independent although their keys are equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stream {
    /// Augmentation of one image: `[epoch, index, view]`.
    Augment = 1,
    /// Order of an epoch: `[epoch]`.
    Order = 2,
    /// MixUp and CutMix of one batch: `[epoch, batch]`.
    Mix = 3,
    /// A split of a folder: `[class]`.
    Split = 4,
    /// Free for callers.
    User = 5,
    /// Random draws of a network in training, such as dropout, on one batch: `[epoch, batch]`.
    Network = 6,
}

/// A generator for one key.
#[derive(Debug, Clone)]
pub struct SampleRng {
    state: [u64; 4],
}

impl SampleRng {
    /// Returns the generator that belongs to `(seed, stream, key)`.
    pub fn keyed(seed: u64, stream: Stream, key: &[u64]) -> Self {
        let mut hash = split_mix(seed ^ 0x9e37_79b9_7f4a_7c15);
        hash = split_mix(hash ^ stream as u64);
        for word in key {
            hash = split_mix(hash.rotate_left(23) ^ *word);
        }
        let mut state = [0; 4];
        for word in &mut state {
            hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
            *word = split_mix(hash);
        }
        // xoshiro's one forbidden state
        if state == [0; 4] {
            state[0] = 1;
        }
        Self { state }
    }

    /// Returns the generator for the augmentation of one image.
    pub fn for_sample(seed: u64, epoch: u64, index: u64, view: u64) -> Self {
        Self::keyed(seed, Stream::Augment, &[epoch, index, view])
    }

    /// Returns the next 64 random bits.
    pub fn bits(&mut self) -> u64 {
        let s = &mut self.state;
        let result = s[0].wrapping_add(s[3]).rotate_left(23).wrapping_add(s[0]);
        let t = s[1] << 17;
        s[2] ^= s[0];
        s[3] ^= s[1];
        s[1] ^= s[2];
        s[0] ^= s[3];
        s[2] ^= t;
        s[3] = s[3].rotate_left(45);
        result
    }

    /// Draws a number uniform in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Draws a number uniform in `[low, high)`; `low` where the two are equal.
    pub fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.unit()
    }

    /// Draws an index uniform in `0..bound`; 0 where `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.bits()) * bound as u128) >> 64) as usize
    }

    /// Returns true with probability `p`.
    pub fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Shuffles in place (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

fn split_mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Lets the distributions of `rand_distr` draw from it.
impl rand::TryRng for SampleRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok((self.bits() >> 32) as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.bits())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(8) {
            let word = self.bits().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_words_follow_the_published_recurrence() {
        // xoshiro256++ from the state 1, 2, 3, 4; the numbers are those of the authors' C code as
        // printed in the tests of rand_xoshiro.
        let mut rng = SampleRng {
            state: [1, 2, 3, 4],
        };
        let expected = [
            41_943_041,
            58_720_359,
            3_588_806_011_781_223,
            3_591_011_842_654_386,
            9_228_616_714_210_784_205,
        ];
        for value in expected {
            assert_eq!(rng.bits(), value);
        }
    }

    #[test]
    fn every_word_of_the_key_matters() {
        let first =
            |seed, epoch, index, view| SampleRng::for_sample(seed, epoch, index, view).bits();
        let base = first(0, 0, 0, 0);
        for other in [
            first(1, 0, 0, 0),
            first(0, 1, 0, 0),
            first(0, 0, 1, 0),
            first(0, 0, 0, 1),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(first(0, 1, 2, 0), first(0, 2, 1, 0));
        assert_ne!(
            SampleRng::keyed(0, Stream::Order, &[0]).bits(),
            SampleRng::keyed(0, Stream::Mix, &[0]).bits()
        );
    }

    #[test]
    fn draws_across_keys_are_uniform() {
        // The first draw of neighbouring keys is what decides a flip: mean 1/2, variance 1/12.
        let n = 20_000;
        let draws: Vec<f64> = (0..n)
            .map(|i| SampleRng::for_sample(7, 3, i, 0).unit())
            .collect();
        let mean = draws.iter().sum::<f64>() / n as f64;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / n as f64;
        assert!((mean - 0.5).abs() < 0.01, "{mean}");
        assert!((variance - 1.0 / 12.0).abs() < 0.003, "{variance}");
    }

    #[test]
    fn below_covers_its_range_evenly() {
        let mut rng = SampleRng::keyed(1, Stream::User, &[]);
        let mut counts = [0u32; 7];
        for _ in 0..70_000 {
            counts[rng.below(7)] += 1;
        }
        assert!(
            counts.iter().all(|c| (9_600..10_400).contains(c)),
            "{counts:?}"
        );
        assert_eq!(rng.below(0), 0);
    }
}

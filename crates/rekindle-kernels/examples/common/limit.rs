//! The most that this machine's vector units do.

use rayon::prelude::*;
use rekindle_kernels::Isa;
use std::time::Instant;

/// Multiply-adds that touch nothing but registers, on all threads.
pub fn gflops(threads: usize) -> f64 {
    const STEPS: usize = 2_000_000;
    let once = || {
        let start = Instant::now();
        let operations: usize = (0..threads)
            .into_par_iter()
            .map(|_| std::hint::black_box(multiply_add_loop(STEPS)))
            .sum();
        operations as f64 / start.elapsed().as_secs_f64() * 1e-9
    };
    (0..5).map(|_| once()).fold(0.0, f64::max)
}

/// Runs the widest multiply-add of the machine and returns the operations done, two for each lane.
fn multiply_add_loop(steps: usize) -> usize {
    #[cfg(target_arch = "x86_64")]
    match Isa::detect() {
        // SAFETY: the instruction set has been detected.
        Isa::Avx512 => return unsafe { x86::avx512(steps) },
        // SAFETY: as above.
        Isa::Avx2 => return unsafe { x86::avx2(steps) },
        Isa::Portable => {}
    }
    let mut sums = [[1.0f32; 16]; 12];
    for _ in 0..steps {
        for sum in &mut sums {
            *sum = std::hint::black_box(sum.map(|s| s * 0.999 + 1e-6));
        }
    }
    steps * 12 * 16 * 2
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f")]
    pub fn avx512(steps: usize) -> usize {
        let (a, b) = (_mm512_set1_ps(0.999), _mm512_set1_ps(1e-6));
        let mut sums = [_mm512_set1_ps(1.0); 12];
        for _ in 0..steps {
            for s in &mut sums {
                *s = _mm512_fmadd_ps(*s, a, b);
            }
        }
        std::hint::black_box(sums);
        steps * 12 * 16 * 2
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn avx2(steps: usize) -> usize {
        let (a, b) = (_mm256_set1_ps(0.999), _mm256_set1_ps(1e-6));
        let mut sums = [_mm256_set1_ps(1.0); 12];
        for _ in 0..steps {
            for s in &mut sums {
                *s = _mm256_fmadd_ps(*s, a, b);
            }
        }
        std::hint::black_box(sums);
        steps * 12 * 8 * 2
    }
}

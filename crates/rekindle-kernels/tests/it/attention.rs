//! Attention and its gradient against plain loops in f64.

use crate::reference::{differences, dot, random, relative_error};
use rayon::prelude::*;
use rekindle_kernels::{Activation, Attention, Isa, KernelError};

/// The numbers of a test, and its input `[batch, 3 * heads * head_dim, tokens]`.
struct Case {
    attention: Attention,
    batch: usize,
    map: [usize; 2],
    qkv: Vec<f32>,
    dy: Vec<f32>,
}

/// Results of the plain loops.
struct Reference {
    y: Vec<f64>,
    lse: Vec<f64>,
    dqkv: Vec<f64>,
}

impl Case {
    fn new(
        [heads, head_dim]: [usize; 2],
        is_causal: bool,
        batch: usize,
        map: [usize; 2],
        size: f32,
    ) -> Self {
        let len = batch * heads * head_dim * map[0] * map[1];
        Self {
            attention: Attention {
                heads,
                head_dim,
                is_causal,
            },
            batch,
            map,
            qkv: random(3 * len, 1).iter().map(|v| v * size).collect(),
            dy: random(len, 2),
        }
    }

    fn tokens(&self) -> usize {
        self.map[0] * self.map[1]
    }

    fn shape(&self) -> [usize; 4] {
        let Attention {
            heads, head_dim, ..
        } = self.attention;
        [self.batch, heads * head_dim, self.map[0], self.map[1]]
    }

    fn name(&self) -> String {
        format!("{:?} of {:?}", self.attention, self.shape())
    }

    /// One head of one image: `[head_dim, tokens]` each.
    fn head(&self, [q, k, v]: [&[f64]; 3], dy: &[f32]) -> Reference {
        let (n, d) = (self.tokens(), self.attention.head_dim);
        let scale = 1.0 / (d as f64).sqrt();
        let mut r = Reference {
            y: vec![0.0; d * n],
            lse: vec![0.0; n],
            dqkv: vec![0.0; 3 * d * n],
        };
        for i in 0..n {
            let seen = if self.attention.is_causal { i + 1 } else { n };
            let product = |j: usize| -> f64 {
                (0..d).map(|c| q[c * n + i] * k[c * n + j]).sum::<f64>() * scale
            };
            let products: Vec<f64> = (0..seen).map(product).collect();
            let max = products.iter().copied().fold(f64::MIN, f64::max);
            let sum: f64 = products.iter().map(|p| (p - max).exp()).sum();
            r.lse[i] = max + sum.ln();
            let p: Vec<f64> = products.iter().map(|p| (p - r.lse[i]).exp()).collect();
            for c in 0..d {
                r.y[c * n + i] = (0..seen).map(|j| p[j] * v[c * n + j]).sum();
            }
            let dp = |j: usize| -> f64 {
                (0..d)
                    .map(|c| f64::from(dy[c * n + i]) * v[c * n + j])
                    .sum()
            };
            let dp: Vec<f64> = (0..seen).map(dp).collect();
            let delta: f64 = p.iter().zip(&dp).map(|(p, dp)| p * dp).sum();
            let (dq, rest) = r.dqkv.split_at_mut(d * n);
            let (dk, dv) = rest.split_at_mut(d * n);
            for j in 0..seen {
                let ds = p[j] * (dp[j] - delta) * scale;
                for c in 0..d {
                    dq[c * n + i] += ds * k[c * n + j];
                    dk[c * n + j] += ds * q[c * n + i];
                    dv[c * n + j] += p[j] * f64::from(dy[c * n + i]);
                }
            }
        }
        r
    }

    fn reference(&self, qkv: &[f64]) -> Reference {
        let Attention {
            heads, head_dim, ..
        } = self.attention;
        let (n, head) = (self.tokens(), head_dim * self.tokens());
        let at = |b: usize, part: usize, h: usize| ((b * 3 + part) * heads + h) * head;
        let one = |i: usize| {
            let parts = [0, 1, 2].map(|part| &qkv[at(i / heads, part, i % heads)..][..head]);
            self.head(parts, &self.dy[i * head..][..head])
        };
        let found: Vec<Reference> = (0..self.batch * heads).into_par_iter().map(one).collect();
        let mut r = Reference {
            y: vec![],
            lse: vec![],
            dqkv: vec![0.0; qkv.len()],
        };
        for (i, found) in found.into_iter().enumerate() {
            assert_eq!(found.lse.len(), n);
            r.y.extend(found.y);
            r.lse.extend(found.lse);
            for (part, values) in found.dqkv.chunks_exact(head).enumerate() {
                r.dqkv[at(i / heads, part, i % heads)..][..head].copy_from_slice(values);
            }
        }
        r
    }

    /// Compares forward and backward with the plain loops on each instruction set.
    fn check(&self, limit: f64) {
        let exact: Vec<f64> = self.qkv.iter().map(|&v| v.into()).collect();
        self.agrees(&self.reference(&exact), limit);
    }

    fn agrees(&self, r: &Reference, limit: f64) {
        let [n, c, h, w] = self.shape();
        let qkv = Activation::from_nchw(&self.qkv, [n, 3 * c, h, w]).unwrap();
        let dy = Activation::from_nchw(&self.dy, self.shape()).unwrap();
        for &isa in Isa::available() {
            let (y, lse) = self.attention.forward(isa, &qkv).unwrap();
            let back = self.attention.backward(isa, &qkv, &y, &lse, &dy).unwrap();
            // Each part on its own: with equal probabilities the gradients by queries are small.
            let found = back.to_nchw();
            let part = |values: usize| values / (c * h * w) % 3;
            let of = |k: usize| -> (Vec<f32>, Vec<f64>) {
                let all = found.iter().zip(&r.dqkv).enumerate();
                all.filter(|(i, _)| part(*i) == k)
                    .map(|(_, (&f, &e))| (f, e))
                    .unzip()
            };
            let [(dq, dq_exact), (dk, dk_exact), (dv, dv_exact)] = [0, 1, 2].map(of);
            for (what, found, expected) in [
                ("output", y.to_nchw(), &r.y),
                ("logarithms", lse.to_vec(), &r.lse),
                ("gradient by q", dq, &dq_exact),
                ("gradient by k", dk, &dk_exact),
                ("gradient by v", dv, &dv_exact),
            ] {
                let error = relative_error(&found, expected);
                let case = self.name();
                assert!(error < limit, "{case}, {what} on {isa}: {error:e}");
            }
        }
    }
}

#[test]
fn vision_transformers() {
    for is_causal in [false, true] {
        Case::new([3, 64], is_causal, 2, [1, 197], 1.0).check(1e-5);
        Case::new([6, 64], is_causal, 1, [1, 50], 1.0).check(1e-5);
        Case::new([12, 64], is_causal, 1, [1, 50], 2.0).check(1e-5);
        Case::new([1, 64], is_causal, 1, [1, 257], 1.0).check(1e-5);
        Case::new([2, 32], is_causal, 3, [14, 14], 1.0).check(1e-5);
    }
}

/// More keys than the first-level cache holds, and few queries in a tile.
#[test]
fn many_tokens() {
    Case::new([1, 64], false, 1, [1, 1370], 1.0).check(1e-5);
    Case::new([1, 16], true, 2, [37, 37], 1.0).check(1e-5);
}

#[test]
fn odd_shapes() {
    for is_causal in [false, true] {
        for tokens in [1, 2, 15, 16, 17, 31, 33, 61, 113] {
            for head in [[1, 16], [2, 48], [3, 80]] {
                Case::new(head, is_causal, 1, [1, tokens], 1.0).check(1e-5);
            }
        }
        Case::new([1, 16], is_causal, 40, [1, 3], 1.0).check(1e-5);
    }
}

/// Products of ±80 and more: a plain exponential would overflow.
#[test]
fn large_logits() {
    for is_causal in [false, true] {
        let mut case = Case::new([2, 64], is_causal, 1, [1, 70], 1.0);
        let exact = |case: &Case| -> Vec<f64> { case.qkv.iter().map(|&v| v.into()).collect() };
        let queries_and_keys = 2 * 2 * 64 * 70;
        case.qkv[..queries_and_keys]
            .iter_mut()
            .for_each(|v| *v *= 12.0);
        let r = case.reference(&exact(&case));
        let largest = r.lse.iter().fold(0.0f64, |m, &v| m.max(v.abs()));
        assert!(largest > 80.0, "{largest}");
        // A logit of 100 is rounded to 4e-6, which is the relative error of its exponential.
        case.agrees(&r, 5e-5);
    }
}

#[test]
fn gradients_are_those_of_the_plain_loop() {
    for is_causal in [false, true] {
        let case = Case::new([2, 16], is_causal, 1, [1, 5], 1.0);
        let mut r = case.reference(&case.qkv.iter().map(|&v| v.into()).collect::<Vec<f64>>());
        r.dqkv = differences(&case.qkv, |qkv| dot(&case.reference(qkv).y, &case.dy));
        case.agrees(&r, 1e-5);
    }
}

/// The same numbers for any number of threads.
#[test]
fn threads_change_nothing() {
    let case = Case::new([1, 32], false, 1, [1, 400], 1.0);
    let qkv = Activation::from_nchw(&case.qkv, [1, 96, 1, 400]).unwrap();
    let dy = Activation::from_nchw(&case.dy, case.shape()).unwrap();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        pool.build().unwrap().install(|| {
            let isa = Isa::detect();
            let (y, lse) = case.attention.forward(isa, &qkv).unwrap();
            let back = case.attention.backward(isa, &qkv, &y, &lse, &dy).unwrap();
            (y.to_nchw(), lse.to_vec(), back.to_nchw())
        })
    };
    assert!(run(1) == run(7));
}

#[test]
fn what_does_not_fit_is_refused() {
    let isa = Isa::detect();
    let attention = Attention {
        heads: 2,
        head_dim: 16,
        is_causal: false,
    };
    let zeros = Activation::zeros;
    for (heads, head_dim) in [(0, 16), (2, 0), (2, 24), (2, 8)] {
        let attention = Attention {
            heads,
            head_dim,
            is_causal: true,
        };
        let found = attention.forward(isa, &zeros([1, 96, 1, 5]));
        assert!(matches!(found, Err(KernelError::InvalidLayer(_))));
    }
    let huge = Attention {
        heads: usize::MAX,
        head_dim: 16,
        is_causal: false,
    };
    assert!(huge.forward(isa, &zeros([1, 96, 1, 5])).is_err());
    let found = attention.forward(isa, &zeros([1, 32, 1, 5]));
    assert!(matches!(
        found,
        Err(KernelError::WrongChannels {
            found: 32,
            expected: 96
        })
    ));
    let qkv = zeros([1, 96, 1, 5]);
    let (y, lse) = attention.forward(isa, &qkv).unwrap();
    let (_, shorter) = attention.forward(isa, &zeros([1, 96, 1, 4])).unwrap();
    assert!(attention.backward(isa, &qkv, &y, &shorter, &y).is_err());
    let other = zeros([1, 32, 1, 4]);
    assert!(attention.backward(isa, &qkv, &other, &lse, &y).is_err());
    assert!(attention.backward(isa, &qkv, &y, &lse, &other).is_err());
    for shape in [[0, 96, 1, 5], [2, 96, 0, 5]] {
        let qkv = zeros(shape);
        let (y, lse) = attention.forward(isa, &qkv).unwrap();
        let back = attention.backward(isa, &qkv, &y, &lse, &y).unwrap();
        assert_eq!(back.shape(), shape);
    }
}

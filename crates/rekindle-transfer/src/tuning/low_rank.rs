//! LoRA: pretrained weights that stay, plus a product of two thin matrices that learns.

use burn::module::{LoraAdapter, Module, Param, ParamId, Reparameterizer};
use burn::prelude::*;
use burn::tensor::TensorData;
use serde::{Deserialize, Serialize};

use crate::TransferError;
use crate::initialise::normal;

/// Low-rank adaptation (LoRA; Hu et al. 2021, <https://arxiv.org/abs/2106.09685>) of linear layers and convolutions.
///
/// A weight `W` becomes `W + alpha / rank * A B`, with `W` frozen, `A` `[rows, rank]` normal with deviation `1 / rank`,
/// and `B` `[rank, columns]` 0 at the start, so that nothing changes at first. A convolution `[out, in, k, k]` counts as
/// a matrix `[out, in * k * k]`. [`merge`](Self::merge) adds the product to the weight, after which the network
/// is an ordinary one for export.
///
/// A weight whose matrix has no more rows or columns than `rank` is left alone: there would be nothing to save. It hurts
/// little; with much data, full fine-tuning reaches further.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct LowRank {
    /// Rank of the product, at least 1.
    pub rank: usize,
    /// Scale of the product times the rank; the rank itself is a good start.
    pub alpha: f64,
    /// Seed for the initial values.
    pub seed: u64,
}

impl LowRank {
    /// Creates adapters of rank `rank` at scale 1.
    pub fn new(rank: usize) -> Self {
        Self {
            rank,
            alpha: rank as f64,
            seed: 0,
        }
    }

    /// Returns `module` with every weight of two or four dimensions adapted, and all that it had frozen, running
    /// statistics of batch normalisation included.
    ///
    /// # Errors
    ///
    /// [`TransferError::InvalidStrategy`] for a rank of 0 or an `alpha` that isn't above 0.
    pub fn attach<M: Module>(&self, module: M) -> Result<M, TransferError> {
        self.validate()?;
        Ok(module
            .freeze()
            .apply_reparameterization(Attach { low_rank: *self }))
    }

    /// Returns `module` with every product added to its weight: the same function, and parameters under their plain
    /// names.
    pub fn merge<M: Module>(module: M) -> M {
        module.materialize()
    }

    pub(super) fn validate(&self) -> Result<(), TransferError> {
        let invalid = |parameter: &str, found: String, expected: &'static str| {
            Err(TransferError::InvalidStrategy {
                strategy: "lora",
                parameter: parameter.to_string(),
                found,
                expected,
            })
        };
        if self.rank == 0 {
            return invalid("rank", self.rank.to_string(), "at least 1");
        }
        if !(self.alpha.is_finite() && self.alpha > 0.0) {
            return invalid("alpha", self.alpha.to_string(), "a finite number above 0");
        }
        Ok(())
    }
}

struct Attach {
    low_rank: LowRank,
}

impl Reparameterizer for Attach {
    type Reparam = LoraAdapter;

    fn reparameterize<const D: usize>(
        &mut self,
        path: &str,
        param: Param<Tensor<D>>,
    ) -> (Param<Tensor<D>>, Option<LoraAdapter>) {
        let LowRank { rank, alpha, seed } = self.low_rank;
        let shape = param.lazy_shape().to_vec();
        if D != 2 && D != 4 {
            return (param, None);
        }
        let (rows, columns) = (shape[0], shape[1..].iter().product::<usize>());
        if rows.min(columns) <= rank {
            return (param, None);
        }
        let device = param.lazy_device();
        let deviation = 1.0 / rank as f32;
        let seed = seed ^ fnv1a(path);
        let a: Vec<f32> = normal(rows * rank, seed)
            .iter()
            .map(|v| v * deviation)
            .collect();
        let factor = |values: Vec<f32>, shape: [usize; 2], name: &str| {
            let tensor = Tensor::from_data(TensorData::new(values, shape), &device);
            let is_autodiff = tensor.is_autodiff();
            let id = ParamId::from(fnv1a(&format!("{path}.lora.{name}")));
            Param::initialized(
                id,
                if is_autodiff {
                    tensor.require_grad()
                } else {
                    tensor
                },
            )
        };
        let adapter = LoraAdapter {
            a: factor(a, [rows, rank], "a"),
            b: factor(vec![0.0; rank * columns], [rank, columns], "b"),
            scale: alpha / rank as f64,
        };
        (param, Some(adapter))
    }
}

/// 64-bit FNV-1a hash: identities that are the same in every process.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

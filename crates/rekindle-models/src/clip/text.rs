//! The text tower: a transformer in which no token sees those behind it.

use burn::prelude::*;
use burn::tensor::TensorData;
use rekindle_nn::{Activation, Builder, Graph, GraphError, Init, LinearInit, Network};
use rekindle_weights::{CheckOptions, Checkpoint, LoadOptions};

use super::blocks::{block, blocks};
use super::{Activations, normalise};
use crate::Error;
use crate::files::load;
use crate::recognise::ClipTexts;

/// Sizes of a text tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextTower {
    /// Number of tokens that there are.
    pub vocabulary: usize,
    /// Tokens of a text at most.
    pub context: usize,
    /// Channels of a token; a head has 64 of them.
    pub width: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Length of the embedding.
    pub embedding: usize,
    /// GELU, or QuickGELU.
    pub activation: Activation,
}

impl TextTower {
    /// The text tower of ViT-B/32 and ViT-B/16.
    pub const BASE: Self = Self {
        vocabulary: 49_408,
        context: 77,
        width: 512,
        blocks: 12,
        embedding: 512,
        activation: Activation::Gelu,
    };

    /// Describes all behind the lookup of tokens and positions, on tokens `[batch, width, 1, tokens]`: a token is a pixel.
    ///
    /// The pooling takes the first token; [`TextEncoder`] gives it each text's last.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::finish`], for sizes that don't fit.
    pub fn graph(&self) -> Result<Graph, GraphError> {
        let normal = Init::Normal {
            std: (self.width as f64).sqrt().recip(),
        };
        let mut b = Builder::on_maps("CLIP text", self.width, [1, self.context]).init(
            rekindle_nn::ConvInit::PyTorch,
            LinearInit::Normal((self.width as f64).sqrt().recip()),
        );
        let projection = b.plain_matrix("text_projection", [self.width, self.embedding], normal);
        let mut x = b.images();
        x = blocks(&mut b, x, self.blocks, |b, x, _| {
            block(b, x, self.activation, true, 0.0)
        });
        x = b.layer_norm("ln_final", x);
        x = b.token(x, 0);
        x = b.project(x, projection);
        b.finish("head", x, 0)
    }

    /// Lists names and shapes of the tensors in front of [`graph`](Self::graph)'s: one row per token, and per position.
    pub fn tables(&self) -> [(&'static str, [usize; 2]); 2] {
        [
            (TOKENS, [self.vocabulary, self.width]),
            (POSITIONS, [self.context, self.width]),
        ]
    }
}

const TOKENS: &str = "token_embedding.weight";
const POSITIONS: &str = "positional_embedding";

/// Texts of a batch.
const BATCH: usize = 32;

/// A text tower with its weights.
#[derive(Clone, Debug)]
pub struct TextEncoder {
    tower: TextTower,
    network: Network,
    tokens: Tensor<2>,
    positions: Tensor<2>,
}

impl TextEncoder {
    /// Puts a tower together: the network of its [`graph`](TextTower::graph), tokens `[vocabulary, width]` and positions
    /// `[context, width]`.
    pub fn new(
        tower: TextTower,
        network: Network,
        tokens: Tensor<2>,
        positions: Tensor<2>,
    ) -> Self {
        Self {
            tower,
            network,
            tokens,
            positions,
        }
    }

    /// Finds the text tower in a file and reads it.
    ///
    /// # Errors
    ///
    /// Those of [`Checkpoint::network`], and what reading a tensor can fail with.
    pub fn read(
        checkpoint: &Checkpoint,
        activations: Activations,
        options: &LoadOptions,
        device: &Device,
    ) -> Result<Self, Error> {
        let texts = ClipTexts {
            activation: activations.activation,
        };
        let mut found = checkpoint.network(&[&texts], options)?;
        let tower = found.config;
        let tables = tower.tables().map(|(name, shape)| {
            let values = found.checkpoint.read_f32(name)?;
            found.checkpoint.tensors.remove(name);
            Ok::<_, Error>(Tensor::from_data(TensorData::new(values, shape), device))
        });
        let [tokens, positions] = tables;
        let network = Network::new(tower.graph()?, 0, device);
        let network = load(network, &found.checkpoint, CheckOptions::default())?;
        Ok(Self::new(tower, network, tokens?, positions?))
    }

    /// Returns the sizes.
    pub fn tower(&self) -> &TextTower {
        &self.tower
    }

    /// Returns the network behind the lookup.
    pub fn network(&self) -> &Network {
        &self.network
    }

    /// Returns the length of an embedding.
    pub fn num_features(&self) -> usize {
        self.network.num_features()
    }

    /// Allows the CPU's own kernels, or not; see [`Network::with_kernels`].
    #[cfg(feature = "kernels")]
    pub fn with_kernels(self, has_kernels: bool) -> Self {
        Self {
            network: self.network.with_kernels(has_kernels),
            ..self
        }
    }

    /// Computes embeddings `[texts, features]` of length 1.
    ///
    /// A text is its tokens from the start to the end token. The end token has the largest number of all: what stands behind
    /// the first of the largest is filling, is not looked at and may be absent.
    ///
    /// # Errors
    ///
    /// [`Error::Text`] for no texts, one without tokens, one that is longer than the tower's context, and a number that is no token's.
    pub fn encode(&self, texts: &[Vec<u32>]) -> Result<Tensor<2>, Error> {
        if texts.is_empty() {
            return refused("there are no texts".into());
        }
        let texts: Result<Vec<&[u32]>, Error> = texts.iter().map(|t| self.checked(t)).collect();
        let rows = texts?
            .chunks(BATCH)
            .map(|texts| self.batch(texts))
            .collect();
        Ok(normalise(Tensor::cat(rows, 0)))
    }

    /// Returns a text up to its end token.
    fn checked<'a>(&self, text: &'a [u32]) -> Result<&'a [u32], Error> {
        let Some(largest) = text.iter().max().copied() else {
            return refused("a text has no tokens".into());
        };
        if largest as usize >= self.tower.vocabulary {
            return refused(format!(
                "token {largest} is not among the {} that there are",
                self.tower.vocabulary
            ));
        }
        let end = text.iter().position(|token| *token == largest);
        let text = &text[..=end.unwrap_or_default()];
        match text.len() <= self.tower.context {
            true => Ok(text),
            false => refused(format!(
                "a text has {} tokens, and {} is the most",
                text.len(),
                self.tower.context
            )),
        }
    }

    /// Computes embeddings of any length. No token sees those behind it, so tokens behind all ends are left out.
    fn batch(&self, texts: &[&[u32]]) -> Tensor<2> {
        let device = self.tokens.device();
        let (count, width) = (texts.len(), self.tower.width);
        let most = texts.iter().map(|text| text.len()).max().unwrap_or(1);
        let ids = texts.iter().flat_map(|text| {
            let filling = std::iter::repeat_n(0, most - text.len());
            text.iter().map(|id| i64::from(*id)).chain(filling)
        });
        let ids = TensorData::new(ids.collect::<Vec<i64>>(), [count * most]);
        let ids = Tensor::<1, Int>::from_data(ids, &device);
        let x = self.tokens.clone().select(0, ids);
        let x = x.reshape([count, most, width]);
        let x = x + self.positions.clone().narrow(0, 0, most).unsqueeze();
        let x = x.swap_dims(1, 2).reshape([count, width, 1, most]);
        let x = self.network.forward_features(x);
        let ends = texts.iter().enumerate().map(|(index, text)| {
            let row = x.clone().narrow(0, index, 1);
            row.narrow(3, text.len() - 1, 1)
        });
        self.network.pool(Tensor::cat(ends.collect(), 0))
    }
}

fn refused<T>(reason: String) -> Result<T, Error> {
    Err(Error::Text { reason })
}

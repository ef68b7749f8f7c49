//! The image tower: a vision transformer with a normalisation in front of its blocks and a projection behind them.

use rekindle_nn::{
    Activation, Builder, Conv, ConvInit, Graph, GraphError, Init, LinearInit, Padding, Parameter,
    Tokens,
};

use super::blocks::{block, blocks};
use crate::Options;
use crate::common::{begin, variants};

/// Sizes of an image tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageTower {
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Channels of a token; a head has 64 of them.
    pub width: usize,
    /// Number of blocks.
    pub blocks: usize,
    /// Length of the embedding; none where there is no projection and the features are the class token.
    pub embedding: Option<usize>,
    /// GELU, or QuickGELU.
    pub activation: Activation,
}

variants! { named:
    /// Describes the image tower of ViT-B/32.
    vit_b_32(ImageTower::base(32, Activation::Gelu));
    /// Describes the image tower of ViT-B/16.
    vit_b_16(ImageTower::base(16, Activation::Gelu));
    /// Describes the image tower of ViT-B/32 as OpenAI trained it.
    vit_b_32_quickgelu(ImageTower::base(32, Activation::QuickGelu));
    /// Describes the image tower of ViT-B/16 as OpenAI trained it.
    vit_b_16_quickgelu(ImageTower::base(16, Activation::QuickGelu));
}

fn named(_function: &str, tower: ImageTower, options: &Options) -> Result<Graph, GraphError> {
    tower.graph(options)
}

/// Side in pixels of the images that positions are made for.
const SIDE: usize = 224;

impl ImageTower {
    const fn base(patch: usize, activation: Activation) -> Self {
        Self {
            patch,
            width: 768,
            blocks: 12,
            embedding: Some(512),
            activation,
        }
    }

    /// Returns open_clip's name of a tower of these sizes, or one in its manner.
    pub fn name(&self) -> String {
        let size = match (self.width, self.blocks) {
            (768, 12) => "B".to_string(),
            (1024, 24) => "L".to_string(),
            (width, blocks) => format!("{width}x{blocks}"),
        };
        let end = match self.activation {
            Activation::QuickGelu => "-quickgelu",
            _ => "",
        };
        format!("ViT-{size}-{}{end}", self.patch)
    }

    /// Describes the tower. Its names are those behind `visual.`.
    ///
    /// # Errors
    ///
    /// Those of [`Builder::finish`], for options or sizes that don't fit.
    pub fn graph(&self, options: &Options) -> Result<Graph, GraphError> {
        let mut b = begin(&self.name(), options)
            .init(
                ConvInit::PyTorch,
                LinearInit::Normal((self.width as f64).sqrt().recip()),
            )
            .head_dropout(options.drop_rate.unwrap_or(0.0));
        let mut x = b.images();
        let mut projection = None;
        let normal = Init::Normal {
            std: (self.width as f64).sqrt().recip(),
        };
        x = b.stage("stem", |b| {
            let (tokens, tables) = self.tables(b, normal, options);
            projection = self
                .embedding
                .map(|embedding| b.plain_matrix("proj", [self.width, embedding], normal));
            let conv = Conv::new(self.width, self.patch).stride(self.patch);
            let x = b.conv2d("conv1", x, conv.padding(Padding::all(0)));
            let x = b.tokens(x, tokens, tables);
            b.layer_norm("ln_pre", x)
        });
        let step = options.drop_path_rate.unwrap_or(0.0) / (self.blocks.max(2) - 1) as f64;
        x = blocks(&mut b, x, self.blocks, |b, x, index| {
            block(b, x, self.activation, false, step * index as f64)
        });
        x = b.layer_norm("ln_post", x);
        x = b.token(x, 0);
        if let Some(projection) = projection {
            x = b.project(x, projection);
        }
        b.finish("head", x, options.classes)
    }

    /// Writes class token and positions down.
    fn tables(&self, b: &mut Builder, normal: Init, options: &Options) -> (Tokens, Vec<Parameter>) {
        let grid = SIDE / self.patch.max(1);
        let tokens = Tokens {
            channels: self.width,
            registers: 0,
            grid: options.position_grid.unwrap_or([grid; 2]),
            has_class_position: true,
            lacks_class_token: false,
        };
        let class = b.parameter("class_embedding", &[self.width], normal);
        let positions = [tokens.positions(), self.width];
        let positions = b.plain_matrix("positional_embedding", positions, normal);
        (tokens, vec![class, positions])
    }
}

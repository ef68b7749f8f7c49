//! Options that say how a network is trained and how it sees pictures.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use rekindle::trainer::Loss;

use super::Views;
use crate::values::{at_least_zero, count, probability, rate, seed, share};

/// How pictures become the network's input.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct View {
    /// How a picture that isn't square becomes one; the file of the result says so, and predict and export follow it
    /// [default: as the weights ask for, mostly crop]
    #[arg(long, value_enum, value_name = "HOW")]
    pub resize: Option<Resize>,
    /// Side of the network's input in pixels: larger shows more detail and takes longer [default: as the weights ask for; of fit
    /// also smaller, where a probe on smaller pictures is about as good]
    #[arg(long, value_name = "PIXELS", value_parser = count::<16, 4096>, allow_negative_numbers = true)]
    pub image_size: Option<usize>,
}

/// What `--resize` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Resize {
    /// Scales the shorter side and cuts off the ends of the longer one
    Crop,
    /// Scales both sides to the same length: nothing is cut off, shapes are distorted
    Squash,
    /// Scales the longer side and fills up the shorter one: nothing is cut off or distorted
    Letterbox,
}

/// Options of training. Those that are not given are as in the recipe, or as the strategy's default has them.
#[derive(Clone, Debug, Args)]
pub struct Recipe {
    /// What the options that are not given are: `tutorial` as in PyTorch's transfer-learning tutorial (SGD, 25 epochs of 4
    /// images), or a file: TOML, or JSON such as the `recipe` of a run.json [default: AdamW, one cycle, with what fits the strategy]
    #[arg(long, value_name = "NAME|FILE")]
    pub recipe: Option<PathBuf>,
    /// Passes over the training images [default: 12; 30 for features and scratch]
    #[arg(long, value_parser = count::<1, 1_000_000>, allow_negative_numbers = true)]
    pub epochs: Option<usize>,
    /// Images per batch [default: 16]
    #[arg(long, visible_alias = "batch-size", value_parser = count::<1, 65_536>, allow_negative_numbers = true)]
    pub batch: Option<usize>,
    /// Base learning rate [default: 0.0003; 0.003 for bitfit and batch-norm-only, 0.001 for scratch]
    #[arg(long, visible_alias = "lr", value_name = "RATE", value_parser = rate, allow_negative_numbers = true)]
    pub learning_rate: Option<f64>,
    /// The head's learning rate over the base rate [default: 10; 1 where that is as high]
    #[arg(long, value_name = "FACTOR", value_parser = rate, allow_negative_numbers = true)]
    pub head_rate: Option<f64>,
    /// The optimiser [default: adamw]
    #[arg(long, value_enum, value_name = "NAME")]
    pub optimizer: Option<Optimizer>,
    /// Share of each weight that a step at rate 1 takes away (adamw, lion), or that is added to its gradient (others)
    /// [default: 0.01 with adamw, 0.1 with lion, 0 with others]
    #[arg(long, value_name = "DECAY", value_parser = at_least_zero, allow_negative_numbers = true)]
    pub weight_decay: Option<f64>,
    /// Course of the learning rate [default: one-cycle]
    #[arg(long, value_enum, value_name = "NAME")]
    pub schedule: Option<ScheduleName>,
    /// Epochs of a linear rise before that course, fractions allowed; one-cycle has its own [default: 0]
    #[arg(long, value_name = "EPOCHS", value_parser = at_least_zero, allow_negative_numbers = true)]
    pub warm_up: Option<f64>,
    /// Largest norm of all gradients together [default: none]
    #[arg(long, value_name = "NORM", value_parser = rate, allow_negative_numbers = true)]
    pub clip_norm: Option<f64>,
    /// Batches whose gradients make one step [default: 1]
    #[arg(long, value_name = "BATCHES", value_parser = count::<1, 65_536>, allow_negative_numbers = true)]
    pub accumulate: Option<usize>,
    /// Random changes to training images [default: light]
    #[arg(long, value_enum, value_name = "POLICY")]
    pub augment: Option<Augment>,
    /// Probability that a training image is mirrored; 0 for text, digits and signs [default: 0.5]
    #[arg(long, value_name = "SHARE", value_parser = probability, allow_negative_numbers = true)]
    pub flip: Option<f64>,
    /// Blends pairs of images by a ratio from Beta(ALPHA, ALPHA), such as 0.2 [default: none]
    #[arg(long, value_name = "ALPHA", value_parser = rate, allow_negative_numbers = true)]
    pub mix_up: Option<f64>,
    /// Pastes a rectangle of another image, by a ratio from Beta(ALPHA, ALPHA), such as 1; with --mix-up one of the two per
    /// batch [default: none]
    #[arg(long, value_name = "ALPHA", value_parser = rate, allow_negative_numbers = true)]
    pub cut_mix: Option<f64>,
    /// Seed of everything random [default: 0]
    #[arg(long, value_parser = seed, allow_negative_numbers = true)]
    pub seed: Option<u64>,
    /// Views of each image whose features are kept while they are frozen: 1 the plain image, more add
    /// augmented ones, 0 augments anew in every epoch [default: 1]
    #[arg(long, value_parser = count::<0, 1_000>, allow_negative_numbers = true)]
    pub views: Option<usize>,
    /// Folder that keeps features for later runs [default: none, they live in memory]
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
    /// What is minimised: cross-entropy, focal[=GAMMA] (less weight on easy images) or logit-adjusted[=TAU] (for classes of
    /// uneven size) for one class per picture; binary-cross-entropy or
    /// asymmetric[=NEGATIVE,POSITIVE,MARGIN] for several labels; l2, l1 or huber[=DELTA] of standardised numbers [default: the
    /// first of its task]
    #[arg(long, value_name = "LOSS", value_parser = loss)]
    pub loss: Option<Loss>,
    /// Share of the target that is spread over all classes [default: 0.1; 0 for numbers]
    #[arg(long, value_name = "SHARE", value_parser = share, allow_negative_numbers = true)]
    pub label_smoothing: Option<f64>,
    /// Decay of the moving average of the weights that is validated and kept in their place, such as 0.99
    /// [default: none]
    #[arg(long, value_name = "DECAY", value_parser = share, allow_negative_numbers = true)]
    pub moving_average: Option<f64>,
    /// Runs layers that stay frozen in eight bits: faster, and a little off; not for DenseNet and ShuffleNet
    #[arg(long)]
    pub quantize: bool,
    /// The figure on the validation images that decides which epoch's weights are kept and, with --patience, when to
    /// stop; of equal figures the one with the lower loss wins [default: accuracy; mae for numbers
    /// and --ordinal]
    #[arg(long, value_enum, value_name = "FIGURE")]
    pub monitor: Option<Figure>,
    /// Measures the best weights in these views of each picture as well, and names them in their file as its own
    /// choice for `predict --views file` [default: plain]
    #[arg(long, value_enum, value_name = "VIEWS")]
    pub test_views: Option<Views>,
    /// Stops after so many epochs without improvement
    #[arg(long, value_name = "EPOCHS", value_parser = count::<1, 1_000_000>, allow_negative_numbers = true)]
    pub patience: Option<usize>,
    /// Weighs each class by the inverse of its share
    #[arg(long)]
    pub balance_classes: bool,
    /// Weighs the named classes by hand, such as defect=5,scratch=2; others weigh 1
    #[arg(long, value_name = "CLASS=WEIGHT,..", value_delimiter = ',', value_parser = class_weight, conflicts_with = "balance_classes")]
    pub class_weights: Vec<(String, f64)>,
    /// Shows every class equally often: images of small classes several times per epoch, those of large ones seldom
    #[arg(long)]
    pub balanced_sampler: bool,
    /// Threads that decode images [default: 2]
    #[arg(long, value_parser = count::<0, 256>, allow_negative_numbers = true)]
    pub workers: Option<usize>,
}

/// What `--optimizer` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Optimizer {
    /// AdamW: momentum and a rate of its own for each weight
    #[value(name = "adamw")]
    AdamW,
    /// SGD with momentum 0.9
    Sgd,
    /// Adam: as AdamW, with the decay added to the gradient
    Adam,
    /// RMSProp without momentum
    #[value(name = "rmsprop")]
    RmsProp,
    /// Lion: steps of one length, at a tenth of AdamW's rate
    Lion,
}

/// What `--schedule` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScheduleName {
    /// The base rate throughout
    Constant,
    /// A tenth of the rate after every seventh epoch
    Step,
    /// Half a cosine down to zero
    Cosine,
    /// Up to the base rate and down again
    OneCycle,
}

/// What `--augment` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Augment {
    /// Nothing but mirroring
    None,
    /// Random parts of at least 35 % of the area
    Light,
    /// Random parts of at least 8 % of the area, as in PyTorch's tutorial
    Imagenet,
    /// Light, and one random operation of random strength (TrivialAugment)
    Trivial,
    /// Light, and two random operations of strength 9 (RandAugment)
    Rand,
}

/// What `--monitor` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Figure {
    /// Share of right answers
    Accuracy,
    /// Cross entropy
    Loss,
    /// Mean F1 of the classes, rare ones as much as frequent ones
    MacroF1,
    /// Mean over the classes of the share of each that is named right
    BalancedAccuracy,
    /// Mean of the labels' average precision, for pictures with several [their default]
    MeanAveragePrecision,
    /// Agreement beyond chance by the squared distance (quadratic weighted kappa), for --ordinal
    Kappa,
    /// Mean absolute error, for numbers and for --ordinal, there in classes [their default]
    Mae,
    /// Root of the mean squared error, for numbers
    Rmse,
}

fn loss(text: &str) -> Result<Loss, String> {
    text.parse::<Loss>().map_err(|error| error.to_string())
}

/// Reads a class and its weight.
fn class_weight(text: &str) -> Result<(String, f64), String> {
    let read = text.rsplit_once('=').and_then(|(class, weight)| {
        let weight: f64 = weight.trim().parse().ok()?;
        (weight.is_finite() && weight >= 0.0).then(|| (class.to_string(), weight))
    });
    read.ok_or_else(|| "expected a class and a number of at least 0, such as defect=5".into())
}

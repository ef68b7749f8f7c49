//! Learning without labels.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::activation::{log_softmax, relu};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::rngs::Xoshiro256PlusPlus;
use rekindle::nn::Network;
use rekindle::trainer::Schedule;
use rekindle::transfer::TransferError;
use rekindle::transfer::objective::{barlow_twins_loss, simsiam_loss};

use crate::set::Digits;
use crate::{Arguments, VIEWS};

/// Digits of a step.
const BATCH: usize = 256;

/// Of learning at the start; falls to 0 by half a cosine.
const RATE: f64 = 2e-3;

/// Tasks that are learnt from digits without labels.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pretext {
    /// Two views of a digit predict each other.
    SimSiam,
    /// Features of two views agree, and each says something else.
    BarlowTwins,
    /// By how many quarters a digit was turned.
    Rotation,
}

/// The network with what its task needs on top, as the papers have it.
#[derive(Module, Debug)]
struct Learner {
    net: Network,
    projector: Mlp,
    predictor: Mlp,
}

/// A hidden layer with batch normalisation and ReLU.
#[derive(Module, Debug)]
struct Mlp {
    hidden: Linear,
    norm: BatchNorm,
    output: Linear,
}

impl Mlp {
    fn new([inputs, hidden, outputs]: [usize; 3], device: &Device) -> Self {
        Self {
            hidden: LinearConfig::new(inputs, hidden).init(device),
            norm: BatchNormConfig::new(hidden).init(device),
            output: LinearConfig::new(hidden, outputs).init(device),
        }
    }

    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let hidden = relu(self.norm.forward(self.hidden.forward(x)));
        self.output.forward(hidden)
    }
}

impl Pretext {
    /// `net` after `steps` of this task on `train`.
    pub fn learn(
        self,
        net: Network,
        train: &Digits,
        arguments: &Arguments,
        draws: &mut Xoshiro256PlusPlus,
    ) -> Result<Network, TransferError> {
        let plain = Device::flex();
        let device = plain.clone().autodiff();
        let (inputs, outputs) = (net.num_features(), self.outputs());
        let mut learner = Learner {
            net: net.to_device(&device),
            projector: Mlp::new([inputs, 256, outputs], &device),
            predictor: Mlp::new([outputs, 64, outputs], &device),
        };
        learner = learner.train();
        let mut optimizer = AdamConfig::new().init();
        for step in 0..arguments.steps {
            let digits = train.batch(BATCH, draws, &plain).x;
            let loss = self.loss(&learner, digits, draws)?;
            if step % 500 == 499 && !arguments.json {
                eprintln!(
                    "{self:?}, step {}, loss {:.4}",
                    step + 1,
                    loss.clone().into_scalar::<f32>()
                );
            }
            let grads = GradientsParams::from_grads(loss.backward(), &learner);
            let factor = Schedule::cosine().factor(step, 1, arguments.steps);
            learner = optimizer.step(RATE * factor, learner, grads);
        }
        Ok(learner.net.valid())
    }

    fn outputs(self) -> usize {
        match self {
            Self::SimSiam | Self::BarlowTwins => 256,
            Self::Rotation => 4,
        }
    }

    fn loss(
        self,
        learner: &Learner,
        digits: Tensor<4>,
        draws: &mut Xoshiro256PlusPlus,
    ) -> Result<Tensor<1>, TransferError> {
        let project = |x: Tensor<4>| {
            learner
                .projector
                .forward(learner.net.forward(Tensor::from_inner(x)))
        };
        let view = VIEWS.of(digits.clone(), draws);
        if self == Self::Rotation {
            let (turned, quarters) = turned(view);
            let chances = log_softmax(project(turned), 1);
            let quarters = Tensor::<2, Int>::from_data(quarters, &chances.device());
            return Ok(chances.gather(1, quarters).mean().neg());
        }
        let (z1, z2) = (project(view), project(VIEWS.of(digits, draws)));
        if self == Self::BarlowTwins {
            return barlow_twins_loss(z1, z2, 0.005);
        }
        let predict = |z: &Tensor<2>| learner.predictor.forward(z.clone());
        simsiam_loss(predict(&z1), z1, predict(&z2), z2)
    }
}

/// Each quarter of the batch turned by another number of quarters, and these numbers `[n, 1]`.
fn turned(x: Tensor<4>) -> (Tensor<4>, TensorData) {
    let quarter = x.dims()[0] / 4;
    let part = |turns: usize| {
        let part = x.clone().narrow(0, turns * quarter, quarter);
        (0..turns).fold(part, |x, _| x.swap_dims(2, 3).flip([2]))
    };
    let turns: Vec<i64> = (0..4 * quarter).map(|row| (row / quarter) as i64).collect();
    (
        Tensor::cat((0..4).map(part).collect(), 0),
        TensorData::new(turns, [4 * quarter, 1]),
    )
}

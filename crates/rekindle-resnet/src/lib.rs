//! torchvision's ten ResNets for Burn, with weights in and out.
//!
//! [`Pretrained::open`] reads a checkpoint in any of its formats and needs nothing else; [`ResNet`] has
//! timm's verbs, `forward`, `forward_features`, `forward_head` and `reset_classifier`; [`weights`] reads and
//! writes named tensors, [`catalogue`] and `hub` know torchvision's weights.
//!
//! ```
//! use rekindle_resnet::Architecture;
//! use rekindle_resnet::burn::tensor::{Device, Tensor};
//!
//! # #[cfg(feature = "flex")] {
//! let device = Device::flex();
//! let model = Architecture::ResNet18.config().with_stem_width(8).init(&device);
//! let model = model.reset_classifier(2); // ants and bees
//! let images = Tensor::<4>::zeros([1, 3, 64, 64], &device);
//! assert_eq!(model.forward(images).dims(), [1, 2]);
//! # }
//! ```

mod architecture;
mod batch_norm;
mod block;
pub mod catalogue;
mod conv_net;
mod error;
mod family;
#[cfg(feature = "kernels")]
mod kernels;
mod layout;
mod onnx;
mod pretrained;
mod resnet;
mod shapes;
pub mod weights;

pub use burn;

pub use architecture::Architecture;
pub use batch_norm::BatchNorm;
pub use block::{BasicBlock, Block, BlockKind, Bottleneck, Downsample};
pub use conv_net::{ConvBlock, ConvNet, ConvNetConfig};
pub use error::Error;
pub use family::ResNets;
#[cfg(feature = "kernels")]
pub use kernels::QuantizedStages;
pub use pretrained::Pretrained;
pub use rekindle_preprocess::{Interpolation, Preprocess};
#[cfg(feature = "hub")]
pub use rekindle_weights::hub;
pub use rekindle_weights::{Mismatch, Misshapen, named_tensors, state_dict};
pub use resnet::{ResNet, ResNetConfig, STAGES};

//! torchvision's ten ResNets for Burn, with weights in and out.

mod architecture;
mod batch_norm;
mod block;
pub mod catalogue;
mod content;
mod error;
#[cfg(feature = "hub")]
pub mod hub;
#[cfg(feature = "kernels")]
mod packed;
mod preprocess;
mod pretrained;
mod resnet;
pub mod state_dict;
pub mod weights;

pub use architecture::Architecture;
pub use batch_norm::BatchNorm;
pub use block::{BasicBlock, Block, BlockKind, Bottleneck, Downsample};
pub use error::{Error, Mismatch, Misshapen};
#[cfg(feature = "kernels")]
pub use packed::PackedResNet;
pub use preprocess::{Interpolation, Preprocess};
pub use pretrained::{Pretrained, named_tensors};
pub use resnet::{ResNet, ResNetConfig, STAGES};

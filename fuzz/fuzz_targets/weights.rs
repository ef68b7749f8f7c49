//! Files of weights: both formats of PyTorch, safetensors, burnpack, told apart by their content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{file, only_own_panics};
use rekindle_resnet::weights;

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    let path = file("weights", bytes);
    let Ok(checkpoint) = weights::read(&path) else { return };
    for tensor in checkpoint.tensors.values() {
        // A file can't hold more numbers than it has bytes, unless it is packed.
        if let Ok(values) = tensor.read_f32() {
            assert_eq!(values.len(), tensor.shape().iter().product::<usize>());
        }
    }
    let _ = checkpoint.info();
});

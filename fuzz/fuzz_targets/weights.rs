//! Files of weights: both formats of PyTorch, safetensors, burnpack, told apart by their content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{file, only_own_panics};
use rekindle_models::find;
use rekindle_weights::{self as weights, LoadOptions};

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
    let Ok(network) = find(&checkpoint, &LoadOptions::default()) else { return };
    // What was taken is in the file, all of it, and of the shapes that the network has.
    let (found, taken) = (&network.source, &network.checkpoint.tensors);
    assert_eq!(found.tensors, taken.len());
    for tensor in network.config.tensors() {
        assert_eq!(taken[&tensor.name].shape(), tensor.shape);
    }
    let beside: usize = found.left_out.iter().map(|group| group.tensors).sum();
    assert!(taken.len() + beside <= checkpoint.tensors.len() + 1); // A bias of zeros may be made up.
});

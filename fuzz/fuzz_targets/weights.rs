//! Files of weights: both formats of PyTorch, safetensors, burnpack, told apart by their content.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::{file, only_own_panics};
use rekindle_models::Registry;
use rekindle_resnet::weights::{self, LoadOptions};

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
    if let Ok(network) = checkpoint.network(&[&Registry], &LoadOptions::default()) {
        assert_eq!(network.source.tensors, network.checkpoint.tensors.len());
        let graph = network.config.graph().expect("a network of the file's sizes");
        assert_eq!(graph.name(), network.config.model.bare_name());
    }
    let Ok(network) = weights::network(&checkpoint, &LoadOptions::default()) else { return };
    // What was taken is in the file, all of it, and of the shapes that the network has.
    let (found, taken) = (&network.source, &network.checkpoint.tensors);
    assert_eq!(found.tensors, taken.len());
    let stem = taken["conv1.weight"].shape();
    assert_eq!((stem[0], stem[1]), (network.config.stem_width, network.config.in_channels));
    let beside: usize = found.left_out.iter().map(|group| group.tensors).sum();
    assert!(taken.len() + beside <= checkpoint.tensors.len() + 1); // A bias of zeros may be made up.
});

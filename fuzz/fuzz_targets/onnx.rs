//! ONNX files, and the descriptions of networks that are kept of them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use rekindle_fuzz::only_own_panics;
use rekindle_nn::Graph;
use rekindle_nn::onnx::{ImportOptions, import};

fuzz_target!(init: only_own_panics(), |bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = Graph::from_json(text);
    }
    let mut beside = |_: &str, _: u64, _: Option<u64>| Err("there is none".to_string());
    let Ok(imported) = import(bytes, &mut beside, &ImportOptions::default()) else { return };
    // Every tensor of the network has its numbers, and its description is taken again.
    for tensor in imported.graph.tensors() {
        assert_eq!(imported.tensors[&tensor.name].len(), tensor.elements());
    }
    let size = imported.image_size.unwrap_or([224; 2]);
    let again = Graph::from_json(&imported.graph.to_json(size)).expect("its own description");
    assert!(again == imported.graph);
});

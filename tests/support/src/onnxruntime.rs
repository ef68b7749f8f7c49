//! Files of networks, run by onnxruntime.

use std::path::Path;
use std::process::Command;

use crate::{Needs, skip};

/// Its `onnx` checks the file where it is there. The last arguments are the images' shape and a condition on the file's
/// metadata.
const SCRIPT: &str = r#"
import sys, numpy, onnxruntime
try:
    import onnx
    onnx.checker.check_model(sys.argv[1], full_check=True)
except ImportError:
    pass
images = numpy.fromfile(sys.argv[2], numpy.float32).reshape([int(x) for x in sys.argv[4].split(",")])
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
metadata = session.get_modelmeta().custom_metadata_map
assert eval(sys.argv[5]), f"{sys.argv[5]}: {metadata}"
output = session.run(None, {"images": images})[0]
one = session.run(None, {"images": images[:1]})[0]
assert numpy.abs(one - output[:1]).max() <= 1e-4 * numpy.abs(output).max(), "the batch matters"
output.astype(numpy.float32).tofile(sys.argv[3])
"#;

/// A Python that has onnxruntime.
pub struct OnnxRuntime {
    python: String,
}

impl OnnxRuntime {
    /// Finds it under the name in `REKINDLE_PYTHON`, or `python3`, or records that the calling test is skipped.
    pub fn find() -> Option<Self> {
        let python = std::env::var("REKINDLE_PYTHON").unwrap_or_else(|_| "python3".into());
        let has = Command::new(&python)
            .args(["-c", "import onnxruntime, numpy"])
            .output();
        if has.is_ok_and(|output| output.status.success()) {
            return Some(Self { python });
        }
        let reason =
            format!("{python} has no onnxruntime (set REKINDLE_PYTHON to a Python that has)");
        skip(Needs::Program, reason);
        None
    }

    /// Computes the output for images of this shape, with files beside `file`; panics where the file is wrong, where
    /// `condition`, Python on a dictionary `metadata`, doesn't hold, or where a batch of one has another output.
    pub fn run(&self, file: &Path, condition: &str, images: &[f32], shape: [usize; 4]) -> Vec<f32> {
        let (input, output) = (file.with_extension("input"), file.with_extension("output"));
        write_floats(&input, images);
        let ran = Command::new(&self.python)
            .args(["-c", SCRIPT])
            .args([file, &input, &output])
            .arg(shape.map(|extent| extent.to_string()).join(","))
            .arg(condition)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{}: {said}", file.display());
        let bytes = std::fs::read(output).unwrap();
        let (numbers, _) = bytes.as_chunks::<4>();
        numbers.iter().map(|b| f32::from_le_bytes(*b)).collect()
    }
}

/// Writes numbers as a file of little-endian `f32`.
pub fn write_floats(path: &Path, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    std::fs::write(path, bytes).unwrap();
}

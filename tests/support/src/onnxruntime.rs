//! Files of networks, run by onnxruntime.

use std::path::Path;
use std::process::Command;

use crate::{Needs, skip};

/// Its `onnx` checks the file where it is there. The last arguments are the images' shape, a condition on the file's
/// metadata, and how far an image by itself may be off.
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
off = numpy.abs(one - output[:1]).max()
assert off <= float(sys.argv[6]) * numpy.abs(output).max(), f"the batch matters: {off}"
output.astype(numpy.float32).tofile(sys.argv[3])
"#;

/// The same for files that take pixels: pictures of the sizes in the last argument lie in the input one behind the other,
/// and all outputs of all of them in the output.
const SCRIPT_FOR_PIXELS: &str = r#"
import sys, numpy, onnxruntime
try:
    import onnx
    onnx.checker.check_model(sys.argv[1], full_check=True)
except ImportError:
    pass
pixels = numpy.fromfile(sys.argv[2], numpy.uint8)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
outputs, start = [], 0
for size in sys.argv[4].split(","):
    height, width = (int(x) for x in size.split("x"))
    end = start + height * width * 3
    picture = pixels[start:end].reshape(1, height, width, 3)
    outputs += [x.astype(numpy.float32).ravel() for x in session.run(None, {"pixels": picture})]
    start = end
numpy.concatenate(outputs).tofile(sys.argv[3])
"#;

/// Quantizes the file by onnxruntime's own tool, by the settings that it documents for convolutional networks.
const SCRIPT_FOR_QUANTIZATION: &str = r#"
import sys, numpy
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
images = numpy.fromfile(sys.argv[2], numpy.float32).reshape([int(x) for x in sys.argv[4].split(",")])
class Images(CalibrationDataReader):
    def __init__(self):
        self.batches = iter([{"images": images}])
    def get_next(self):
        return next(self.batches, None)
ready = sys.argv[1] + ".ready"
quant_pre_process(sys.argv[1], ready, skip_symbolic_shape=True)
quantize_static(ready, sys.argv[5], Images(), quant_format=QuantFormat.QDQ, per_channel=True,
                activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)
numpy.zeros(0, numpy.float32).tofile(sys.argv[3])
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
        write_floats(&file.with_extension("input"), images);
        let shape = shape.map(|extent| extent.to_string()).join(",");
        self.call(SCRIPT, file, &[&shape, condition, "1e-4"])
    }

    /// Computes the output of a file in eight bits, of which a batch of one may have another where a sum lies between two bytes.
    pub fn answer(&self, file: &Path, images: &[f32], shape: [usize; 4]) -> Vec<f32> {
        write_floats(&file.with_extension("input"), images);
        let shape = shape.map(|extent| extent.to_string()).join(",");
        self.call(SCRIPT, file, &[&shape, "True", "0.1"])
    }

    /// Writes to `out` what onnxruntime's own tool makes of a file in `f32`: eight bits with ranges of these images.
    pub fn quantize_static(&self, file: &Path, out: &Path, images: &[f32], shape: [usize; 4]) {
        write_floats(&file.with_extension("input"), images);
        let shape = shape.map(|extent| extent.to_string()).join(",");
        self.call(
            SCRIPT_FOR_QUANTIZATION,
            file,
            &[&shape, out.to_str().unwrap()],
        );
    }

    /// Computes all outputs, one behind the other, for each of these pictures: height, width, and bytes red, green, blue.
    pub fn run_on_pixels(&self, file: &Path, pictures: &[(u32, u32, &[u8])]) -> Vec<f32> {
        let bytes: Vec<u8> = pictures
            .iter()
            .flat_map(|(.., bytes)| *bytes)
            .copied()
            .collect();
        std::fs::write(file.with_extension("input"), bytes).unwrap();
        let sizes = pictures
            .iter()
            .map(|(height, width, _)| format!("{height}x{width}"));
        let sizes = sizes.collect::<Vec<String>>().join(",");
        self.call(SCRIPT_FOR_PIXELS, file, &[&sizes])
    }

    fn call(&self, script: &str, file: &Path, more: &[&str]) -> Vec<f32> {
        let (input, output) = (file.with_extension("input"), file.with_extension("output"));
        let ran = Command::new(&self.python)
            .args(["-c", script])
            .args([file, &input, &output])
            .args(more)
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

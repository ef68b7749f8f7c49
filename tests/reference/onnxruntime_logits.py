#!/usr/bin/env python3
"""onnxruntime's logits for ONNX files that rekindle wrote.

needs: pip install -r requirements.txt
use:   REKINDLE_ONNX_OUT=/tmp/onnx cargo test -p rekindle-models --test it -- --ignored the_files_that_onnxruntime_is_asked_about
       onnxruntime_logits.py /tmp/onnx      (writes into its own folder)

onnx.json    of each file: SHA-256 of its graph, as rekindle encodes it, and the logits for the images beside it
"""
import json, pathlib, sys
import numpy, onnx, onnxruntime

HERE = pathlib.Path(__file__).parent
folder = pathlib.Path(sys.argv[1])
found = {}
for path in sorted(folder.glob("*.onnx")):
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = numpy.fromfile(path.with_suffix(".images"), numpy.float32).reshape(2, 3, 64, 64)
    logits = session.run(None, {"images": images})[0]
    found[path.stem] = {"graph": path.with_suffix(".sha256").read_text(), "logits": [float(x) for x in logits.ravel()]}
text = ",\n".join(f'"{name}":{json.dumps(entry, separators=(",", ":"))}' for name, entry in found.items())
(HERE / "onnx.json").write_text("{" + text + "}\n")
print(f"{len(found)} networks, onnxruntime {onnxruntime.__version__}, onnx {onnx.__version__}")

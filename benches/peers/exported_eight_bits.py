#!/usr/bin/env python3
"""What eight bits cost an exported classifier, ours and onnxruntime's own, and how fast onnxruntime runs them.

needs: pip install onnx onnxruntime pillow
use:   exported_eight_bits.py F32.onnx OURS.onnx --calibrate FOLDER --data FOLDER [--index classes.txt] [--threads 2]
           [--batch 32] [--repeats 10]

F32.onnx is `rekindle export`'s, OURS.onnx the same with --quantize. onnxruntime's quantize_static (QDQ, bytes by signed
bytes a channel) is given F32.onnx and 64 pictures of --calibrate, evenly spread: those that `rekindle export --quantize
--data` takes of a folder without classes or of a training part. --data has one folder per class; --index has lines
"number wnid name" for weights of ImageNet, otherwise classes are those of the file's metadata. One JSON object a line:
top-1, the share of answers that are those of f32, the root of the mean squared difference of the logits relative to f32,
and images per second, each file in turn, twice.
"""
import argparse, json, pathlib, statistics, tempfile, time

import numpy, onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image, ImageOps

parser = argparse.ArgumentParser()
parser.add_argument("f32")
parser.add_argument("ours")
parser.add_argument("--calibrate", required=True)
parser.add_argument("--data", required=True)
parser.add_argument("--index")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--repeats", type=int, default=10)
arguments = parser.parse_args()


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = arguments.threads
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


about = session(arguments.f32).get_modelmeta().custom_metadata_map
p = json.loads(about["preprocess"])
filters = {"nearest": Image.NEAREST, "bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}


def seen(path):
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    short = min(image.size)
    image = image.resize([side * p["resize"] // short for side in image.size], filters[p["interpolation"]])
    left, top = [round((side - p["crop"]) / 2) for side in image.size]
    image = image.crop((left, top, left + p["crop"], top + p["crop"]))
    x = (numpy.asarray(image, numpy.float32) / 255 - p["mean"]) / p["std"]
    return x.transpose(2, 0, 1).astype(numpy.float32)


def pictures(folder):
    endings = {".jpg", ".jpeg", ".png"}
    return [file for file in sorted(pathlib.Path(folder).rglob("*")) if file.suffix.lower() in endings]


class Batches(CalibrationDataReader):
    def __init__(self, files):
        count = min(64, len(files))
        files = [files[i * len(files) // count] for i in range(count)]
        self.batches = iter([{"images": seen(file)[None]} for file in files])

    def get_next(self):
        return next(self.batches, None)


if arguments.index:
    lines = pathlib.Path(arguments.index).read_text().splitlines()
    known = {line.split()[1]: int(line.split()[0]) for line in lines if line.split()[0].isdigit()}
else:
    known = {name: number for number, name in enumerate(json.loads(about["classes"]))}
files = pictures(arguments.data)
labels = numpy.array([known[file.parent.name] for file in files])
images = numpy.stack([seen(file) for file in files])

with tempfile.TemporaryDirectory() as folder:
    folder = pathlib.Path(folder)
    quant_pre_process(arguments.f32, str(folder / "ready.onnx"), skip_symbolic_shape=True)
    quantize_static(
        str(folder / "ready.onnx"), str(folder / "theirs.onnx"), Batches(pictures(arguments.calibrate)),
        quant_format=QuantFormat.QDQ, activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
    )
    paths = {"f32": arguments.f32, "ours": arguments.ours, "onnxruntime": folder / "theirs.onnx"}
    sessions = {name: session(path) for name, path in paths.items()}
    sizes = {name: pathlib.Path(path).stat().st_size for name, path in paths.items()}

logits = {}
for name, run in sessions.items():
    parts = [run.run(None, {"images": images[i:i + 32]})[0] for i in range(0, len(images), 32)]
    logits[name] = numpy.concatenate(parts)
batch = images[numpy.arange(arguments.batch) % len(images)]
rates = {name: [] for name in sessions}
for _ in range(2):
    for name, run in sessions.items():
        for _ in range(3):
            run.run(None, {"images": batch})
        seconds = []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            run.run(None, {"images": batch})
            seconds.append(time.perf_counter() - start)
        rates[name].append(round(arguments.batch / statistics.median(seconds), 1))
expected = logits["f32"]
for name, found in logits.items():
    top = found.argmax(1)
    print(json.dumps({
        "file": name, "images": len(files), "top1": round(float((top == labels).mean()), 4),
        "same": round(float((top == expected.argmax(1)).mean()), 4),
        "relative_error": round(float(numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected)), 4),
        "megabytes": round(sizes[name] / 1e6, 1), "img_per_s": rates[name],
    }), flush=True)

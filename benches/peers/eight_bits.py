#!/usr/bin/env python3
"""Images per second of the eight bits that PyTorch and onnxruntime offer themselves, beside their f32.

needs: pip install torch torchvision onnx onnxruntime
use:   eight_bits.py [--arch resnet18 resnet50] [--batch 32 4] [--threads 2] [--repeats 10]

Engines: torch-f32 (channels last), torch-int8 (torchvision's quantisable ResNet, torch.ao, engine x86, ranges measured
on the batch), onnxruntime-f32 and onnxruntime-int8 (static QDQ, bytes by signed bytes a channel, ranges measured on the
batch). Weights and images are random. Each engine in turn, twice; one JSON object a line: the median of --repeats
passes after three to warm up, and the cosine of the int8 logits to those in f32.
"""
import argparse, json, pathlib, statistics, tempfile, time, warnings

import numpy, onnxruntime, torch, torchvision
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torchvision.models import quantization

warnings.filterwarnings("ignore")
parser = argparse.ArgumentParser()
parser.add_argument("--arch", nargs="+", default=["resnet18", "resnet50"])
parser.add_argument("--batch", nargs="+", type=int, default=[32, 4])
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--repeats", type=int, default=10)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)
torch.manual_seed(0)


def torch_engines(arch, net, images):
    channels_last = net.to(memory_format=torch.channels_last)
    images = images.contiguous(memory_format=torch.channels_last)
    torch.backends.quantized.engine = "x86"
    fused = getattr(quantization, arch)(weights=None, quantize=False)
    fused.load_state_dict(net.state_dict(), strict=False)
    fused.eval()
    fused.fuse_model(is_qat=False)
    fused.qconfig = torch.ao.quantization.get_default_qconfig("x86")
    prepared = torch.ao.quantization.prepare(fused)
    with torch.inference_mode():
        prepared(images)
    bytes_net = torch.ao.quantization.convert(prepared)
    return {"torch-f32": lambda: channels_last(images).numpy(), "torch-int8": lambda: bytes_net(images).numpy()}


class Once(CalibrationDataReader):
    def __init__(self, images):
        self.batches = iter([{"images": images}])

    def get_next(self):
        return next(self.batches, None)


def onnxruntime_engines(net, images, folder):
    path = folder / "f32.onnx"
    torch.onnx.export(net, (images,), str(path), dynamo=False, input_names=["images"])
    quant_pre_process(str(path), str(folder / "ready.onnx"))
    values = images.numpy()
    quantize_static(
        str(folder / "ready.onnx"), str(folder / "int8.onnx"), Once(values), quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, per_channel=True,
    )
    engines = {}
    for kind in ["f32", "int8"]:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = arguments.threads
        session = onnxruntime.InferenceSession(str(folder / f"{kind}.onnx"), options, providers=["CPUExecutionProvider"])
        engines[f"onnxruntime-{kind}"] = lambda session=session: session.run(None, {"images": values})[0]
    return engines


def images_a_second(step, batch):
    with torch.inference_mode():
        for _ in range(3):
            step()
        seconds = []
        for _ in range(arguments.repeats):
            start = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - start)
    return batch / statistics.median(seconds)


for arch in arguments.arch:
    net = torchvision.models.get_model(arch, weights=None).eval()
    for batch in arguments.batch:
        images = torch.randn(batch, 3, 224, 224)
        with tempfile.TemporaryDirectory() as folder:
            engines = torch_engines(arch, net, images) | onnxruntime_engines(net, images, pathlib.Path(folder))
            with torch.inference_mode():
                logits = {name: step().ravel() for name, step in engines.items()}
            rates = {name: [] for name in engines}
            for _ in range(2):
                for name, step in engines.items():
                    rates[name].append(round(images_a_second(step, batch), 1))
        for name, measured in rates.items():
            expected, found = logits["torch-f32"], logits[name]
            cosine = float(expected @ found / numpy.linalg.norm(expected) / numpy.linalg.norm(found))
            line = {"engine": name, "arch": arch, "batch": batch, "img_per_s": measured, "cosine": round(cosine, 4)}
            print(json.dumps(line), flush=True)

"""Graphs as other programs hand them on: of half precision, optimised, quantized, in old operator sets. exports.py puts them into its archive."""
import copy, pathlib, tempfile

import numpy, onnx, onnxruntime, torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers import optimizer
from onnxruntime.transformers.fusion_options import FusionOptions
import formula

onnxruntime.set_default_logger_severity(3)


class Images(CalibrationDataReader):
    def __init__(self, side): self.left = iter([{"images": formula.images(1, side, side) * scale} for scale in (1, 0.7, 1.2)])
    def get_next(self): return next(self.left, None)


def optimised(path, level):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level, options.optimized_model_filepath = level, str(path.with_suffix(".optimised"))
    onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return onnx.load(options.optimized_model_filepath)


def fused(path, approximate=False):
    options = FusionOptions("vit"); options.enable_gelu_approximation = approximate
    return optimizer.optimize_model(str(path), "vit", num_heads=2, hidden_size=32, optimization_options=options, opt_level=0).model


def quantized(path, how, **settings):
    to = path.with_suffix(".quantized")
    how(str(path), str(to), **settings)
    return onnx.load(to)


def meant(base, model):
    """The graph in f32 with the weights that a file's halves or bytes stand for."""
    base = copy.deepcopy(base)
    held = {tensor.name: tensor for tensor in model.graph.initializer}
    values = {name: numpy_helper.to_array(tensor) for name, tensor in held.items() if tensor.data_type != TensorProto.BFLOAT16}
    bias = {}
    for node in model.graph.node:
        if node.op_type == "QLinearConv" and len(node.input) > 8: bias[node.input[8]] = values[node.input[1]] * values[node.input[4]]
        if node.op_type == "QGemm" and node.input[6]: bias[node.input[6]] = values[node.input[1]] * values[node.input[4]]
    for tensor in base.graph.initializer:
        dims = list(tensor.dims)
        if tensor.name in held and held[tensor.name].data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16):
            own = numpy_helper.to_array(held[tensor.name]).astype(numpy.float32)
            tensor.CopyFrom(numpy_helper.from_array(own.reshape(dims), tensor.name))
        for name, turned in (tensor.name + "_quantized", False), (tensor.name + "_Transposed_quantized", True):
            if name not in values: continue
            whole = values[name].astype(numpy.int64)
            if name in bias: real = whole * bias[name].astype(numpy.float64)
            else:
                scale, zero = (values[name.replace("_quantized", end)] for end in ("_scale", "_zero_point"))
                if scale.size > 1: scale, zero = scale.reshape(1, -1), zero.reshape(1, -1)   # of a matrix's columns
                real = (whole - zero.astype(numpy.int64)) * scale
            real = real.T if turned else real
            tensor.CopyFrom(numpy_helper.from_array(real.astype(numpy.float32).reshape(dims), tensor.name))
    return base


def attention():
    """A transformer whose attention is one node of onnxruntime, in both of its forms."""
    r = numpy.random.RandomState(3); f = lambda *s: (r.randn(*s) * 0.2).astype(numpy.float32)
    n = lambda *given, **settings: helper.make_node(*given, **settings)
    ours = dict(domain="com.microsoft")
    weights = {"patch.weight": f(16, 3, 8, 8), "patch.bias": f(16), "shape": numpy.array([0, 16, -1]), "class": f(1, 1, 16), "positions": f(1, 17, 16), "zero": numpy.int64(0),
               "norm1.weight": 1 + f(16), "norm1.bias": f(16), "qkv.weight": f(16, 48), "qkv.bias": f(48), "proj.weight": f(16, 16), "proj.bias": f(16), "norm2.weight": 1 + f(16), "norm2.bias": f(16),
               **{f"{side}.weight": f(16, 16) for side in "qkv"}, "three.bias": f(48), "out.weight": f(16, 16), "norm3.weight": 1 + f(16), "norm3.bias": f(16), "wide.weight": f(24, 16), "wide.bias": f(24), "head.weight": f(24, 5), "head.bias": f(5)}
    nodes = [n("Conv", ["images", "patch.weight", "patch.bias"], ["p0"], strides=[8, 8]), n("Reshape", ["p0", "shape"], ["p1"]), n("Transpose", ["p1"], ["p2"], perm=[0, 2, 1]),
             n("Concat", ["class", "p2"], ["p3"], axis=1), n("Add", ["p3", "positions"], ["x"]), n("LayerNormalization", ["x", "norm1.weight", "norm1.bias"], ["a0"]),
             n("Attention", ["a0", "qkv.weight", "qkv.bias"], ["a1"], num_heads=2, **ours), n("MatMul", ["a1", "proj.weight"], ["a2"]),
             n("SkipLayerNormalization", ["a2", "x", "norm2.weight", "norm2.bias", "proj.bias"], ["b0", "", "", "y"], epsilon=1e-5, **ours),
             *[n("MatMul", ["b0", f"{side}.weight"], [side]) for side in "qkv"], n("MultiHeadAttention", [*"qkv", "three.bias"], ["b1"], num_heads=4, **ours), n("MatMul", ["b1", "out.weight"], ["b2"]),
             n("SkipLayerNormalization", ["y", "b2", "norm3.weight", "norm3.bias"], ["c0"], epsilon=1e-5, **ours), n("Gather", ["c0", "zero"], ["c1"], axis=1),
             n("FusedGemm", ["c1", "wide.weight", "wide.bias"], ["c2"], activation="Relu", alpha=0.5, beta=2.0, transB=1, **ours),
             n("Gemm", ["c2", "head.weight", "head.bias"], ["logits"])]
    graph = helper.make_graph(nodes, "attention", [helper.make_tensor_value_info("images", 1, [1, 3, 32, 32])], [helper.make_tensor_value_info("logits", 1, [1, 5])],
                              [numpy_helper.from_array(numpy.asarray(v), k) for k, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=9)


def variants(nets, export):
    """Yields names, graphs, sides of images, whether batches are free, and the f32 graphs that are meant by halves and bytes."""
    from onnxconverter_common import float16
    levels = onnxruntime.GraphOptimizationLevel
    with tempfile.TemporaryDirectory() as folder:
        for name, (net, side) in nets.items():
            path = pathlib.Path(folder, name + ".onnx"); images = torch.randn(1, 3, side, side)
            export(net, images, "script", path); base = onnx.load(path)
            dynamic = lambda **settings: quantized(path, quantize_dynamic, **settings)
            if name in ("vit_timm", "mobilenet_v3"): yield f"{name}.half", float16.convert_float_to_float16(onnx.load(path), keep_io_types=True), side, True, base
            if name == "vit_timm":
                yield f"{name}.optimum", fused(path), side, True, None
                yield f"{name}.fast_gelu", fused(path, approximate=True), side, True, None
                yield f"{name}.dynamic", dynamic(weight_type=QuantType.QUInt8, per_channel=True), side, True, base
                for form, symmetric in ("bits", True), ("bits_asymmetric", False):
                    bits = MatMulNBitsQuantizer(onnx.load(path), block_size=16, is_symmetric=symmetric); bits.process()
                    yield f"{name}.{form}", bits.model.model, side, True, None
                torch.onnx.export(net, (images,), str(path), opset_version=23, dynamo=True, input_names=["images"], output_names=["logits"], external_data=False, verbose=False)
                yield f"{name}.set_23", onnx.load(path), side, False, None
            if name == "clip": yield f"{name}.extended", optimised(path, levels.ORT_ENABLE_EXTENDED), side, True, None
            if name == "mobilenet_v3":
                yield f"{name}.extended", optimised(path, levels.ORT_ENABLE_EXTENDED), side, True, None
                yield f"{name}.dynamic", dynamic(weight_type=QuantType.QInt8), side, True, base
                yield f"{name}.rounded", quantized(path, quantize_static, calibration_data_reader=Images(side), quant_format=QuantFormat.QOperator), side, True, base
                torch.onnx.export(net, (images,), str(path), opset_version=9, dynamo=False, input_names=["images"], output_names=["logits"], keep_initializers_as_inputs=True)
                yield f"{name}.set_9", onnx.load(path), side, False, None
            if name == "resnet":
                halves = copy.deepcopy(net).eval().to(torch.bfloat16)
                torch.onnx.export(halves, (images.bfloat16(),), str(path), opset_version=18, dynamo=True, input_names=["images"], output_names=["logits"], external_data=False, verbose=False)
                brains = onnx.load(path)
                export(net, images, "dynamo", path)
                yield f"{name}.bfloat16", brains, side, False, onnx.load(path)
                torch.onnx.export(net, (images,), str(path), opset_version=7, dynamo=False, input_names=["images"], output_names=["logits"], keep_initializers_as_inputs=True)
                yield f"{name}.set_7", onnx.load(path), side, False, None
        yield "attention.nodes", attention(), 32, False, None

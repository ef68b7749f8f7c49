#!/usr/bin/env python3
"""Graphs that other programs exported, without their weights, and onnxruntime's answers for weights by the formula.

needs: pip install -r requirements.txt
use:   exports.py               (writes exports.zip into its own folder)
       exports.py FOLDER [NAME ..]   (the published sizes, with random weights, as FOLDER/NAME.onnx, .x and .y)

exports.zip   NAME.KIND.onnx without the numbers of large weights: initialiser number t (from 0) of the graph is
              formula.uniform(t) times sqrt(3 / fan-in), or 0.6 + 0.4 of it for those of one dimension, rounded where they
              are halves; bytes are floor(128 u), and 128 more without a sign. Scales and zero points are whole.
              answers.json: for each the images' height and width, whether channels come last, and the outputs for
              formula.images(2), one behind the other, where the batch is free, else for formula.images(1).
              steps.json and steps/NAME.onnx, whole: losses of three steps of SGD in PyTorch, without momentum.
"""
import contextlib, io, json, logging, pathlib, sys, tempfile, warnings, zipfile
warnings.filterwarnings("ignore"); logging.disable(logging.WARNING)
import ml_dtypes, numpy, onnx, onnxruntime, timm, torch, torchvision
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torchvision.models import densenet, efficientnet, mobilenetv3, regnet, resnet, shufflenetv2, vision_transformer
import formula, handed_over

HERE = pathlib.Path(__file__).parent
torch.set_num_threads(2)
SCRATCH = tempfile.TemporaryDirectory()


def small():
    """Every family with few blocks."""
    tv, tm = torchvision.models, lambda name, **sizes: timm.create_model(name, num_classes=5, **sizes)
    half = lambda c: c // 2
    yield "resnet", resnet.ResNet(resnet.BasicBlock, [1, 1, 1, 1], num_classes=5), 64
    yield "resnext", resnet.ResNet(resnet.Bottleneck, [1, 1, 1, 1], num_classes=5, groups=32, width_per_group=4), 64
    yield "mobilenet_v2", tv.MobileNetV2(num_classes=5, inverted_residual_setting=[[1, 16, 1, 1], [6, 24, 2, 2]]), 64
    setting = [mobilenetv3.InvertedResidualConfig(16, 3, 16, 16, True, "RE", 2, 1, 1.0), mobilenetv3.InvertedResidualConfig(16, 5, 64, 16, True, "HS", 1, 1, 1.0)]
    yield "mobilenet_v3", tv.MobileNetV3(setting, last_channel=64, num_classes=5), 64
    yield "mobilenetv4", tm("mobilenetv4_conv_small"), 64
    yield "efficientnet", tv.EfficientNet([efficientnet.MBConvConfig(4, 3, 2, 16, 16, 2)], dropout=0.2, num_classes=5, last_channel=64), 64
    yield "efficientnet_v2", tv.EfficientNet([efficientnet.FusedMBConvConfig(4, 3, 2, 16, 16, 2)], dropout=0.2, num_classes=5, last_channel=64), 64
    yield "tf_efficientnet_lite", tm("tf_efficientnet_lite0"), 65
    yield "regnet", tv.RegNet(regnet.BlockParams.from_init_params(depth=5, w_0=16, w_a=16, w_m=2, group_width=8, se_ratio=0.25), num_classes=5), 64
    yield "densenet", densenet.DenseNet(8, (2, 2), 16, num_classes=5), 64
    yield "shufflenet_v2", shufflenetv2.ShuffleNetV2([2, 2, 2], [24, 48, 96, 192, 64], num_classes=5), 64
    yield "convnext", tv.ConvNeXt([torchvision.models.convnext.CNBlockConfig(16, 32, 2), torchvision.models.convnext.CNBlockConfig(32, None, 1)], num_classes=5), 64
    yield "convnext_timm", tm("convnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), 64
    yield "convnextv2", tm("convnextv2_atto", depths=(1, 1, 1, 1), dims=(8, 16, 24, 32)), 64
    yield "vit", tv.VisionTransformer(32, 8, 2, 2, 32, 64, num_classes=5), 32
    sizes = dict(embed_dim=32, depth=2, num_heads=2)
    yield "vit_timm", tm("vit_tiny_patch16_224", img_size=64, **sizes), 64
    yield "dinov2", timm.create_model("vit_small_patch14_dinov2", img_size=56, **sizes), 56
    yield "dinov2_reg4", timm.create_model("vit_small_patch14_reg4_dinov2", img_size=56, **sizes), 56
    narrow = dict(sizes, img_size=64)
    yield "vit_gap", tm("vit_tiny_patch16_224", class_token=False, global_pool="avg", **narrow), 64
    yield "vit_reg4_gap", tm("vit_little_patch16_reg4_gap_256", **narrow), 64
    yield "vit_mean", tm("vit_tiny_patch16_224", global_pool="avg", **narrow), 64
    few = dict(layers=(1, 1, 1, 1))
    yield "googlenet", tv.GoogLeNet(num_classes=5, aux_logits=False, init_weights=False), 64
    yield "senet", tm("legacy_seresnet18", **few), 64
    yield "hgnetv2", tm("hgnetv2_b0"), 64
    yield "poolformer", timm.models.metaformer.MetaFormer(depths=(1, 1, 1, 1), dims=(8, 16, 24, 32), num_classes=5, downsample_norm=None, norm_layers=timm.layers.GroupNorm1, mlp_act=nn.GELU, use_mlp_head=False), 64
    yield "bit", timm.models.resnetv2.ResNetV2((1, 1, 1, 1), (128, 128, 128, 128), num_classes=5, stem_chs=32, stem_type="fixed"), 64
    yield "nf_resnet", timm.models.nfnet.NormFreeNet(timm.models.nfnet.NfCfg(depths=(1, 1, 1, 1), channels=(32, 64, 96, 128), stem_type="7x7_pool", stem_chs=16, act_layer="relu"), num_classes=5), 64
    yield "fastvit", tm("fastvit_t8", **few), 64
    yield "starnet", tm("starnet_s1", base_dim=8, depths=(1, 1, 1, 1)), 64
    leaky = lambda inputs, outputs, slope: [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.BatchNorm2d(outputs), nn.LeakyReLU(slope)]
    yield "leaky", nn.Sequential(*leaky(3, 16, 0.1), *leaky(16, 32, 0.01), nn.InstanceNorm2d(32, affine=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 5)), 64
    import transformers as hf
    common = dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=64, patch_size=16, num_labels=5)
    yield "hf_vit", hf.ViTForImageClassification(hf.ViTConfig(intermediate_size=64, **common)), 64
    yield "hf_dinov2_reg4", hf.Dinov2WithRegistersModel(hf.Dinov2WithRegistersConfig(mlp_ratio=2, num_register_tokens=4, **common)), 64
    yield "hf_dinov2", hf.Dinov2ForImageClassification(hf.Dinov2Config(mlp_ratio=2, **common)), 64
    yield "hf_ijepa", hf.IJepaForImageClassification(hf.IJepaConfig(intermediate_size=64, **common)), 64
    yield "hf_convnext", hf.ConvNextForImageClassification(hf.ConvNextConfig(hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1], num_labels=5)), 64
    yield "hf_resnet", hf.ResNetForImageClassification(hf.ResNetConfig(embedding_size=16, hidden_sizes=[16, 32], depths=[1, 1], num_labels=5)), 64
    yield "hf_mobilenet_v2", hf.MobileNetV2ForImageClassification(hf.MobileNetV2Config(depth_multiplier=0.35, num_labels=5)), 65


class Logits(torch.nn.Module):
    """Hugging Face's models give more than one tensor."""
    def __init__(self, net): super().__init__(); self.net = net
    def forward(self, x):
        out = self.net(x)
        if torch.is_tensor(out): return out
        return out.logits if hasattr(out, "logits") else out.image_embeds if hasattr(out, "image_embeds") else out.pooler_output


KINDS = {"script": dict(opset_version=17), "script_14": dict(opset_version=14, fixed=True), "unfolded": dict(opset_version=17, do_constant_folding=False, training=torch.onnx.TrainingMode.PRESERVE), "dynamo": dict(dynamo=True)}


# What has no batch normalisation is not unfolded, and layer normalisation is one node since operator set 17.
OF = {"mobilenetv4": ["dynamo"], "tf_efficientnet_lite": ["script_14"], "hf_mobilenet_v2": ["dynamo"], "hf_dinov2_reg4": ["dynamo"], "hf_dinov2": ["dynamo"], "hf_ijepa": ["dynamo"], "vit_gap": ["script", "dynamo"], "vit_reg4_gap": ["dynamo"], "vit_mean": ["script"], "hf_resnet": ["script"], "resnext": ["script"], "efficientnet_v2": ["dynamo"],
      **{name: ["script", "dynamo"] for name in ["convnext", "vit", "dinov2", "dinov2_reg4"]}, "convnext_timm": ["script"], "hf_vit": ["script_14", "dynamo"], "hf_convnext": ["script"],
      "googlenet": ["script"], "senet": ["script"], "hgnetv2": ["dynamo"], "poolformer": ["script", "dynamo"], "bit": ["script"], "nf_resnet": ["script"], "fastvit": ["script", "dynamo"], "starnet": ["script"], "leaky": ["script", "dynamo"],
      **{name: ["script", "script_14", "dynamo"] for name in ["vit_timm", "convnextv2"]}}


def export(net, images, kind, path):
    settings = dict(KINDS[kind]); fixed = settings.pop("fixed", False)
    names = dict(input_names=["images"], output_names=["logits"])
    if settings.get("dynamo"):
        settings |= dict(external_data=False, verbose=False)
        if not isinstance(net, torchvision.models.VisionTransformer): settings |= dict(dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    else:
        settings |= dict(dynamo=False)
        if not fixed: settings |= dict(dynamic_axes={"images": {0: "batch"}, "logits": {0: "batch"}})
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        torch.onnx.export(net.eval(), (images,), str(path), **names, **settings)


def channels_last():
    """A network as tf2onnx and Keras write one: channels last, "same" padding, normalisation folded, a softmax."""
    r = numpy.random.RandomState(0); f = lambda *s: (r.randn(*s) * 0.2).astype(numpy.float32)
    weights = {"stem/kernel": f(8, 3, 3, 3), "stem/scale": 1 + f(1, 8, 1, 1), "stem/shift": f(1, 8, 1, 1), "depth/kernel": f(8, 1, 3, 3), "depth/bias": f(8), "point/kernel": f(16, 8, 1, 1),
               "zero": numpy.float32(0), "six": numpy.float32(6), "dense/kernel": f(16, 5), "dense/bias": f(5), "pads": numpy.array([0, 0, 1, 1, 0, 0, 1, 1]), "axes": numpy.array([1, 2])}
    n = helper.make_node
    nodes = [n("Transpose", ["images"], ["t0"], perm=[0, 3, 1, 2]), n("Conv", ["t0", "stem/kernel"], ["t1"], "stem/Conv2D", auto_pad="SAME_UPPER", strides=[2, 2], kernel_shape=[3, 3]),
             n("Mul", ["t1", "stem/scale"], ["t2"]), n("Add", ["t2", "stem/shift"], ["t3"]), n("Clip", ["t3", "zero", "six"], ["t4"]),
             n("Pad", ["t4", "pads", "zero"], ["t5"]), n("Conv", ["t5", "depth/kernel", "depth/bias"], ["t6"], "depth/DepthwiseConv2dNative", group=8, kernel_shape=[3, 3]),
             n("Sigmoid", ["t6"], ["t7"]), n("Mul", ["t7", "t6"], ["t8"]), n("Conv", ["t8", "point/kernel"], ["t9"], "point/Conv2D", kernel_shape=[1, 1], auto_pad="VALID"),
             n("LeakyRelu", ["t9"], ["t10"], alpha=0.0), n("Transpose", ["t10"], ["t11"], perm=[0, 2, 3, 1]), n("ReduceMean", ["t11", "axes"], ["t12"], keepdims=0),
             n("MatMul", ["t12", "dense/kernel"], ["t13"]), n("Add", ["t13", "dense/bias"], ["t14"]), n("Softmax", ["t14"], ["logits"])]
    graph = helper.make_graph(nodes, "tf2onnx", [helper.make_tensor_value_info("images", 1, ["unk__1", 33, 34, 3])], [helper.make_tensor_value_info("logits", 1, ["unk__1", 5])],
                              [numpy_helper.from_array(numpy.asarray(v), k) for k, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tf2onnx")


def zeros_around():
    """Zeros around what is pooled, as Keras' ResNets and "same" poolings have them, behind a layer that scales bytes."""
    r = numpy.random.RandomState(1); f = lambda *s: (r.randn(*s) * 0.2).astype(numpy.float32)
    around = lambda count: numpy.array([0, 0, count, count, 0, 0, count, count])
    weights = {"scale": numpy.float32(1 / 127.5), "offset": numpy.float32(-1), "last": numpy.array([0, 3, 3, 0, 0, 3, 3, 0]), "one": around(1), "zero": numpy.float32(0), "stem/kernel": f(8, 3, 7, 7), "stem/bias": f(8),
               "dense/kernel": f(8, 5), "dense/bias": f(5)}
    n = helper.make_node
    nodes = [n("Transpose", ["images"], ["t0"], perm=[0, 3, 1, 2]), n("Mul", ["t0", "scale"], ["t1"]), n("Add", ["t1", "offset"], ["t2"]), n("Transpose", ["t2"], ["u2"], perm=[0, 2, 3, 1]), n("Pad", ["u2", "last", "zero"], ["u3"]),
             n("Transpose", ["u3"], ["t3"], perm=[0, 3, 1, 2]), n("Conv", ["t3", "stem/kernel", "stem/bias"], ["t4"], "stem/Conv2D", strides=[2, 2], kernel_shape=[7, 7]), n("Pad", ["t4", "one", "zero"], ["t5"]),
             n("MaxPool", ["t5"], ["t6"], kernel_shape=[3, 3], strides=[2, 2]), n("Relu", ["t6"], ["t7"]), n("Pad", ["t7", "one", "zero"], ["t8"]),
             n("MaxPool", ["t8"], ["t9"], kernel_shape=[3, 3], strides=[1, 1]), n("MaxPool", ["t9"], ["t10"], kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER"),
             n("AveragePool", ["t10"], ["t11"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1), n("GlobalAveragePool", ["t11"], ["t12"]), n("Flatten", ["t12"], ["t13"]),
             n("MatMul", ["t13", "dense/kernel"], ["t14"]), n("Add", ["t14", "dense/bias"], ["t15"]), n("Softmax", ["t15"], ["logits"])]
    graph = helper.make_graph(nodes, "tf2onnx", [helper.make_tensor_value_info("images", 1, ["unk__1", 64, 48, 3])], [helper.make_tensor_value_info("logits", 1, ["unk__1", 5])],
                              [numpy_helper.from_array(numpy.asarray(v), k) for k, v in weights.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9, producer_name="tf2onnx")


FILLED = {TensorProto.FLOAT: numpy.float32, TensorProto.FLOAT16: numpy.float16, TensorProto.BFLOAT16: ml_dtypes.bfloat16, TensorProto.INT8: numpy.int8, TensorProto.UINT8: numpy.uint8}


def is_step(name):
    """Scales and zero points of a quantizer."""
    return name.endswith(("_scale", "_scales", "_zero_point", "_zero_points")) and not name.endswith("layer_scale")


def filled(model, strip):
    """Gives large weights the formula's numbers, or takes them away."""
    for t, tensor in enumerate(model.graph.initializer):
        count = int(numpy.prod(tensor.dims)) if tensor.dims else 1
        kind = FILLED.get(tensor.data_type)
        if kind is None or count <= 8 or is_step(tensor.name): continue
        dims = list(tensor.dims)
        if strip:
            for field in ("raw_data", "float_data", "int32_data"): tensor.ClearField(field)
            continue
        u = formula.uniform(t, count)
        fan_in = max(dims) if len(dims) == 2 else count / dims[0]
        values = 0.6 + 0.4 * u if len(dims) == 1 else u * numpy.sqrt(3 / fan_in)
        if kind in (numpy.int8, numpy.uint8): values = numpy.floor(u * 128) + (128 if kind is numpy.uint8 else 0)
        tensor.CopyFrom(numpy_helper.from_array(values.astype(numpy.float32).astype(kind).reshape(dims), tensor.name))
    if strip:
        kept = {tensor.name for tensor in model.graph.initializer} | {value.name for value in [*model.graph.input, *model.graph.output]}
        short = {name: f"v{at}" for at, name in enumerate(name for node in model.graph.node for name in node.output if name and name not in kept and node.op_type != "Identity")}
        for node in model.graph.node:
            for names in node.input, node.output: names[:] = [short.get(name, name) for name in names]
        for node in model.graph.node: del node.metadata_props[:]; node.ClearField("doc_string")
        del model.graph.value_info[:]; del model.metadata_props[:]; del model.graph.metadata_props[:]
        for tensor in model.graph.initializer: del tensor.metadata_props[:]; tensor.ClearField("doc_string")
    return model


def answer(model, images):
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: images})[0]


def zoo(out, wanted):
    names = ["torchvision/" + n for n in "resnet18 mobilenet_v2 mobilenet_v3_small efficientnet_b0 efficientnet_v2_s regnet_y_400mf densenet121 shufflenet_v2_x0_5 convnext_tiny vit_b_32".split()]
    names += ["timm/" + n for n in "tf_efficientnet_lite0 mobilenetv4_conv_small convnext_atto convnextv2_atto vit_tiny_patch16_224 deit_tiny_patch16_224 vit_small_patch14_dinov2 vit_small_patch14_reg4_dinov2".split()]
    for name in names:
        library, name = name.split("/"); torch.manual_seed(0)
        if wanted and name not in wanted: continue
        net = timm.create_model(name) if library == "timm" else getattr(torchvision.models, name)(weights=None)
        side = 518 if "dinov2" in name else 224
        with torch.no_grad():
            for key, p in net.named_parameters(): p.add_(torch.randn_like(p) * (0.05 if p.dim() == 1 or "head" in key else 0))
        images = torch.randn(1, 3, side, side)
        for kind in KINDS:
            path = out / f"{name}.{kind}.onnx"
            export(net, images, kind, path)
            images.numpy().tofile(path.with_suffix(".x")); answer(onnx.load(path), images.numpy()).tofile(path.with_suffix(".y")); print(path.name, flush=True)


def steps(archive):
    """Three steps of SGD on the exported network as it was before."""
    found = {}
    nets = {"resnet": (timm.models.resnet.ResNet(timm.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3, channels=(2, 2, 4, 4), stem_width=2), 64, "unfolded"),
            "vit": (timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=16, depth=1, num_heads=1, num_classes=3), 16, "script")}
    for name, (net, side, kind) in nets.items():
        torch.manual_seed(1)
        with torch.no_grad():
            for key, p in net.named_parameters(): p.add_(torch.randn_like(p) * 0.05)
        images = torch.from_numpy(formula.images(4, side, side)); labels = torch.tensor([0, 1, 2, 1])
        path = pathlib.Path(SCRATCH.name, f"{name}.onnx"); export(net, images[:1], kind, path); model = onnx.load(path)
        del model.graph.value_info[:], model.metadata_props[:]
        archive.writestr(f"steps/{name}.onnx", model.SerializeToString()); path.unlink()
        net.double().train(); optimizer = torch.optim.SGD(net.parameters(), lr=0.05); losses = []
        for _ in range(4):
            loss = torch.nn.functional.cross_entropy(net(images.double()), labels); losses.append(loss.item())
            optimizer.zero_grad(); loss.backward(); optimizer.step()
        found[name] = {"side": side, "labels": labels.tolist(), "rate": 0.05, "losses": losses}
    archive.writestr("steps.json", json.dumps(found))


def moved(net):
    """Moves all numbers a little: equal weights would be one in the file."""
    torch.manual_seed(0)
    with torch.no_grad():
        for p in net.parameters(): p.add_(torch.randn_like(p) * 0.01)
        for b in net.buffers(): b.add_(torch.rand_like(b) * 0.01) if b.is_floating_point() else None


def clip():
    import transformers as hf
    return hf.CLIPVisionModelWithProjection(hf.CLIPVisionConfig(hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16, projection_dim=24))


def main():
    if len(sys.argv) > 1:
        out = pathlib.Path(sys.argv[1]); out.mkdir(parents=True, exist_ok=True); return zoo(out, sys.argv[2:])
    answers = {}
    with zipfile.ZipFile(HERE / "exports.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        def add(name, model, side, free, last=False, meant=None):
            images = formula.images(2 if free else 1, *side)
            model = filled(model, strip=False)
            logits = answer(handed_over.meant(meant, model) if meant else model, images.transpose(0, 2, 3, 1) if last else images)
            answers[name] = {"side": side, "channels_last": last, "images": len(images), "logits": [float(f"{x:.8g}") for x in logits.ravel()]}
            archive.writestr(name + ".onnx", filled(model, strip=True).SerializeToString())
            print(name, logits.ravel()[:3], flush=True)
        for name, net, side in small():
            moved(net)
            is_hf = name.startswith("hf_")
            for kind in OF.get(name, ["script", "unfolded", "dynamo"]):
                path = pathlib.Path(SCRATCH.name, "export.onnx"); torchvision_vit = name == "vit"
                try: export(Logits(net) if is_hf else net, torch.randn(1, 3, side, side), kind, path)
                except Exception as error: print(name, kind, "not exported:", repr(error)[:160]); continue
                add(f"{name}.{kind}", onnx.load(path), [side, side], kind != "script_14" and not (torchvision_vit and kind == "dynamo"))
        add("channels_last.tf2onnx", channels_last(), [33, 34], True, last=True)
        add("zeros_around.tf2onnx", zeros_around(), [64, 48], True, last=True)
        chosen = {name: (net, side) for name, net, side in small() if name in ("vit_timm", "mobilenet_v3", "resnet")}
        chosen["clip"] = (Logits(clip()), 64)
        for net, _ in chosen.values(): moved(net)
        for name, model, side, free, meant in handed_over.variants(chosen, export): add(name, model, [side, side], free, meant=meant)
        archive.writestr("answers.json", json.dumps(answers, separators=(",", ":")))
        steps(archive)
    print(f"torch {torch.__version__}, timm {timm.__version__}, onnxruntime {onnxruntime.__version__}, {(HERE / 'exports.zip').stat().st_size} bytes")


main()

"""Makes families.json and families.safetensors: what torchvision and timm say of networks, for every clone to agree with.

Same layout and same formula as zoo.json's: see `fill` in formula.py and `tests/zoo.rs` in rekindle-models. Images are those of
formula.py, of 64 or 224 pixels. Everything is computed in f64 and stored in f32; `f32` says how far PyTorch's own f32 run is off.
"""
import json
import pathlib

import timm
import torch
import torchvision
from safetensors.torch import save_file

from formula import GAIN, fill, images

HERE = pathlib.Path(__file__).parent
NAMES = [
    "torchvision/densenet121",
    "torchvision/shufflenet_v2_x1_0",
    "timm/convnext_femto",
    "timm/convnextv2_atto",
    "timm/deit_tiny_patch16_224",
]


def backward(network, x):
    """Loss of one batch in training, labels 0 and 1, and norms of all gradients."""
    network.train().zero_grad(set_to_none=True)
    loss = torch.nn.functional.cross_entropy(network(x), torch.tensor([0, 1]))
    loss.backward()
    return loss.item(), {name: p.grad.norm().item() for name, p in network.named_parameters()}


def number(x):
    return torch.tensor([x], dtype=torch.float32)


out, info = {}, {}
for key in NAMES:
    source, name = key.split("/")
    side = 224 if "224" in name else 64
    x = torch.from_numpy(images(2, side, side))
    make = torchvision.models.get_model if source == "torchvision" else timm.create_model
    network = fill(make(name).double()).eval()
    seen = []
    head = [m for m in network.modules() if isinstance(m, torch.nn.Linear)][-1]
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        logits = network(x.double())
    hook.remove()
    out[key], out[f"{key}.features"] = logits.float(), seen[0].float()
    loss, norms = backward(network, x.double())
    out[f"{key}.train.loss"] = number(loss)
    for parameter, norm in norms.items():
        out[f"{key}.train.grad_norm.{parameter}"] = number(norm)
    for tensor, values in network.state_dict().items():
        if "running" in tensor:
            out[f"{key}.train.running.{tensor}"] = values.flatten()[:8].float().clone()
    with torch.no_grad():
        single = fill(network).float().eval()(x)
    f32 = {"logits": ((single - logits).norm() / logits.norm()).item()}
    loss32, norms32 = backward(fill(network.double()).float(), x)
    top = max(norms.values())
    off = sorted(abs(norms32[p] - norms[p]) / (norms[p] + 1e-3 * top) for p in norms)
    f32 |= {"loss": abs(loss32 - loss) / loss, "gradient_median": off[len(off) // 2], "gradient_worst": off[-1]}
    info[key] = {
        "input": side,
        "parameters": sum(p.numel() for p in network.parameters()),
        "state_dict": {tensor: list(values.shape) for tensor, values in network.state_dict().items()},
        "gain": GAIN,
        "f32": {measure: float(f"{error:.2g}") for measure, error in f32.items()},
    }
    print(key, info[key]["f32"])

by = f"torch {torch.__version__}, torchvision {torchvision.__version__}, timm {timm.__version__}"
save_file({name: tensor.contiguous() for name, tensor in out.items()}, HERE / "families.safetensors", {"by": by})
(HERE / "families.json").write_text(json.dumps(info, separators=(",", ":")))

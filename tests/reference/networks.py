#!/usr/bin/env python3
"""PyTorch's numbers for networks whose weights and images come from formula.py, computed in f64.

needs: pip install -r requirements.txt
use:   networks.py            (writes into its own folder)

architectures.json    torchvision's ten ResNets: parameter count, every key with its shape, every weights entry
logits.safetensors    NAME: logits [2, 1000] of each in full width, images [2, 3, 64, 64]
stages.safetensors    NAME.STAGE: each in narrow, image [1, 3, 40, 32]; NAME.features, NAME.logits
steps.safetensors     three steps of SGD of a narrow ResNet-18, see steps()
resnet18-*.pth        a narrow ResNet-18 as torch.save writes it today and did before
"""
import copy, json, pathlib
import torch, torchvision
from safetensors.torch import save_file
from torchvision.models import get_model, get_model_weights
from torchvision.models.resnet import ResNet
import formula

HERE = pathlib.Path(__file__).parent
NAMES = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152",
    "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
]
STAGES = ["layer1", "layer2", "layer3", "layer4"]


class Narrow(ResNet):
    """torchvision's own layers, with a stem of `width` channels in place of 64."""

    def __init__(self, name, width, classes):
        wide = get_model(name)
        block = type(wide.layer1[0])
        layers = [len(getattr(wide, stage)) for stage in STAGES]
        super().__init__(block, [1] * 4, num_classes=classes, groups=wide.groups, width_per_group=wide.base_width)
        self.inplanes = width
        self.conv1 = torch.nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = torch.nn.BatchNorm2d(width)
        for i, (stage, blocks) in enumerate(zip(STAGES, layers)):
            setattr(self, stage, self._make_layer(block, width << i, blocks, stride=1 if i == 0 else 2))
        self.fc = torch.nn.Linear((width << 3) * block.expansion, classes)


def by_formula(net):
    floats = [key for key, value in net.state_dict().items() if value.is_floating_point()]
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    values = {key: torch.from_numpy(formula.parameter(i, key, shapes[key])) for i, key in enumerate(floats)}
    net.load_state_dict(values, strict=False)
    return net


def narrow(name, classes=5):
    return by_formula(Narrow(name, 16 if "resnext" in name else 8, classes))


def save(name, tensors, what):
    tensors = {key: value.detach().to(torch.float32).contiguous() for key, value in tensors.items()}
    save_file(tensors, HERE / name, {"what": what, "by": f"torch {torch.__version__}, torchvision {torchvision.__version__}"})


def architectures():
    facts = {}
    for name in NAMES:
        net = get_model(name)
        entries = {}
        for entry in get_model_weights(name):
            transforms, meta = entry.transforms(), entry.meta
            entries[entry.name] = {
                "file": entry.url.rsplit("/", 1)[1],
                "top1": meta["_metrics"]["ImageNet-1K"]["acc@1"],
                "top5": meta["_metrics"]["ImageNet-1K"]["acc@5"],
                "resize": transforms.resize_size[0],
                "crop": transforms.crop_size[0],
                "interpolation": transforms.interpolation.value,
                "mean": transforms.mean,
                "std": transforms.std,
                "file_size_mb": meta["_file_size"],
            }
        facts[name] = {
            "parameters": sum(p.numel() for p in net.parameters()),
            "state_dict": {key: list(value.shape) for key, value in net.state_dict().items()},
            "weights": entries,
        }
    text = ",\n".join(f'"{name}":{json.dumps(fact, separators=(",", ":"))}' for name, fact in facts.items())
    (HERE / "architectures.json").write_text("{" + text + "}\n")


@torch.no_grad()
def logits():
    images = torch.from_numpy(formula.images(2, 64, 64)).double()
    found = {}
    for name in NAMES:
        net = by_formula(get_model(name))
        found[name] = copy.deepcopy(net).double().eval()(images)
        single = net.eval()(images.float()).double()
        print(name, "PyTorch in f32 deviates by", float((single - found[name]).norm() / found[name].norm()))
    save("logits.safetensors", found, "logits [2, 1000] in evaluation mode, images [2, 3, 64, 64]")


@torch.no_grad()
def stages():
    image = torch.from_numpy(formula.images(1, 40, 32)).double()
    found = {}
    for name in NAMES:
        net = narrow(name).double().eval()
        x = net.maxpool(net.relu(net.bn1(net.conv1(image))))
        found[f"{name}.stem"] = x
        for stage in STAGES:
            x = getattr(net, stage)(x)
            found[f"{name}.{stage}"] = x
        x = net.avgpool(x).flatten(1)
        found[f"{name}.features"] = x
        found[f"{name}.logits"] = net.fc(x)
    save("stages.safetensors", found, "activations [1, channels, height, width] of networks with a stem of 8 channels (16 with groups)")


def three_steps(tag, dtype):
    """Three steps of SGD (0.01, momentum 0.9, weight decay 1e-4) on three batches of four images, mean cross entropy.

    finetune: everything learns, batch normalisation by the batch; frozen_layer3: stem to layer3 frozen, their batch
    normalisation by running statistics; head: all but the classifier likewise.
    """
    net = by_formula(Narrow("resnet18", 4, 2)).to(dtype)
    start = copy.deepcopy(net.state_dict())
    frozen = {"finetune": [], "frozen_layer3": ["conv1", "bn1", *STAGES[:3]], "head": ["conv1", "bn1", *STAGES]}[tag]
    net.train()
    for name in frozen:
        part = getattr(net, name).eval()
        for parameter in part.parameters():
            parameter.requires_grad = False
    learns = [p for p in net.parameters() if p.requires_grad]
    sgd = torch.optim.SGD(learns, lr=0.01, momentum=0.9, weight_decay=1e-4)
    images = torch.from_numpy(formula.images(12, 64, 64)).to(dtype)
    targets = torch.arange(12) % 2
    found, losses = {}, []
    for step in range(3):
        batch = slice(step * 4, step * 4 + 4)
        sgd.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(images[batch]), targets[batch])
        loss.backward()
        losses.append(loss.detach())
        if step == 0:
            found |= {f"{tag}.grad.{n}": p.grad.clone() for n, p in net.named_parameters() if p.grad is not None}
        sgd.step()
    found[f"{tag}.losses"] = torch.stack(losses)
    for name, value in net.state_dict().items():
        if not value.is_floating_point():
            continue
        found[f"{tag}.moved.{name}"] = (value - start[name]).double().norm().reshape(1)
        if not torch.equal(value, start[name]):
            found[f"{tag}.after.{name}"] = value
    return found


def deviation(tag, found, expected):
    def worst(kind):
        errors = [
            (float((found[k].double() - v).norm() / v.norm()), k) for k, v in expected.items() if k.startswith(f"{tag}.{kind}")
        ]
        return max(errors)

    print(f"{tag}: PyTorch in f32 deviates, losses {worst('losses')}, gradients {worst('grad')}, after three steps {worst('after')}")


def steps():
    found = {}
    for tag in ["finetune", "frozen_layer3", "head"]:
        expected = three_steps(tag, torch.float64)
        deviation(tag, three_steps(tag, torch.float32), expected)
        found |= expected
    save("steps.safetensors", found, "ResNet-18 with a stem of 4 channels and 2 classes; TAG.losses, TAG.grad.NAME of the first step, TAG.after.NAME behind the third, TAG.moved.NAME: norm of the difference")


def checkpoints():
    net = by_formula(Narrow("resnet18", 2, 3))
    for name, zipped in [("resnet18-zip.pth", True), ("resnet18-legacy.pth", False)]:
        torch.save(net.state_dict(), HERE / name, _use_new_zipfile_serialization=zipped)


if __name__ == "__main__":
    torch.set_num_threads(2)
    for make in [architectures, logits, stages, steps, checkpoints]:
        make()

"""Makes the checkpoints beside it as training programs save them, with PyTorch itself, and expected.json with what the
networks inside answer in 64 bits. needs: pip install torch

One narrow ResNet in torchvision's code and names ([1, 1, 1, 1] blocks, 2 channels after the stem, 3 classes). Classes of
packages that need not be installed are stood in for: a pickle holds nothing of a class but its name.
"""
import collections
import copy
import json
import math
import pathlib
import sys
import types

import torch
from torch import nn

here = pathlib.Path(__file__).parent


class Block(nn.Module):
    def __init__(self, inputs, planes, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = None
        if stride != 1 or inputs != planes:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))

    def forward(self, x):
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + (x if self.downsample is None else self.downsample(x)))


class Net(nn.Module):
    def __init__(self, width=2, classes=3):
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(width, width, 1))
        self.layer2 = nn.Sequential(Block(width, 2 * width, 2))
        self.layer3 = nn.Sequential(Block(2 * width, 4 * width, 2))
        self.layer4 = nn.Sequential(Block(4 * width, 8 * width, 2))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8 * width, classes)

    def features(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.avgpool(self.layer4(self.layer3(self.layer2(self.layer1(x))))).flatten(1)


def network(seed):
    torch.manual_seed(seed)
    net = Net()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"): tensor.uniform_(0.5, 2.0)
            elif name.endswith("running_mean"): tensor.normal_(0, 0.3)
            elif name.endswith("num_batches_tracked"): tensor.fill_(100)
            elif tensor.dim() == 1: tensor.uniform_(0.2, 1.2)
    return net.eval()


def foreign(module, name, base=object):
    """A class of a package that need not be here."""
    parts = module.split(".")
    for length in range(1, len(parts) + 1):
        package = ".".join(parts[:length])
        sys.modules.setdefault(package, types.ModuleType(package))
    made = type(name, (base,), {"__module__": module, "__qualname__": name})
    setattr(sys.modules[module], name, made)
    return made


def under(prefix, state):
    return collections.OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def save(content, name, legacy=False):
    torch.save(content, here / name, _use_new_zipfile_serialization=not legacy)


net, other = network(1), network(2)
state, second = net.state_dict(), other.state_dict()
trunk = {name: tensor for name, tensor in state.items() if not name.startswith("fc.")}
trunk2 = {name: tensor for name, tensor in second.items() if not name.startswith("fc.")}
adam = torch.optim.Adam(net.parameters(), lr=1e-3)
sgd = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
images = torch.ones(2, 3, 32, 32)
copy_of_net = copy.deepcopy(net)
copy_of_net.fc(copy_of_net.features(images)).sum().backward()
tiny = torch.optim.Adam([nn.Parameter(torch.ones(2, 3))], lr=1e-3)
tiny.param_groups[0]["params"][0].grad = torch.ones(2, 3)
tiny.step()

# Lightning: weights of a loss, a metric's counter, an optimiser, OmegaConf with its cycle, a dictionary of a class of its
# own, a class, and a tensor inside of an object.
DictConfig = foreign("omegaconf.dictconfig", "DictConfig")
AttributeDict = foreign("pytorch_lightning.utilities.parsing", "AttributeDict", dict)
Meter = foreign("torchmetrics.meter", "Meter")
config, inner, meter = DictConfig(), DictConfig(), Meter()
inner.__dict__.update(_parent=config, _content={"width": 2})
config.__dict__.update(_parent=None, _content={"model": inner, "lr": 1e-3})
meter.total = torch.tensor(3.0)
lightning = under("model.", state)
lightning["criterion.weight"] = torch.tensor([1.0, 2.0, 3.0])
lightning["val_acc.tp"] = torch.tensor(12)
save({
    "epoch": 3, "global_step": 40, "pytorch-lightning_version": "2.4.0", "state_dict": lightning,
    "callbacks": {"ModelCheckpoint{'monitor': 'val_auc'}": {"best_model_score": torch.tensor(0.9)}},
    "optimizer_states": [tiny.state_dict()], "lr_schedulers": [],
    "hyper_parameters": AttributeDict(cfg=config, optimizer=torch.optim.Adam, meter=meter, counts=collections.defaultdict(int, a=1)),
}, "lightning.ckpt")
# A whole optimiser, whose momentum is in it, beside the model of DataParallel.
save({"epoch": 1, "model": under("module.", state), "optimizer": torch.optim.SGD(copy_of_net.fc.parameters(), lr=0.1)}, "optimizer-object.pth", legacy=True)
moco = {**under("module.encoder_q.", trunk), **under("module.encoder_k.", trunk2)}
moco.update({"module.encoder_q.fc.weight": torch.ones(4, 16), "module.encoder_q.fc.bias": torch.ones(4), "module.queue": torch.ones(4, 8), "module.queue_ptr": torch.zeros(1, dtype=torch.long)})
save({"epoch": 200, "arch": "resnet50", "state_dict": moco}, "moco.pth.tar", legacy=True)
save({"student": under("module.backbone.", trunk2), "teacher": under("backbone.", trunk), "epoch": 7}, "dino.pth", legacy=True)
save(under("backbone.", nn.Sequential(*list(net.children())[:-1]).state_dict()), "children.pth")
# One network under two attributes, whose numbers are there once.
both = nn.Module()
both.encoder, both.model = net, nn.ModuleList([net])
save(both.state_dict(), "twice.pth", legacy=True)
save(net, "module.pth", legacy=True)

x = torch.tensor([math.sin(0.37 * i) for i in range(3 * 64 * 64)], dtype=torch.float64).reshape(1, 3, 64, 64)
expected = {}
for name, chosen in [("first", net), ("second", other)]:
    chosen = copy.deepcopy(chosen).double()
    with torch.no_grad():
        features = chosen.features(x)
        expected[name] = {"features": features[0].tolist(), "logits": chosen.fc(features)[0].tolist()}
(here / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")

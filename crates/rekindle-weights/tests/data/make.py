"""Makes the `.pth` files beside it, as PyTorch itself writes them. needs: pip install torch

A net of one convolution and one batch norm, with weights counted up from zero:
  zip.pth, legacy.pth     its state dict in both containers
  half.pth                the same in f16 and bf16, under "state_dict", after DataParallel
  module.pth              the whole module, not only its state dict
  views.pth               a transposed view, a slice, and two names for one storage
  training.pth            state dict with optimizer, scheduler and arguments beside it
"""
import argparse
import collections
import pathlib

import torch
from torch import nn

here = pathlib.Path(__file__).parent

net = nn.Sequential(collections.OrderedDict(conv1=nn.Conv2d(3, 2, 1, bias=False), bn1=nn.BatchNorm2d(2)))
state = net.state_dict()
with torch.no_grad():
    for tensor in state.values():
        tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
state["bn1.num_batches_tracked"].fill_(7)

torch.save(state, here / "zip.pth")
torch.save(state, here / "legacy.pth", _use_new_zipfile_serialization=False)
types = {"conv1.weight": torch.float16, "bn1.weight": torch.bfloat16}
torch.save({"state_dict": {"module." + name: tensor.to(types.get(name, tensor.dtype)) for name, tensor in state.items()}}, here / "half.pth")
torch.save(net, here / "module.pth")
base = torch.arange(12.0)
torch.save({"transposed": base.reshape(3, 4).T, "slice": base[4:8], "one": base, "two": base}, here / "views.pth")
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
net(torch.ones(2, 3, 1, 1)).sum().backward()
optimizer.step()
with torch.no_grad():
    for tensor in state.values():
        tensor.copy_(torch.arange(tensor.numel()).reshape(tensor.shape))
state["bn1.num_batches_tracked"].fill_(7)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 7)
torch.save({"epoch": 3, "arch": "tiny", "model": state, "optimizer": optimizer.state_dict(), "lr_scheduler": scheduler.state_dict(), "args": argparse.Namespace(lr=0.1), "best_acc1": torch.tensor(0.5)}, here / "training.pth")

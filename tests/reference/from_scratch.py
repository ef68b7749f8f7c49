#!/usr/bin/env python3
"""A vision transformer that PyTorch trains from scratch, for tests/devices/src/from_scratch.rs.

needs: pip install -r requirements.txt
use:   REKINDLE_FROM_SCRATCH=FOLDER cargo test --release -p devices write_start -- --ignored
       from_scratch.py FOLDER        (writes from_scratch.json into its own folder)

Starts from the weights that rekindle drew, and shows timm's ViT-Ti/16 the same pictures in the same order: AdamW with
weight decay 0.05 at a constant rate of 5e-4, 25 passes over eight batches of one drawing of each class.
"""
import json, pathlib, sys
import numpy as np, timm, torch
from PIL import Image
from safetensors.torch import load_file

HERE, FOLDER = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[1])
PICTURES, STEPS, PRECISE, RATE = 8, 200, 20, 5e-4


def batches():
    classes = sorted((FOLDER / "pictures" / "train").iterdir())
    files = [sorted(folder.iterdir()) for folder in classes]
    assert all(len(of) == PICTURES for of in files)
    def picture(path):
        return torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1)
    return [torch.stack([picture(of[index]) for of in files]) / 127.5 - 1.0 for index in range(PICTURES)]


def learn(steps, dtype):
    train = batches()
    labels = torch.arange(len(train[0]))
    net = timm.create_model("vit_tiny_patch16_224", img_size=96, num_classes=len(labels))
    net.load_state_dict(load_file(FOLDER / "start.safetensors"))
    net = net.to(dtype).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=0.05)
    losses = []
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(net(train[step % PICTURES].to(dtype)), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


precise = learn(PRECISE, torch.float64)
losses = learn(STEPS, torch.float32)
by = f"torch {torch.__version__}, timm {timm.__version__}"
found = {"by": by, "losses_in_f64": precise, "losses": [round(loss, 6) for loss in losses]}
(HERE / "from_scratch.json").write_text(json.dumps(found, indent=1) + "\n")
print(by, losses[0], losses[-1])

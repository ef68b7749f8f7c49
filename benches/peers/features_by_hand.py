#!/usr/bin/env python3
"""Kept features by hand: what `ants_bees --strategy features` does, written with PyTorch and scikit-learn.

needs: pip install torch torchvision scikit-learn safetensors
use:   features_by_hand.py --data hymenoptera --weights resnet18.pth [--arch resnet18] [--threads 2]

Pooled features of a frozen network in evaluation mode (Resize 256, CenterCrop 224, batches of 32, channels last, two
loader processes), then logistic regression on them: C = 1 as they are, and on rows of length 1 with C by five-fold
cross-validation. Prints one JSON object: accuracies on val, and seconds from the start of Python to the first of them
and to both.
"""
import time

START = time.perf_counter()
import argparse, json

import numpy, torch, torchvision
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
from torchvision import transforms

parser = argparse.ArgumentParser()
parser.add_argument("--data", required=True)
parser.add_argument("--weights", required=True)
parser.add_argument("--arch", default="resnet18")
parser.add_argument("--threads", type=int, default=2)
arguments = parser.parse_args()
torch.set_num_threads(arguments.threads)

net = torchvision.models.get_model(arguments.arch, weights=None)
if arguments.weights.endswith(".safetensors"):
    from safetensors.torch import load_file

    state = {name: value.float() if value.is_floating_point() else value for name, value in load_file(arguments.weights).items()}
else:
    state = torch.load(arguments.weights, weights_only=True)
net.load_state_dict(state)
net.fc = torch.nn.Identity()
net = net.eval().to(memory_format=torch.channels_last)
look = transforms.Compose([
    transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor(),
    transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
])


def features(part):
    folder = torchvision.datasets.ImageFolder(f"{arguments.data}/{part}", look)
    rows, labels = [], []
    with torch.inference_mode():
        for images, classes in torch.utils.data.DataLoader(folder, 32, num_workers=2):
            rows.append(net(images.contiguous(memory_format=torch.channels_last)))
            labels.append(classes)
    return torch.cat(rows).numpy(), torch.cat(labels).numpy()


(x, y), (u, v) = features("train"), features("val")
plain = LogisticRegression(max_iter=1000).fit(x, y).score(u, v)
first = time.perf_counter() - START
unit = lambda rows: rows / numpy.linalg.norm(rows, axis=1, keepdims=True)
chosen = LogisticRegressionCV(Cs=[0.1, 1, 10, 100, 1000], cv=5, max_iter=3000).fit(unit(x), y).score(unit(u), v)
print(json.dumps({
    "arch": arguments.arch, "accuracy": round(float(plain), 4), "seconds": round(first, 1),
    "accuracy_cross_validated": round(float(chosen), 4), "seconds_both": round(time.perf_counter() - START, 1),
}))

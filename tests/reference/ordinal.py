"""Numbers for classes in an order, in ordinal.json: the loss and its gradients by torch, figures by scikit-learn.

    python ordinal.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

IMAGES, CLASSES = 24, 5

rng = np.random.default_rng(29)
# Rounded to what a 32-bit float holds.
logits = (2 * rng.normal(size=(IMAGES, CLASSES))).round(3).astype(np.float32).astype(float)
labels = rng.integers(0, CLASSES, IMAGES)
weights = np.tile([1.0, 0.0, 2.5], IMAGES // 3)


def loss(smoothing=0.0, weights=np.ones(IMAGES)):
    """Sum over the borders between classes of the squared difference of what lies below them."""
    z = torch.tensor(logits, requires_grad=True)
    p = torch.softmax(z, 1)
    truth = torch.nn.functional.one_hot(torch.tensor(labels), CLASSES).double()
    truth = (1 - smoothing) * truth + smoothing / CLASSES
    rows = sum((p[:, :k].sum(1) - truth[:, :k].sum(1)) ** 2 for k in range(1, CLASSES))
    w = torch.tensor(weights)
    value = (rows * w).sum() / w.sum()
    value.backward()
    return {"loss": value.item(), "gradient": z.grad.flatten().tolist()}


def figures(truth, answers):
    return {
        "truth": list(map(int, truth)),
        "answers": list(map(int, answers)),
        "mae": mean_absolute_error(truth, answers),
        "kappa": cohen_kappa_score(truth, answers, labels=range(CLASSES), weights="quadratic"),
        "within_one": float(np.mean(np.abs(np.subtract(truth, answers)) <= 1)),
    }


near = np.clip(labels + rng.integers(-1, 2, IMAGES), 0, CLASSES - 1)
known = {
    "classes": CLASSES,
    "logits": logits.flatten().tolist(),
    "labels": labels.tolist(),
    "weights": weights.tolist(),
    "plain": loss(),
    "smoothed": loss(smoothing=0.1),
    "weighed": loss(weights=weights),
    "figures": [
        figures(labels, logits.argmax(1)),
        figures(labels, near),
        figures(labels, CLASSES - 1 - labels),
        figures(labels, np.full(IMAGES, 2)),
        # Classes that are in neither.
        figures(labels % 2 * 4, near % 2 * 4),
    ],
}
path = Path(__file__).with_name("ordinal.json")
path.write_text(json.dumps(known, separators=(",", ":")) + "\n")

"""Numbers for several labels a picture, in multi_label.json: losses and their gradients by torch, scores and heads by scikit-learn.

    python multi_label.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, f1_score

IMAGES, LABELS, WIDTH = 24, 3, 5

rng = np.random.default_rng(11)
features = rng.normal(size=(IMAGES, WIDTH)).round(3)
truth = features @ rng.normal(size=(WIDTH, LABELS)) + rng.normal(size=(IMAGES, LABELS))
targets = (truth > [0.0, 0.8, -0.5]).astype(int)
# Rounded, so that some scores are equal.
logits = (truth + 0.8 * rng.normal(size=truth.shape)).round(1)


def asymmetric(z, y, negative=4.0, positive=1.0, margin=0.05):
    """Ridnik et al. 2021, equations 4 to 7."""
    p = torch.sigmoid(z)
    lowered = torch.clamp(p - margin, min=0)
    yes = (1 - p) ** positive * torch.log(p)
    no = lowered**negative * torch.log(1 - lowered)
    return -(y * yes + (1 - y) * no)


def losses(of):
    z = torch.tensor(logits, dtype=torch.float64, requires_grad=True)
    y = torch.tensor(targets, dtype=torch.float64)
    # The sum over a picture's labels, the mean over the pictures.
    loss = of(z, y).sum(1).mean()
    loss.backward()
    return {"loss": loss.item(), "gradient": z.grad.flatten().tolist()}


def binary(weights=None):
    weights = None if weights is None else torch.tensor(weights, dtype=torch.float64)
    return torch.nn.BCEWithLogitsLoss(reduction="none", pos_weight=weights)


positive_weights = [0.5, 3.0, 1.25]
probabilities = 1 / (1 + np.exp(-logits))
said = probabilities >= 0.5
heads = [LogisticRegression(C=0.7, tol=1e-10, max_iter=10000).fit(features, targets[:, label]) for label in range(LABELS)]


def threshold(scores, truths):
    """Halfway between the lowest score that is taken and the next one, where F1 is highest; the stricter of equal ones."""
    known = sorted(set(scores), reverse=True)
    found = [f1_score(truths, scores >= score, zero_division=0) for score in known]
    best = int(np.argmax(found))
    if found[best] == 0:
        return 0.5
    return (known[best] + (known[best + 1] if best + 1 < len(known) else 0)) / 2


def thresholds(count=60):
    """Thresholds of all samples, and F1 where each fifth is judged by what the others choose."""
    rng = np.random.default_rng(3)
    truth = rng.normal(size=(count, LABELS))
    targets = (truth > [0.2, 1.2, -0.3]).astype(int)
    shift = np.array([-1.5, -2.0, 1.0])
    scores = 1 / (1 + np.exp(-(truth + shift + rng.normal(size=truth.shape))))
    scores = scores.round(2).astype(np.float32).astype(float)
    said = np.zeros_like(targets)
    for fold in range(5):
        out = np.arange(count) % 5 == fold
        for label in range(LABELS):
            said[out, label] = scores[out, label] >= threshold(scores[~out, label], targets[~out, label])
    figures = {
        f"{average}_f1{name}": f1_score(targets, answers, average=average)
        for average in ["micro", "macro"]
        for name, answers in [("", said), ("_at_half", scores >= 0.5)]
    }
    return {
        "probabilities": scores.flatten().tolist(),
        "targets": targets.flatten().tolist(),
        "values": [threshold(scores[:, label], targets[:, label]) for label in range(LABELS)],
        **figures,
    }


numbers = {
    "features": features.flatten().tolist(),
    "targets": targets.flatten().tolist(),
    "logits": logits.flatten().tolist(),
    "positive_weights": positive_weights,
    "binary": losses(binary()),
    "balanced": losses(binary(positive_weights)),
    "asymmetric": losses(asymmetric),
    "average_precision": average_precision_score(targets, probabilities, average=None).tolist(),
    "micro_f1": f1_score(targets, said, average="micro"),
    "macro_f1": f1_score(targets, said, average="macro"),
    "thresholds": thresholds(),
    "c": 0.7,
    "weights": [head.coef_[0].tolist() for head in heads],
    "biases": [head.intercept_[0] for head in heads],
}
path = Path(__file__).with_name("multi_label.json")
path.write_text(json.dumps(numbers, separators=(",", ":")) + "\n")

"""Writes labels, groups and scikit-learn's StratifiedGroupKFold of them as Rust, for a test of rekindle-imagefolder."""

import sys

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

rng = np.random.default_rng(7)
sizes = rng.integers(1, 7, size=17)
groups = np.repeat(np.arange(17), sizes)
labels = np.where(rng.random(len(groups)) < 0.25, rng.integers(0, 3, len(groups)), groups % 3)
folds = np.zeros(len(groups), dtype=int)
splits = StratifiedGroupKFold(n_splits=3, shuffle=False).split(groups, labels, groups)
for fold, (_, held_out) in enumerate(splits):
    folds[held_out] = fold


def rust(values):
    return "[" + ", ".join(str(value) for value in values) + "]"


sys.stdout.write(f"(\n    {rust(labels)},\n    {rust(groups)},\n    {rust(folds)},\n)\n")

"""Attributes of animals as labels of pictures: makes the table, and measures scikit-learn's heads on the same features.

    python benches/attributes.py table PHOTOS AWA attributes.csv
    rekindle train PHOTOS --table attributes.csv --task multi-label --strategy one-call --weights W --out runs
    rekindle features PHOTOS --weights W --out features.safetensors
    python benches/attributes.py heads attributes.csv features.safetensors

PHOTOS has one folder for each class of Animals with Attributes, AWA its `classes.txt`, `predicates.txt` and
`predicate-matrix-binary.txt`. A picture's labels are the attributes of its class; three in ten of each class are held out.
"""

import csv
import json
import random
import sys
from pathlib import Path


def table(photos, awa, out):
    read = lambda name: [line.split()[-1] for line in (Path(awa) / name).read_text().splitlines() if line.strip()]
    classes, predicates = read("classes.txt"), read("predicates.txt")
    lines = (Path(awa) / "predicate-matrix-binary.txt").read_text().splitlines()
    matrix = [[int(value) for value in line.split()] for line in lines if line.strip()]
    rng = random.Random(0)
    with open(out, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["file", "label", "split"])
        for folder in sorted(path for path in Path(photos).iterdir() if path.name in classes):
            row = matrix[classes.index(folder.name)]
            labels = ";".join(name for name, has in zip(predicates, row) if has)
            files = sorted(folder.iterdir())
            held_out = set(rng.sample(range(len(files)), round(0.3 * len(files))))
            for at, path in enumerate(files):
                writer.writerow([path.relative_to(photos), labels, "val" if at in held_out else "train"])


def heads(table, features):
    import numpy as np
    from safetensors import safe_open
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import average_precision_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    with open(table) as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    with safe_open(features, "np") as file:
        paths, x = json.loads(file.metadata()["paths"]), file.get_tensor("features")
    rows = [rows[path] for path in paths]
    train = np.array([row["split"] == "train" for row in rows])
    names = sorted({name for row, own in zip(rows, train) if own for name in row["label"].split(";") if name})
    y = np.array([[name in row["label"].split(";") for name in names] for row in rows], dtype=int)

    def measured(name, model):
        # A label that all training pictures have, or none, is no question; those that no held-out picture has are of no mean.
        p = np.empty(y[~train].shape)
        for label in range(len(names)):
            of = y[train, label]
            p[:, label] = of[0] if of.min() == of.max() else model().fit(x[train], of).decision_function(x[~train])
        known = y[~train].any(0)
        print(f"{name}: mAP {average_precision_score(y[~train][:, known], p[:, known], average='macro'):.4f}")

    for c in [0.001, 0.01, 0.1, 1.0]:
        measured(f"standardised, C = {c}", lambda: make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=3000)))
    scale = np.linalg.norm(x[train], axis=1).mean()
    x /= scale
    for c in [10, 100, 1000]:
        measured(f"over the mean length, C = {c}", lambda: LogisticRegression(C=c, max_iter=3000))


if __name__ == "__main__":
    {"table": table, "heads": heads}[sys.argv[1]](*sys.argv[2:])

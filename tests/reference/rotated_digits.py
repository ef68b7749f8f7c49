"""One number a picture on real pictures: digits turned by a known angle, and what scikit-learn and PyTorch reach on them.

    python rotated_digits.py make MNIST DIGITS      writes DIGITS/angles.csv and 900 pictures of the idx files in MNIST
    python rotated_digits.py grades DIGITS          writes DIGITS/grades.csv of the same pictures: five grades of 18 degrees each
    python rotated_digits.py ridge DIGITS FEATURES  RidgeCV on the table that `rekindle features` wrote of them
    python rotated_digits.py finetune DIGITS WEIGHTS [SEED ..]   ResNet-18 from WEIGHTS, as `train --strategy finetune` does
"""

import csv
import gzip
import json
import sys
import time
from pathlib import Path

import numpy as np

TRAIN, VALID, REACH, SEED, GRADES = 600, 300, 45.0, 0, 5


def make(mnist, digits):
    """Turns digits of the test set by angles from -45 to 45 degrees, counter-clockwise."""
    from PIL import Image

    found = next(path for path in Path(mnist).iterdir() if "images" in path.name)
    pixels = np.frombuffer(gzip.decompress(found.read_bytes()), np.uint8)[16:].reshape(-1, 28, 28)
    rng = np.random.default_rng(SEED)
    chosen = rng.permutation(len(pixels))[: TRAIN + VALID]
    angles = rng.uniform(-REACH, REACH, TRAIN + VALID).round(2)
    digits = Path(digits)
    (digits / "pictures").mkdir(parents=True)
    with open(digits / "angles.csv", "w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "angle", "split"])
        for at, (index, angle) in enumerate(zip(chosen, angles)):
            # A border, so that corners don't leave the picture.
            picture = Image.fromarray(np.pad(pixels[index], 6)).rotate(angle, Image.Resampling.BICUBIC)
            name = f"pictures/{at:03}.png"
            picture.convert("RGB").save(digits / name)
            rows.writerow([name, angle, "train" if at < TRAIN else "val"])


def table(digits):
    """Files, angles and parts."""
    with open(Path(digits) / "angles.csv") as rows:
        rows = list(csv.DictReader(rows))
    return [row["file"] for row in rows], np.array([float(row["angle"]) for row in rows]), [row["split"] for row in rows]


def grades(digits):
    """Angles as grades from 0 to 4."""
    files, angles, parts = table(digits)
    with open(Path(digits) / "grades.csv", "w", newline="") as found:
        rows = csv.writer(found)
        rows.writerow(["file", "label", "split"])
        for file, angle, part in zip(files, angles, parts):
            rows.writerow([file, min(int((angle + REACH) // (2 * REACH / GRADES)), GRADES - 1), part])


def figures(numbers, answers):
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    return (
        f"MAE {mean_absolute_error(numbers, answers):.4f}, RMSE {root_mean_squared_error(numbers, answers):.4f}, "
        f"R2 {r2_score(numbers, answers):.4f}"
    )


def ridge(digits, features):
    from safetensors import safe_open
    from sklearn.linear_model import RidgeCV

    with safe_open(features, "np") as file:
        rows, paths = file.get_tensor("features").astype(float), json.loads(file.metadata()["paths"])
    files, angles, parts = table(digits)
    angle, part = dict(zip(files, angles)), dict(zip(files, parts))
    y = np.array([angle[path] for path in paths])
    is_train = np.array([part[path] == "train" for path in paths])
    x = rows[is_train]
    squares = ((x - x.mean(0)) ** 2).sum()
    for name, alphas in [("rekindle's penalties", squares * 10 ** (np.arange(-12, 3) / 2)), ("1e-3 to 1e5", np.logspace(-3, 5, 33))]:
        model = RidgeCV(alphas=alphas).fit(x, y[is_train])
        print(f"RidgeCV, {name}: alpha {model.alpha_:.6g}, {figures(y[~is_train], model.predict(rows[~is_train]))}")


def finetune(digits, weights, *seeds):
    import torch
    import torchvision
    from PIL import Image
    from torchvision.transforms import v2

    files, angles, parts = table(digits)
    is_train = np.array([part == "train" for part in parts])
    see = v2.Compose(
        [
            v2.Resize(128, antialias=True),
            v2.CenterCrop(112),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )
    images = torch.stack([see(Image.open(Path(digits) / file).convert("RGB")) for file in files])
    mean, deviation = angles[is_train].mean(), angles[is_train].std()
    x, y = images[is_train], torch.tensor((angles[is_train] - mean) / deviation, dtype=torch.float32)
    for seed in map(int, seeds or ("0",)):
        torch.manual_seed(seed)
        model = torchvision.models.resnet18()
        model.load_state_dict(torch.load(weights, weights_only=True))
        model.fc = torch.nn.Linear(512, 1)
        head = list(model.fc.parameters())
        body = [p for name, p in model.named_parameters() if not name.startswith("fc.")]
        epochs, batch = 12, 16
        steps = -(-len(x) // batch)
        optimizer = torch.optim.AdamW([{"params": body, "lr": 3e-4}, {"params": head, "lr": 3e-3}], weight_decay=0.01)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, [3e-4, 3e-3], total_steps=epochs * steps, cycle_momentum=False)
        begun, best = time.time(), (np.inf, "")
        for epoch in range(epochs):
            model.train()
            for rows in torch.randperm(len(x)).split(batch):
                loss = torch.nn.functional.mse_loss(model(x[rows])[:, 0], y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            model.eval()
            with torch.no_grad():
                answers = torch.cat([model(part)[:, 0] for part in images[~is_train].split(32)]).numpy() * deviation + mean
            error = np.abs(answers - angles[~is_train]).mean()
            best = min(best, (error, f"epoch {epoch + 1}, {figures(angles[~is_train], answers)}"))
        last = figures(angles[~is_train], answers)
        print(f"PyTorch, seed {seed}: best {best[1]}; last {last}; {time.time() - begun:.0f} s", flush=True)


if __name__ == "__main__":
    {"make": make, "grades": grades, "ridge": ridge, "finetune": finetune}[sys.argv[1]](*sys.argv[2:])

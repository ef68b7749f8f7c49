"""Writes `interpolation.safetensors`: a small picture and what torchvision's transforms on Pillow make of it with each filter.
pip install pillow numpy torch torchvision safetensors"""
from pathlib import Path

import numpy as np
import PIL
import torchvision
from PIL import Image
from safetensors.numpy import save_file
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

WIDTH, HEIGHT = 61, 47
y, x = np.mgrid[:HEIGHT, :WIDTH]
noise = np.random.default_rng(1).integers(-40, 41, (HEIGHT, WIDTH, 3))
smooth = np.stack([x * 4, y * 5, 128 + 100 * np.sin(x / 3 + y / 5)], -1)
picture = (smooth + noise).clip(0, 255).astype(np.uint8)
picture[10:20, 30:45] = [250, 5, 5]
tensors = {"picture": picture}
for name in ["nearest", "bilinear", "bicubic", "lanczos"]:
    filter = InterpolationMode(name)
    # Down and up, as in evaluation; the whole to a square, as a random crop that takes everything.
    for key, resize, crop in [("down", 20, 16), ("up", 70, 24)]:
        steps = Compose([Resize(resize, interpolation=filter), CenterCrop(crop)])
        tensors[f"{name}.{key}"] = np.array(steps(Image.fromarray(picture)))
    tensors[f"{name}.square"] = np.array(Resize((16, 16), interpolation=filter)(Image.fromarray(picture)))
what = f"torchvision {torchvision.__version__} on Pillow {PIL.__version__}"
save_file(tensors, Path(__file__).parent / "interpolation.safetensors", {"what": what})

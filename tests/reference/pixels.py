#!/usr/bin/env python3
"""Pillow's and torchvision's pixels for pictures that are drawn by a formula.

needs: pip install -r requirements.txt
use:   pixels.py              (writes into its own folder)

pixels.safetensors    PICTURE|WHAT as u8 [height, width, 3]: `drawing` of WIDTHxHEIGHT pixels resized and cropped;
                      FILE|decoded for the files of pictures/, and these resized
pictures/             small JPEGs as Pillow writes them
"""
import pathlib
import numpy, PIL, torch, torchvision
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as F

HERE = pathlib.Path(__file__).parent
MODES = [InterpolationMode.BILINEAR, InterpolationMode.BICUBIC, InterpolationMode.LANCZOS, InterpolationMode.NEAREST]


def drawing(width, height):
    """Slopes, steps and a fine grid; the same as `drawing` in crates/rekindle-imagefolder/tests/it/made.rs."""
    y, x = numpy.mgrid[0:height, 0:width]
    red = (x * 5 + y * 2) % 256
    green = numpy.where((x // 9 + y // 7) % 2 == 0, 220, 35)
    blue = (x * y // 3) % 256
    return Image.fromarray(numpy.stack([red, green, blue], -1).astype(numpy.uint8))


def smooth(width, height):
    """Waves of a few cycles, so that a JPEG of it is small."""
    y, x = numpy.mgrid[0:height, 0:width]
    channel = lambda a, b: 128 + 100 * numpy.sin(x * a) * numpy.cos(y * b)
    return Image.fromarray(numpy.stack([channel(0.09, 0.05), channel(0.04, 0.11), channel(0.07, 0.03)], -1).astype(numpy.uint8))


def resized(image):
    found = {}
    for mode in MODES:
        found[f"resize32_center28_{mode.value}"] = F.center_crop(F.resize(image, 32, mode), 28)
        w, h = image.size
        box = dict(top=h // 5, left=w // 7, height=h // 2 + 3, width=w // 2 + 5)
        name = "_".join(f"{key}{value}" for key, value in box.items())
        found[f"crop_{name}_to24_{mode.value}"] = F.resized_crop(image, **box, size=[24, 24], interpolation=mode)
    # Upwards as well.
    found["resize96_center20_bilinear"] = F.center_crop(F.resize(image, 96, InterpolationMode.BILINEAR), 20)
    return found


def main():
    found = {}
    for width, height in [(97, 61), (40, 130), (200, 120)]:
        found |= {f"drawing{width}x{height}|{what}": p for what, p in resized(drawing(width, height)).items()}
    folder = HERE / "pictures"
    folder.mkdir(exist_ok=True)
    photo = smooth(61, 45)
    options = {
        "444": dict(subsampling=0), "422": dict(subsampling=1), "420": dict(subsampling=2),
        "progressive": dict(subsampling=2, progressive=True), "grey": dict(mode="L"), "cmyk": dict(mode="CMYK"),
        "restart": dict(subsampling=2, restart_marker_blocks=3), "optimised": dict(subsampling=0, optimize=True),
    }
    for name, option in options.items():
        path = folder / f"{name}.jpg"
        photo.convert(option.pop("mode", "RGB")).save(path, quality=90, **option)
        # As torchvision's loader.
        decoded = Image.open(path).convert("RGB")
        found[f"{path.name}|decoded"] = decoded
        found |= {f"{path.name}|{what}": p for what, p in resized(decoded).items() if what.startswith("resize") and "bilinear" in what}
    tensors = {key: torch.from_numpy(numpy.array(picture)) for key, picture in found.items()}
    save_file(tensors, HERE / "pixels.safetensors", {"by": f"Pillow {PIL.__version__}, torchvision {torchvision.__version__}"})


if __name__ == "__main__":
    main()

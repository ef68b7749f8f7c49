"""Makes small pictures of other channels and depths than RGB of 8 bits, with their numbers, and resizes some as Pillow does.

use: make_channels.py channels.safetensors.gz

needs numpy, tifffile, opencv-python-headless, Pillow 13, safetensors. Files are written by tifffile and OpenCV; the numbers are
those that were written, which both read back.
"""

import gzip
import io
import json
import sys

import cv2
import numpy as np
import tifffile
from PIL import Image
from safetensors.numpy import save

HEIGHT, WIDTH = 11, 13


def numbers(channels, dtype, most, least=0):
    """Numbers that are all over the range, other ones in each channel."""
    y, x, c = np.meshgrid(np.arange(HEIGHT), np.arange(WIDTH), np.arange(channels), indexing="ij")
    mixed = (x * 7919 + y * 104729 + c * 1299709 + x * y * (c + 1) * 131) % 65521
    return (least + mixed / 65520 * (most - least)).astype(dtype)


files, expected, white = {}, {}, {}


def tiff(name, values, full, **options):
    out = io.BytesIO()
    stored = values if options.get("planarconfig") != "separate" else values.transpose(2, 0, 1)
    stored = stored[..., 0] if stored.shape[-1] == 1 else stored
    tifffile.imwrite(out, stored, metadata=None, **options)
    back = tifffile.imread(io.BytesIO(out.getvalue()))
    assert np.array_equal(back, stored), name
    files[name] = out.getvalue()
    expected[name], white[name] = values, full


def png(name, values, full):
    order = {1: [0], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[values.shape[-1]]
    done, out = cv2.imencode(".png", values[..., order])
    back = cv2.imdecode(out, cv2.IMREAD_UNCHANGED).reshape(values.shape)
    assert done and np.array_equal(back[..., order], values), name
    files[name] = out.tobytes()
    expected[name], white[name] = values, full


grey16, rgb16, rgba16 = (numbers(c, np.uint16, 65535) for c in (1, 3, 4))
png("grey-16.png", grey16, 65535)
png("grey-8.png", numbers(1, np.uint8, 255), 255)
png("rgb-16.png", rgb16, 65535)
png("rgba-16.png", rgba16, 65535)
png("rgba-8.png", numbers(4, np.uint8, 255), 255)
minisblack = {"photometric": "minisblack"}
tiff("grey-16.tif", grey16, 65535, **minisblack)
tiff("grey-12-in-16.tif", numbers(1, np.uint16, 4095), 65535, **minisblack)
tiff("grey-32.tif", numbers(1, np.uint32, 2**32 - 1), 2**32 - 1, **minisblack)
tiff("signed-16.tif", numbers(1, np.int16, 32767, -32768), 32767, **minisblack)
tiff("float-32.tif", numbers(1, np.float32, 1.5, -0.5), 1, **minisblack)
tiff("float-16.tif", numbers(1, np.float16, 1.0), 1, **minisblack)
tiff("float-64.tif", numbers(1, np.float64, 1.0), 1, **minisblack)
tiff("five-8.tif", numbers(5, np.uint8, 255), 255, planarconfig="contig", **minisblack)
tiff("five-16.tif", numbers(5, np.uint16, 65535), 65535, planarconfig="contig", **minisblack)
tiff("five-16-planar.tif", numbers(5, np.uint16, 65535), 65535, planarconfig="separate", **minisblack)
tiff("five-16-big-endian.tif", numbers(5, np.uint16, 65535), 65535, planarconfig="contig", byteorder=">", **minisblack)
tiff("five-16-big.tif", numbers(5, np.uint16, 65535), 65535, planarconfig="contig", bigtiff=True, **minisblack)
tiff("eight-16-deflated.tif", numbers(8, np.uint16, 65535), 65535, planarconfig="contig", compression="zlib", predictor=True, **minisblack)
tiff("four-16-tiled.tif", numbers(4, np.uint16, 65535), 65535, planarconfig="contig", tile=(16, 16), **minisblack)
tiff("four-float-32.tif", numbers(4, np.float32, 1.0), 1, planarconfig="contig", **minisblack)
tiff("rgb-16.tif", rgb16, 65535, photometric="rgb")
tiff("rgba-16.tif", rgba16, 65535, photometric="rgb", extrasamples=["unassalpha"])
# Turned: row 0 is the right side, column 0 the top.
tiff("five-16-turned.tif", numbers(5, np.uint16, 65535), 65535, planarconfig="contig", extratags=[(274, "H", 1, 6, True)], **minisblack)
expected["five-16-turned.tif"] = np.rot90(expected["five-16-turned.tif"], -1)

tensors, meta = {}, {"files": {}, "resized": []}
for name, content in files.items():
    tensors[f"file:{name}"] = np.frombuffer(content, np.uint8)
    tensors[f"numbers:{name}"] = np.ascontiguousarray(expected[name].astype(np.float64))
    meta["files"][name] = white[name]

# Resized to a shorter side, and the middle of it, in floating point.
FILTERS = {"bilinear": Image.BILINEAR, "bicubic": Image.BICUBIC, "lanczos": Image.LANCZOS}
for name in ("five-16.tif", "float-32.tif", "grey-16.png"):
    for filter_name, kernel in FILTERS.items():
        for size, crop in ((8, 6), (17, 16)):
            planes = (expected[name] / white[name]).astype(np.float32)
            height, width = planes.shape[:2]
            long = size * max(height, width) // min(height, width)
            to = (size, long) if width <= height else (long, size)
            left, top = (round((side - crop) / 2) for side in to)
            bands = [
                np.asarray(Image.fromarray(np.ascontiguousarray(planes[..., c])).resize(to, kernel))
                for c in range(planes.shape[-1])
            ]
            key = f"resized:{name}:{filter_name}:{size}"
            tensors[key] = np.stack(bands)[:, top : top + crop, left : left + crop].copy()
            meta["resized"].append([name, filter_name, size, crop, key])

content = save(tensors, metadata={"cases": json.dumps(meta)})
with open(sys.argv[1], "wb") as out:
    out.write(gzip.compress(content, 9, mtime=0))
print(len(files), "files", len(content), "bytes,", len(gzip.compress(content, 9)), "packed")

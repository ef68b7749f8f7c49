"""Writes the size and the CRC-32 of Pillow's RGB pixels of JPEG files, to hold a decoder against.

use: decoded.py ROOT OUT.json [EVERY]   (every EVERYth file below ROOT, in sorted order)
"""

import json
import sys
import zlib
from pathlib import Path

from PIL import Image, features

root, out = Path(sys.argv[1]), Path(sys.argv[2])
every = int(sys.argv[3]) if len(sys.argv) > 3 else 1
files = sorted(file for file in root.rglob("*") if file.suffix.lower() in (".jpg", ".jpeg"))
found = {}
for file in files[::every]:
    image = Image.open(file).convert("RGB")
    found[file.relative_to(root).as_posix()] = [*image.size, zlib.crc32(image.tobytes())]
print(len(found), "files, libjpeg-turbo", features.version_feature("libjpeg_turbo"))
out.write_text(json.dumps(found, separators=(",", ":")).replace("],", "],\n") + "\n")

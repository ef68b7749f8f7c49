"""Widths and ink of lines of text as Pillow sets them, for `src/caption.rs`. Run in this folder with Pillow installed.

FreeType's hinting moves edges and advances to whole pixels: ink is taken of large letters, and widths at the font's own
grid of 2048 units, where hinting changes nothing.
"""

import json

from PIL import Image, ImageDraw, ImageFont

FONT = "../../assets/DejaVuSans-subset.ttf"
LINES = ["said bee 0.93", "is ant", "fourmi é ñandú Žába", "муравей Ωμέγα", "WAVE To. fjord…"]

lines = []
grid = ImageFont.truetype(FONT, 2048, layout_engine=ImageFont.Layout.BASIC)
for size in [96, 240]:
    font = ImageFont.truetype(FONT, size, layout_engine=ImageFont.Layout.BASIC)
    for text in LINES:
        width = grid.getlength(text) * size / 2048
        sheet = Image.new("L", (int(width) + 100, 2 * size))
        ImageDraw.Draw(sheet).text((50, 2), text, fill=255, font=font)
        ink = sum(value * count for value, count in enumerate(sheet.histogram()))
        lines.append({"text": text, "size": size, "width": width, "ink": ink})
with open("caption.json", "w", encoding="utf-8") as file:
    json.dump({"lines": lines}, file, ensure_ascii=False, indent=1)
    file.write("\n")

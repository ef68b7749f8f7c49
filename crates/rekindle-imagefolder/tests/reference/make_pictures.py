"""Writes small pictures of many kinds and what Pillow makes of them: `pictures.safetensors.gz` holds the files (u8) and
the pixels of `ImageOps.exif_transpose(Image.open(NAME)).convert("RGB")` (u8, height x width x 3), equal ones once. In the
metadata, `pixels` names those of each file, and `refused` Pillow's reasons not to read one. pip install pillow numpy safetensors"""
import gzip
import io
import json
import struct
import tempfile
import warnings
import zlib
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps
from safetensors.numpy import save

from jpeg_writer import jpeg, segment, ycbcr

warnings.simplefilter("ignore")
WIDTH, HEIGHT = 29, 21
y, x = np.mgrid[:HEIGHT, :WIDTH]
RGB = np.stack([x * 8 + 10, y * 11 + 15, 128 + 90 * np.sin(x / 5 + y / 7)], -1).astype(np.uint8)
RGB[4:9, 5:12] = [200, 30, 40]
GREY = RGB.mean(-1).astype(np.uint8)
ALPHA = (x * 5 + y * 5 + 1).clip(0, 255).astype(np.uint8)
ALPHA[:3] = 0
INK = np.concatenate([255 - RGB, np.full((HEIGHT, WIDTH, 1), 30, np.uint8)], -1)
picture, grey = Image.fromarray(RGB), Image.fromarray(GREY)
files = {}


def saved(image, format, **options):
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def exif(orientation):
    entry = struct.pack("<HHIHH", 274, 3, 1, orientation, 0)
    return b"II*\0\x08\0\0\0\x01\0" + entry + bytes(4)


def xmp(orientation):
    return b'<x:xmpmeta><rdf:Description tiff:Orientation="%d"/></x:xmpmeta>' % orientation


# JPEG: what the components are.
YCC = ycbcr(RGB)
G = GREY[..., None]
IDS = list(b"RGB")
files |= {
    "rgb-ids.jpg": jpeg(RGB, ids=IDS),
    "rgb-adobe0.jpg": jpeg(RGB, adobe=0),
    "rgb-adobe0-ids.jpg": jpeg(RGB, adobe=0, ids=IDS),
    "ycc-adobe1.jpg": jpeg(YCC, adobe=1),
    "ycc-adobe1-ids.jpg": jpeg(YCC, adobe=1, ids=IDS),
    "ycc-adobe2.jpg": jpeg(YCC, adobe=2),
    "ycc-jfif-adobe0.jpg": jpeg(YCC, adobe=0, jfif=True),
    "ycc-jfif-ids.jpg": jpeg(YCC, ids=IDS, jfif=True),
    "ycc.jpg": jpeg(YCC),
    "ycc-ids-012.jpg": jpeg(YCC, ids=[0, 1, 2]),
    "ycc-ids-rgb.jpg": jpeg(YCC, ids=list(b"rgb")),
    "rgb-subsampled.jpg": jpeg(RGB, adobe=0, sampling=[(2, 2), (1, 1), (1, 1)]),
    "grey-adobe0.jpg": jpeg(G, adobe=0),
    "grey-adobe1-jfif.jpg": jpeg(G, adobe=1, jfif=True),
    "cmyk-adobe0.jpg": jpeg(255 - INK, adobe=0),
    "cmyk.jpg": jpeg(255 - INK),
    "cmyk-jfif-adobe0.jpg": jpeg(255 - INK, adobe=0, jfif=True),
    "ycck-adobe2.jpg": jpeg(np.concatenate([ycbcr(INK[..., :3]), 255 - INK[..., 3:]], -1), adobe=2),
    "ycck-adobe1.jpg": jpeg(np.concatenate([ycbcr(INK[..., :3]), 255 - INK[..., 3:]], -1), adobe=1),
    "cmyk-subsampled.jpg": jpeg(255 - INK, adobe=0, sampling=[(2, 2), (1, 1), (1, 1), (2, 2)]),
    "rgb-by-pillow.jpg": saved(picture, "JPEG", keep_rgb=True, subsampling=0),
    "two-components.jpg": jpeg(RGB[..., :2]),
    "five-components.jpg": jpeg(np.concatenate([INK, G], -1)),
}
# JPEG: sampling, scans, restarts.
SAMPLINGS = {
    "411": [(4, 1), (1, 1), (1, 1)], "440": [(1, 2), (1, 1), (1, 1)], "410": [(4, 2), (1, 1), (1, 1)], "422": [(2, 1), (1, 1), (1, 1)],
    "420": [(2, 2), (1, 1), (1, 1)], "441": [(1, 4), (1, 1), (1, 1)], "luma-low": [(1, 1), (2, 2), (2, 2)],
    "luma-low-across": [(1, 1), (2, 1), (2, 1)], "one-chroma": [(1, 1), (2, 1), (1, 1)], "mixed": [(2, 2), (2, 1), (1, 2)],
    "3x1": [(3, 1), (1, 1), (1, 1)], "1x3": [(1, 3), (1, 1), (1, 1)], "3x2": [(3, 2), (1, 1), (1, 1)], "same-2x1": [(2, 1)] * 3,
    "chroma-3x1": [(3, 1), (3, 1), (1, 1)], "same-1x2": [(1, 2)] * 3, "422-in-4": [(4, 1), (2, 1), (2, 1)],
}
for name, sampling in SAMPLINGS.items():
    files[f"sampling-{name}.jpg"] = jpeg(YCC, sampling=sampling, jfif=True)
    files[f"scans-{name}.jpg"] = jpeg(YCC, sampling=sampling, jfif=True, scans=[[0], [1], [2]], restart=2)
for name in ["411", "440", "luma-low", "3x1"]:
    files[f"progressive-{name}.jpg"] = jpeg(YCC, sampling=SAMPLINGS[name], jfif=True, progressive=True)
files |= {
    "sampling-fractional.jpg": jpeg(YCC, sampling=[(3, 1), (2, 1), (1, 1)], jfif=True),
    "grey-2x2.jpg": jpeg(G, sampling=[(2, 2)]),
    "grey-1x4.jpg": jpeg(G, sampling=[(1, 4)], restart=3),
    "scans-two.jpg": jpeg(YCC, sampling=SAMPLINGS["420"], jfif=True, scans=[[0], [1, 2]]),
    "scans-chroma-first.jpg": jpeg(YCC, sampling=SAMPLINGS["420"], jfif=True, scans=[[2], [1], [0]]),
    "scans-lacking-one.jpg": jpeg(YCC, jfif=True, scans=[[0], [1]]),
    "restart.jpg": jpeg(YCC, sampling=SAMPLINGS["420"], jfif=True, restart=1),
}
for width, height in [(1, 1), (2, 3), (3, 2), (4, 5), (5, 4), (17, 2)]:
    for name in ["422", "420", "440"]:
        files[f"tiny-{width}x{height}-{name}.jpg"] = jpeg(YCC[3:3 + height, 3:3 + width], sampling=SAMPLINGS[name], jfif=True)
for name, image, options in [
    ("444", picture, dict(subsampling=0)), ("422", picture, dict(subsampling=1)), ("420", picture, dict(subsampling=2)),
    ("grey", grey, {}), ("cmyk", Image.fromarray(INK, "CMYK"), {}), ("restart", picture, dict(restart_marker_blocks=2)),
]:
    files[f"progressive-by-pillow-{name}.jpg"] = saved(image, "JPEG", progressive=True, quality=80, **options)
    files[f"baseline-by-pillow-{name}.jpg"] = saved(image, "JPEG", quality=80, **options)
plain = saved(picture, "JPEG", quality=80)


def replaced(data, old, new):
    assert data.count(old) == 1, data.count(old)
    return data.replace(old, new)


def without_tables(data):
    at, out = 2, data[:2]
    while data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2:at + 4], "big")
        out += b"" if data[at + 1] == 0xC4 else data[at:end]
        at = end
    return out + data[at:]


scan = plain.index(b"\xff\xda")
restarts = jpeg(YCC, jfif=True, restart=2)
files |= {
    "standard-tables.jpg": without_tables(plain),
    "twelve-bits.jpg": replaced(plain, b"\xff\xc0\0\x11\x08", b"\xff\xc1\0\x11\x0c"),
    "arithmetic.jpg": replaced(plain, b"\xff\xc0\0\x11", b"\xff\xc9\0\x11"),
    "lossless.jpg": replaced(plain, b"\xff\xc0\0\x11", b"\xff\xc3\0\x11"),
    "hierarchical.jpg": replaced(plain, b"\xff\xc0\0\x11", b"\xff\xc5\0\x11"),
    "height-0.jpg": plain[:plain.index(b"\xff\xc0") + 5] + b"\0\0" + plain[plain.index(b"\xff\xc0") + 7:],
    "end-garbage.jpg": plain + b"\xff\xd8\xff\xe0garbage" * 9,
    "end-missing.jpg": plain[:-2],
    "end-half.jpg": plain[:-1],
    "end-missing-a-byte.jpg": plain[:-3],
    "end-missing-then-zeros.jpg": plain[:-2] + bytes(600), "end-zeroed.jpg": plain[:-2] + bytes(2), "end-zero.jpg": plain[:-2] + bytes(1),
    "end-zeroed-progressive.jpg": files["progressive-by-pillow-420.jpg"][:-2] + bytes(600),
    "end-zeroed-scans.jpg": files["scans-420.jpg"][:-2] + bytes(600),
    "end-missing-progressive.jpg": files["progressive-by-pillow-420.jpg"][:-2],
    "end-early.jpg": plain[:scan + (len(plain) - scan) * 6 // 10] + b"\xff\xd9",
    "end-early-progressive.jpg": files["progressive-411.jpg"][:-100] + b"\xff\xd9",
    "restart-lost.jpg": restarts[:restarts.index(b"\xff\xd1") + 2] + restarts[restarts.index(b"\xff\xd2") + 2:],
    "restart-skipped.jpg": restarts[:restarts.index(b"\xff\xd1")] + restarts[restarts.index(b"\xff\xd2"):],
    "garbage-between.jpg": plain[:2] + b"\0\0garbage" + plain[2:],
    "fill-bytes.jpg": plain[:2] + b"\xff\xff\xff" + plain[2:],
}
for orientation in range(2, 9):
    files[f"orientation-{orientation}.jpg"] = saved(picture, "JPEG", exif=b"Exif\0\0" + exif(orientation))
files |= {
    "orientation-xmp.jpg": plain[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6)) + plain[2:],
    "orientation-xmp-and-exif.jpg": plain[:2] + segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + xmp(6))
    + segment(0xE1, b"Exif\0\0" + exif(3)) + plain[2:],
    "orientation-0.jpg": saved(picture, "JPEG", exif=b"Exif\0\0" + exif(0)),
    "orientation-progressive.jpg": saved(picture, "JPEG", progressive=True, exif=b"Exif\0\0" + exif(8)),
}


# PNG.
def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(depth, color, rows, *chunks, size=(WIDTH, HEIGHT), after=(), interlace=0, end=True):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *size, depth, color, 0, 0, interlace))
    data = zlib.compress(b"".join(b"\0" + bytes(row) for row in rows), 9)
    parts = [header, *chunks, chunk(b"IDAT", data), *after]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts) + (chunk(b"IEND", b"") if end else b"")


def packed(values, bits):
    """Rows of numbers as rows of bytes."""
    values = np.asarray(values)
    return [np.packbits((row[:, None] >> np.arange(bits)[::-1] & 1).astype(np.uint8)) for row in values]


def big(values):
    return [row.tobytes() for row in np.asarray(values).astype(">u2")]


DEEP = GREY.astype(np.uint16) * 257 - GREY // 2
DEEP_RGB = RGB.astype(np.uint16) * 257 - RGB // 2
PALETTE = RGB.reshape(-1, 3)[::37][:16]
INDEX = ((x + y) % 16).astype(np.uint8)
plain_png = saved(picture, "PNG")
apng_frames = [picture, ImageOps.invert(picture)]
deep_png = png(16, 0, big(DEEP))
files |= {
    "grey-1.png": png(1, 0, packed(INDEX % 2, 1)), "grey-2.png": png(2, 0, packed(INDEX % 4, 2)), "grey-4.png": png(4, 0, packed(INDEX, 4)),
    "grey-8.png": saved(grey, "PNG"), "grey-16.png": deep_png, "grey-16-small.png": png(16, 0, big(GREY)),
    "grey-16-transparent.png": png(16, 0, big(DEEP), chunk(b"tRNS", struct.pack(">H", int(DEEP[5, 5])))),
    "grey-8-transparent.png": png(8, 0, GREY, chunk(b"tRNS", struct.pack(">H", int(GREY[5, 5])))),
    "grey-alpha-8.png": png(8, 4, np.stack([GREY, ALPHA], -1).reshape(HEIGHT, -1)),
    "grey-alpha-16.png": png(16, 4, big(np.stack([DEEP, ALPHA * np.uint16(257)], -1).reshape(HEIGHT, -1))),
    "rgb-16.png": png(16, 2, big(DEEP_RGB.reshape(HEIGHT, -1))),
    "rgb-transparent.png": png(8, 2, RGB.reshape(HEIGHT, -1), chunk(b"tRNS", struct.pack(">HHH", 200, 30, 40))),
    "rgba-8.png": png(8, 6, np.dstack([RGB, ALPHA]).reshape(HEIGHT, -1)),
    "rgba-16.png": png(16, 6, big(np.dstack([DEEP_RGB, ALPHA * np.uint16(257)]).reshape(HEIGHT, -1))),
    "palette-1.png": png(1, 3, packed(INDEX % 2, 1), chunk(b"PLTE", PALETTE[:2].tobytes())),
    "palette-2.png": png(2, 3, packed(INDEX % 4, 2), chunk(b"PLTE", PALETTE[:4].tobytes())),
    "palette-4.png": png(4, 3, packed(INDEX, 4), chunk(b"PLTE", PALETTE.tobytes())),
    "palette-8.png": png(8, 3, INDEX, chunk(b"PLTE", PALETTE.tobytes())),
    "palette-transparent.png": png(8, 3, INDEX, chunk(b"PLTE", PALETTE.tobytes()), chunk(b"tRNS", bytes([0, 100, 255]))),
    "palette-beyond.png": png(8, 3, INDEX, chunk(b"PLTE", PALETTE[:9].tobytes())),
    "gamma.png": png(8, 2, RGB.reshape(HEIGHT, -1), chunk(b"gAMA", struct.pack(">I", 100000))),
    "icc.png": saved(picture, "PNG", icc_profile=b"nonsense"),
    "interlaced.png": None,
    "animated.png": saved(apng_frames[0], "PNG", save_all=True, append_images=apng_frames[1:]),
    "animated-other-default.png": saved(apng_frames[0], "PNG", save_all=True, append_images=apng_frames[1:], default_image=True),
    "end-missing.png": plain_png[:-12], "end-half.png": plain_png[:-6], "end-garbage.png": plain_png + b"garbage" * 30,
    "end-without-crc.png": plain_png[:-16], "end-wrong-crc.png": plain_png[:-16] + b"\1\2\3\4" + plain_png[-12:],
    "end-without-adler.png": plain_png[:-20], "end-without-8.png": plain_png[:-24],
    "header-wrong-crc.png": plain_png[:29] + b"\1\2\3\4" + plain_png[33:],
    "text-wrong-crc.png": plain_png[:33] + chunk(b"tEXt", b"a\0b")[:-1] + b"!" + plain_png[33:],
    "orientation.png": saved(picture, "PNG", exif=exif(6)),
    "orientation-named.png": png(8, 2, RGB.reshape(HEIGHT, -1), chunk(b"eXIf", b"Exif\0\0" + exif(6))),
    "orientation-after.png": png(8, 2, RGB.reshape(HEIGHT, -1), after=[chunk(b"eXIf", exif(6))]),
    "orientation-raw.png": png(8, 2, RGB.reshape(HEIGHT, -1),
                               chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(
                                   b"\nexif\n      32\n" + (b"Exif\0\0" + exif(6)).hex().encode() + b"\n"))),
    "orientation-xmp.png": png(8, 2, RGB.reshape(HEIGHT, -1), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp(6))),
}
bad_adler = bytearray(zlib.compress(b"".join(b"\0" + row.tobytes() for row in RGB), 9))
bad_adler[-1] ^= 255
files["wrong-adler.png"] = plain_png[:33] + chunk(b"IDAT", bytes(bad_adler)) + chunk(b"IEND", b"")


def adam7(array):
    rows = []
    for x0, y0, dx, dy in [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]:
        rows += [row.tobytes() for row in array[y0::dy, x0::dx]]
    return rows


files["interlaced.png"] = png(8, 2, adam7(RGB), interlace=1)
files["interlaced-16.png"] = png(16, 2, adam7(DEEP_RGB.astype(">u2")), interlace=1)


# BMP.
def bmp(bits, body, compression=0, masks=b"", palette=b"", height=HEIGHT, width=WIDTH, header=40, colors=0):
    info = struct.pack("<IiiHHIIiiII", header, width, height, 1, bits, compression, len(body), 0, 0, colors, 0) + masks
    offset = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", offset + len(body), 0, 0, offset) + info + palette + body


def padded(rows):
    return b"".join(bytes(row) + bytes(-len(bytes(row)) % 4) for row in rows)


BGR = RGB[..., ::-1]
BGRA = np.dstack([BGR, ALPHA])
QUADS = b"".join(bytes(color[::-1]) + b"\0" for color in PALETTE)
r, g, b = np.moveaxis(RGB.astype(int), -1, 0)
R565, R555 = (r >> 3 << 11 | g >> 2 << 5 | b >> 3).astype("<u2"), (r >> 3 << 10 | g >> 3 << 5 | b >> 3).astype("<u2")
runs = b""
for row in INDEX[::-1]:
    runs += b"".join(bytes([1, v]) for v in row[:10]) + bytes([0, 15]) + bytes(row[10:25]) + b"\0" + bytes([4, row[25], 0, 0])
runs += b"\0\1"
nibbles = b"".join(bytes([WIDTH, 0x12, 0, 0]) for _ in range(HEIGHT)) + b"\0\1"
files |= {
    "rgb.bmp": saved(picture, "BMP"), "grey.bmp": saved(grey, "BMP"), "one-bit.bmp": saved(grey.convert("1"), "BMP"),
    "palette.bmp": saved(picture.quantize(16), "BMP"),
    "palette-4.bmp": bmp(4, padded([row.tobytes() for row in packed(INDEX[::-1], 4)]), palette=QUADS, colors=16),
    "top-down.bmp": bmp(24, padded([row.tobytes() for row in BGR]), height=-HEIGHT),
    "rgb-555.bmp": bmp(16, padded([row.tobytes() for row in R555[::-1]])),
    "rgb-565.bmp": bmp(16, padded([row.tobytes() for row in R565[::-1]]), 3, struct.pack("<III", 0xF800, 0x7E0, 0x1F)),
    "rgb-32.bmp": bmp(32, BGRA[::-1].tobytes()),
    "rgba-32.bmp": bmp(32, BGRA[::-1].tobytes(), 3, struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + bytes(52), header=108),
    "rgba-32-swapped.bmp": bmp(32, np.dstack([RGB, ALPHA])[::-1].tobytes(), 3, struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)),
    "run-8.bmp": bmp(8, runs, 1, palette=QUADS, colors=16),
    "run-4.bmp": bmp(4, nibbles, 2, palette=QUADS, colors=16),
    "end-garbage.bmp": saved(picture, "BMP") + b"garbage", "end-cut.bmp": saved(picture, "BMP")[:-100],
    "end-padding.bmp": saved(picture, "BMP")[:-1],
}

# GIF.
p16 = picture.quantize(16)
gif = saved(p16, "GIF")
screen = gif[:6] + struct.pack("<HH", WIDTH + 7, HEIGHT + 5) + gif[10:]
files |= {
    "plain.gif": gif, "interlaced.gif": saved(p16, "GIF", interlace=1), "transparent.gif": saved(p16, "GIF", transparency=5),
    "animated.gif": saved(p16, "GIF", save_all=True, append_images=[ImageOps.invert(picture).quantize(8)], duration=50, loop=0),
    "screen-larger.gif": screen, "end-missing.gif": gif[:-1], "end-garbage.gif": gif + b"garbage", "end-cut.gif": gif[:-40],
    "screen-larger-transparent.gif": None, "grey.gif": saved(grey, "GIF"),
}
transparent = files["transparent.gif"]
files["screen-larger-transparent.gif"] = transparent[:6] + struct.pack("<HH", WIDTH + 7, HEIGHT + 5) + transparent[10:]
files["animated-transparent.gif"] = saved(p16, "GIF", save_all=True, append_images=[p16.rotate(180)], transparency=3, disposal=2)

# WebP.
rgba = Image.fromarray(np.dstack([RGB, ALPHA]), "RGBA")
webp = saved(picture, "WEBP", lossless=True)
files |= {
    "lossy.webp": saved(picture, "WEBP", quality=80), "lossless.webp": webp,
    "alpha-lossless.webp": saved(rgba, "WEBP", lossless=True, exact=True), "alpha-lossy.webp": saved(rgba, "WEBP", quality=80),
    "animated.webp": saved(picture, "WEBP", save_all=True, append_images=[ImageOps.invert(picture)], lossless=True),
    "animated-alpha.webp": saved(rgba, "WEBP", save_all=True, append_images=[rgba.rotate(180)], lossless=True),
    "orientation.webp": saved(picture, "WEBP", lossless=True, exif=exif(6)),
    "orientation-named.webp": saved(picture, "WEBP", lossless=True, exif=b"Exif\0\0" + exif(8)),
    "orientation-xmp.webp": saved(picture, "WEBP", lossless=True, xmp=xmp(5)),
    "end-garbage.webp": webp + b"garbage", "end-cut.webp": webp[:-30], "end-missing-a-byte.webp": webp[:-1],
}


# PNM.
def pnm(magic, most, body, comment=b"# made\n"):
    return b"%s\n%s%d %d\n%s" % (magic, comment, WIDTH, HEIGHT, b"%d\n" % most if most else b"") + body


def words(values):
    return b"\n".join(b" ".join(b"%d" % v for v in row) for row in values.reshape(HEIGHT, -1))


for most in [1, 15, 100, 255, 256, 1023, 65535]:
    g, c = (GREY.astype(int) * most // 255), (RGB.astype(int) * most // 255)
    kind = ">u2" if most > 255 else "u1"
    files[f"grey-{most}.pgm"] = pnm(b"P5", most, g.astype(kind).tobytes())
    files[f"rgb-{most}.ppm"] = pnm(b"P6", most, c.astype(kind).tobytes())
    files[f"text-grey-{most}.pgm"] = pnm(b"P2", most, words(g))
    files[f"text-rgb-{most}.ppm"] = pnm(b"P3", most, words(c))
files |= {
    "text-bits.pbm": pnm(b"P1", None, words(INDEX % 2)),
    "bits.pbm": pnm(b"P4", None, b"".join(row.tobytes() for row in packed(INDEX % 2, 1))),
    "end-garbage.ppm": pnm(b"P6", 255, RGB.tobytes() + b"garbage"), "end-cut.ppm": pnm(b"P6", 255, RGB.tobytes()[:-5]),
    "beyond.pgm": pnm(b"P5", 100, GREY.tobytes()),
    "float.pfm": b"Pf\n%d %d\n-1.0\n" % (WIDTH, HEIGHT) + GREY[::-1].astype("<f4").tobytes(),
}


# TIFF.
def tiff(bits, photometric, strips, samples=1, extra=(), format=None, planar=1, order="<", compression=1, rows=HEIGHT, tile=None, more=(),
         size=(WIDTH, HEIGHT), big=False):
    """`strips`: bytes of each strip or tile."""
    entries = [(256, "I", [size[0]]), (257, "I", [size[1]]), (258, "H", [bits] * samples), (259, "H", [compression]), (262, "H", [photometric]),
               (277, "H", [samples]), (284, "H", [planar]), *more]
    if extra:
        entries.append((338, "H", list(extra)))
    if format:
        entries.append((339, "H", [format] * samples))
    if tile:
        entries += [(322, "I", [tile[0]]), (323, "I", [tile[1]])]
    else:
        entries.append((278, "I", [rows]))
    offsets, lengths = (324, 325) if tile else (273, 279)
    head, word, count, entry = (16, "Q", "Q", 20) if big else (8, "I", "H", 12)
    places, at = [], head
    for strip in strips:
        places.append(at)
        at += len(strip)
    entries += [(offsets, "I", places), (lengths, "I", [len(strip) for strip in strips])]
    directory, out, tail = at, b"", b""
    behind = at + struct.calcsize("=" + count) + entry * len(entries) + struct.calcsize("=" + word)
    for tag, kind, values in sorted(entries):
        body = struct.pack(order + kind * len(values), *values)
        if len(body) > (8 if big else 4):
            tail_at = behind + len(tail)
            tail += body
            body = struct.pack(order + word, tail_at)
        out += struct.pack(order + "HH" + word, tag, {"B": 1, "H": 3, "I": 4}[kind], len(values)) + body.ljust(8 if big else 4, b"\0")
    mark = b"II" if order == "<" else b"MM"
    start = struct.pack(order + "HHHQ", 43, 8, 0, directory) if big else struct.pack(order + "HI", 42, directory)
    out = struct.pack(order + count, len(entries)) + out + struct.pack(order + word, 0) + tail
    return mark + start + b"".join(strips) + out


def flat(rows):
    return b"".join(bytes(row) if isinstance(row, (bytes, np.ndarray)) else row for row in rows)


def tiles(array, side=16):
    height, width = -(-array.shape[0] // side) * side, -(-array.shape[1] // side) * side
    full = np.zeros((height, width, *array.shape[2:]), array.dtype)
    full[:array.shape[0], :array.shape[1]] = array
    return [full[j:j + side, i:i + side].tobytes() for j in range(0, height, side) for i in range(0, width, side)]


def bits12(values):
    out = []
    for row in values:
        row = np.append(row, [0] * (len(row) % 2)).astype(int)
        a, b = row[::2], row[1::2]
        out.append(np.stack([a >> 4, (a & 15) << 4 | b >> 8, b & 255], -1).astype(np.uint8).tobytes()[:-(-WIDTH * 12 // 8)])
    return b"".join(out)


MAP = [(320, "H", [int(v) * 257 for channel in np.pad(PALETTE, ((0, 240), (0, 0))).T for v in channel])]
MAP4 = [(320, "H", [int(v) * 257 for channel in PALETTE.T for v in channel])]
premultiplied = (RGB.astype(int) * ALPHA[..., None] // 255).astype(np.uint8)
for order, name in [("<", ""), (">", "-big-endian")]:
    two, four = order + "u2", order + "f4"
    files |= {
        f"grey-16{name}.tif": tiff(16, 1, [DEEP.astype(two).tobytes()], order=order),
        f"grey-12-in-16{name}.tif": tiff(16, 1, [(DEEP >> 4).astype(two).tobytes()], order=order),
        f"grey-8-in-16{name}.tif": tiff(16, 1, [GREY.astype(two).tobytes()], order=order),
        f"float{name}.tif": tiff(32, 1, [GREY.astype(four).tobytes()], format=3, order=order),
        f"rgb-16{name}.tif": tiff(16, 2, [DEEP_RGB.astype(two).tobytes()], samples=3, order=order),
        f"rgb{name}.tif": tiff(8, 2, [RGB.tobytes()], samples=3, order=order),
    }
files |= {
    "float-to-1.tif": tiff(32, 1, [(GREY / 255).astype("<f4").tobytes()], format=3),
    "float-odd.tif": tiff(32, 1, [(GREY * 1.7 - 60.3).astype("<f4").tobytes()], format=3),
    "float-white-is-zero.tif": tiff(32, 0, [GREY.astype("<f4").tobytes()], format=3),
    "float-rgb.tif": tiff(32, 2, [RGB.astype("<f4").tobytes()], samples=3, format=3),
    "float-rgba.tif": tiff(32, 2, [np.dstack([RGB, ALPHA]).astype("<f4").tobytes()], samples=4, extra=[2], format=3),
    "float-64.tif": tiff(64, 1, [GREY.astype("<f8").tobytes()], format=3),
    "float-16.tif": tiff(16, 1, [GREY.astype("<f2").tobytes()], format=3),
    "grey-12.tif": tiff(12, 1, [bits12(DEEP >> 4)]),
    "grey-12-big-endian.tif": tiff(12, 1, [bits12(DEEP >> 4)], order=">"),
    "grey-16-white-is-zero.tif": tiff(16, 0, [DEEP.astype("<u2").tobytes()]),
    "grey-16-signed.tif": tiff(16, 1, [(GREY.astype("<i2") * 2 - 90).tobytes()], format=2),
    "grey-32.tif": tiff(32, 1, [(GREY.astype("<u4") * 2).tobytes()]),
    "grey-32-large.tif": tiff(32, 1, [(GREY.astype("<u4") << 24).tobytes()]),
    "grey-32-signed.tif": tiff(32, 1, [(GREY.astype("<i4") * 2 - 90).tobytes()], format=2),
    "grey-8.tif": tiff(8, 1, [GREY.tobytes()]), "grey-8-signed.tif": tiff(8, 1, [GREY.tobytes()], format=2),
    "grey-8-white-is-zero.tif": tiff(8, 0, [GREY.tobytes()]),
    "grey-4.tif": tiff(4, 1, [flat(packed(INDEX, 4))]), "grey-4-white-is-zero.tif": tiff(4, 0, [flat(packed(INDEX, 4))]),
    "grey-2.tif": tiff(2, 1, [flat(packed(INDEX % 4, 2))]), "grey-1.tif": tiff(1, 1, [flat(packed(INDEX % 2, 1))]),
    "grey-1-white-is-zero.tif": tiff(1, 0, [flat(packed(INDEX % 2, 1))]),
    "grey-1-fill-order.tif": tiff(1, 1, [flat(packed(INDEX % 2, 1))], more=[(266, "H", [2])]),
    "grey-alpha.tif": tiff(8, 1, [np.dstack([GREY, ALPHA]).tobytes()], samples=2, extra=[2]),
    "grey-alpha-associated.tif": tiff(8, 1, [np.dstack([GREY, ALPHA]).tobytes()], samples=2, extra=[1]),
    "grey-extra.tif": tiff(8, 1, [np.dstack([GREY, ALPHA]).tobytes()], samples=2, extra=[0]),
    "grey-alpha-16.tif": tiff(16, 1, [np.dstack([DEEP, ALPHA]).astype("<u2").tobytes()], samples=2, extra=[2]),
    "palette-8.tif": tiff(8, 3, [INDEX.tobytes()], more=MAP), "palette-4.tif": tiff(4, 3, [flat(packed(INDEX, 4))], more=MAP4),
    "palette-1.tif": tiff(1, 3, [flat(packed(INDEX % 2, 1))], more=[(320, "H", [0, 65535, 20000, 300, 65280, 40000])]),
    "palette-2.tif": tiff(2, 3, [flat(packed(INDEX % 4, 2))], more=[(320, "H", [int(v) * 257 for c in PALETTE[:4].T for v in c])]),
    "palette-alpha.tif": tiff(8, 3, [np.dstack([INDEX, ALPHA]).tobytes()], samples=2, extra=[2], more=MAP),
    "palette-by-pillow.tif": saved(p16, "TIFF"),
    "rgb-alpha.tif": tiff(8, 2, [np.dstack([RGB, ALPHA]).tobytes()], samples=4, extra=[2]),
    "rgb-alpha-associated.tif": tiff(8, 2, [np.dstack([premultiplied, ALPHA]).tobytes()], samples=4, extra=[1]),
    "rgb-extra.tif": tiff(8, 2, [np.dstack([RGB, ALPHA]).tobytes()], samples=4, extra=[0]),
    "rgb-alpha-and-more.tif": tiff(8, 2, [np.dstack([premultiplied, ALPHA, GREY]).tobytes()], samples=5, extra=[1, 0]),
    "rgb-unnamed-alpha.tif": tiff(8, 2, [np.dstack([RGB, ALPHA]).tobytes()], samples=4),
    "rgb-alpha-16.tif": tiff(16, 2, [np.dstack([DEEP_RGB, ALPHA * np.uint16(257)]).astype("<u2").tobytes()], samples=4, extra=[2]),
    "rgb-alpha-associated-16.tif": tiff(16, 2, [np.dstack([premultiplied.astype(int) * 257, ALPHA.astype(int) * 257]).astype("<u2").tobytes()],
                                        samples=4, extra=[1]),
    "rgb-planar.tif": tiff(8, 2, [RGB[..., c].tobytes() for c in range(3)], samples=3, planar=2),
    "rgb-planar-16.tif": tiff(16, 2, [DEEP_RGB[..., c].astype("<u2").tobytes() for c in range(3)], samples=3, planar=2),
    "rgb-strips.tif": tiff(8, 2, [RGB[j:j + 4].tobytes() for j in range(0, HEIGHT, 4)], samples=3, rows=4),
    "rgb-tiled.tif": tiff(8, 2, tiles(RGB), samples=3, tile=(16, 16)),
    "rgb-tiled-planar.tif": tiff(8, 2, [t for c in range(3) for t in tiles(RGB[..., c])], samples=3, tile=(16, 16), planar=2),
    "grey-16-tiled.tif": tiff(16, 1, tiles(DEEP), tile=(16, 16)), "float-tiled.tif": tiff(32, 1, tiles(GREY.astype("<f4")), format=3, tile=(16, 16)),
    "rgb-bigtiff.tif": tiff(8, 2, [RGB.tobytes()], samples=3, big=True),
    "palette-bigtiff.tif": tiff(8, 3, [INDEX.tobytes()], more=MAP, big=True),
    "cmyk.tif": tiff(8, 5, [INK.tobytes()], samples=4), "cmyk-16.tif": tiff(16, 5, [(INK.astype("<u2") * 257).tobytes()], samples=4),
    "cmyk-planar.tif": tiff(8, 5, [INK[..., c].tobytes() for c in range(4)], samples=4, planar=2),
    "cmyk-extra.tif": tiff(8, 5, [np.dstack([INK, ALPHA]).tobytes()], samples=5, extra=[0]),
    "ycbcr.tif": tiff(8, 6, [YCC.round().clip(0, 255).astype(np.uint8).tobytes()], samples=3, more=[(530, "H", [1, 1])]),
    "lab.tif": tiff(8, 8, [RGB.tobytes()], samples=3),
    "orientation.tif": tiff(8, 2, [RGB.tobytes()], samples=3, more=[(274, "H", [6])]),
    "end-garbage.tif": tiff(8, 2, [RGB.tobytes()], samples=3) + b"garbage",
    "end-cut.tif": saved(picture, "TIFF")[:-50],
    "two-pages.tif": saved(picture, "TIFF", save_all=True, append_images=[ImageOps.invert(picture)]),
}
for name, compression in dict(lzw="tiff_lzw", deflate="tiff_adobe_deflate", packbits="packbits", jpeg="jpeg").items():
    files[f"{name}.tif"] = saved(picture, "TIFF", compression=compression)
    files[f"{name}-grey.tif"] = saved(grey, "TIFF", compression=compression)
files |= {
    "predictor.tif": saved(picture, "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
    "predictor-16.tif": saved(Image.fromarray(DEEP), "TIFF", compression="tiff_lzw", tiffinfo={317: 2}),
    "palette-lzw.tif": saved(p16, "TIFF", compression="tiff_lzw"),
    "group4.tif": saved(grey.convert("1"), "TIFF", compression="group4"), "group3.tif": saved(grey.convert("1"), "TIFF", compression="group3"),
    "jpeg-cmyk.tif": saved(Image.fromarray(INK, "CMYK"), "TIFF", compression="jpeg"),
}

pixels, refused, tensors, known = {}, {}, {}, {}
for name, data in files.items():
    tensors[name] = np.frombuffer(data, np.uint8)
    try:
        # As from a file on a disk, which libtiff reads by itself.
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            image = ImageOps.exif_transpose(Image.open(file.name)).convert("RGB")
    except Exception as error:
        refused[name] = f"{type(error).__name__}: {error}".replace(repr(file.name), "the file")
        continue
    array = np.array(image)
    pixels[name] = known.setdefault((array.shape, array.tobytes()), name + ".pixels")
    tensors[pixels[name]] = array
out = Path(__file__).parent / "pictures.safetensors.gz"
what = f"pictures and their pixels by Pillow {PIL.__version__}"
blob = save(tensors, {"what": what, "pixels": json.dumps(pixels), "refused": json.dumps(refused)})
out.write_bytes(gzip.compress(blob, 9, mtime=0))
print(len(files), "files,", out.stat().st_size, "bytes")
for name, why in refused.items():
    print("refused", name, why)

"""Writes JPEGs (ITU-T T.81) of kinds that common encoders do not offer: any sampling, ids, markers and order of scans."""
import struct

import numpy as np

ORDER = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
WAVES = np.array([[np.cos((2 * x + 1) * u * np.pi / 16) * (0.5 if u else 0.5 ** 1.5) for x in range(8)] for u in range(8)])
# Every difference of means in four bits, every other symbol in eight.
MEANS = {size: (size, 4) for size in range(12)}
OTHERS = {s: (i, 8) for i, s in enumerate([0, 0xF0] + [run << 4 | size for run in range(16) for size in range(1, 11)])}


def segment(kind, body):
    return bytes([0xFF, kind]) + struct.pack(">H", len(body) + 2) + body


def table(kind, codes):
    lengths = [0] * 16
    lengths[next(iter(codes.values()))[1] - 1] = len(codes)
    return segment(0xC4, bytes([kind]) + bytes(lengths) + bytes(codes))


class Bits:
    def __init__(self):
        self.bits = []

    def put(self, value, length):
        self.bits += [value >> (length - 1 - i) & 1 for i in range(length)]

    def value(self, value, size):
        self.put(value if value > 0 else value + (1 << size) - 1, size)

    def bytes(self):
        bits = self.bits + [1] * (-len(self.bits) % 8)
        return np.packbits(np.array(bits, np.uint8)).tobytes().replace(b"\xff", b"\xff\0")


def ycbcr(rgb):
    r, g, b = np.moveaxis(rgb.astype(float), -1, 0)
    y = 0.299 * r + 0.587 * g + 0.114 * b
    return np.stack([y, 128 + (b - y) / 1.772, 128 + (r - y) / 1.402], -1)


def jpeg(samples, sampling=None, ids=None, adobe=None, jfif=False, scans=None, restart=0, step=6, progressive=False):
    """`samples`: height x width x components as they are stored; `scans`: lists of components."""
    height, width, n = samples.shape
    sampling, ids, scans = sampling or [(1, 1)] * n, ids or list(range(1, n + 1)), scans or [list(range(n))]
    most = max(h for h, _ in sampling), max(v for _, v in sampling)
    mcus = -(-width // (8 * most[0])), -(-height // (8 * most[1]))
    blocks = []
    for c, (h, v) in enumerate(sampling):
        padded = np.pad(samples[..., c].astype(float), ((0, mcus[1] * 8 * most[1] - height), (0, mcus[0] * 8 * most[0] - width)), "edge")
        # Each sample is the pixel that it begins in, so that fractions too can be written.
        rows, columns = (np.arange(mcus[1] * 8 * v) * most[1]) // v, (np.arange(mcus[0] * 8 * h) * most[0]) // h
        plane = padded[rows][:, columns] - 128
        plane = plane.reshape(mcus[1] * v, 8, mcus[0] * h, 8).swapaxes(1, 2)
        blocks.append(np.rint(WAVES @ plane @ WAVES.T / step).astype(int).reshape(*plane.shape[:2], 64)[..., ORDER])

    def units(scan):
        if len(scan) == 1:
            (c,) = scan
            h, v = sampling[c]
            columns, rows = -(-(-(-width * h // most[0])) // 8), -(-(-(-height * v // most[1])) // 8)
            return [[(c, y, x)] for y in range(rows) for x in range(columns)]
        return [[(c, j * sampling[c][1] + y, i * sampling[c][0] + x) for c in scan for y in range(sampling[c][1])
                 for x in range(sampling[c][0])] for j in range(mcus[1]) for i in range(mcus[0])]

    def coded(scan, first, last):
        out, bits, before = b"", Bits(), [0] * n
        for count, unit in enumerate(units(scan)):
            if restart and count and count % restart == 0:
                out += bits.bytes() + bytes([0xFF, 0xD0 + (count // restart - 1) % 8])
                bits, before = Bits(), [0] * n
            for c, y, x in unit:
                block, at = blocks[c][y, x], max(first, 1)
                if first == 0:
                    difference, before[c] = int(block[0]) - before[c], int(block[0])
                    size = abs(difference).bit_length()
                    bits.put(*MEANS[size])
                    bits.value(difference, size)
                for k in range(at, last + 1):
                    if block[k]:
                        while k - at > 15:
                            bits.put(*OTHERS[0xF0])
                            at += 16
                        size = abs(int(block[k])).bit_length()
                        bits.put(*OTHERS[(k - at) << 4 | size])
                        bits.value(int(block[k]), size)
                        at = k + 1
                if at <= last:
                    bits.put(*OTHERS[0])
        return out + bits.bytes()

    out = b"\xff\xd8"
    if jfif:
        out += segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0")
    if adobe is not None:
        out += segment(0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([adobe]))
    out += segment(0xDB, bytes([0] + [step] * 64))
    frame = b"".join(bytes([ids[c], sampling[c][0] << 4 | sampling[c][1], 0]) for c in range(n))
    out += segment(0xC2 if progressive else 0xC0, struct.pack(">BHHB", 8, height, width, n) + frame)
    out += table(0x00, MEANS) + table(0x10, OTHERS)
    if restart:
        out += segment(0xDD, struct.pack(">H", restart))
    steps = [(scan, 0, 63) for scan in scans]
    if progressive:
        steps = [(scan, 0, 0) for scan in scans] + [([c], first, last) for first, last in [(1, 5), (6, 63)] for c in range(n)]
    for scan, first, last in steps:
        out += segment(0xDA, bytes([len(scan)]) + b"".join(bytes([ids[c], 0]) for c in scan) + bytes([first, last, 0]))
        out += coded(scan, first, last)
    return out + b"\xff\xd9"

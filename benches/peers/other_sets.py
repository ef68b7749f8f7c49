#!/usr/bin/env python3
"""Makes ten folder sets (train, val) of shared/data that `fit` was not developed on, the same each time.

needs: pip install pillow numpy
use:   other_sets.py ../shared/data OUT

Far from ImageNet in different ways: few pictures (dslr; few: six digits a class), other alphabets (omni5; alphabets: which of ten
a character is of), and what a network for objects has learnt to overlook: whether a digit is even (parity), which way up a
photograph is (rotation), what it was painted with (style), how many discs there are (count), how blurred it is (blur), and a class
of many kinds (domestic: of animals). Three of ten pictures are for val.
"""
import gzip, pathlib, shutil, struct, sys, zipfile

import numpy
from PIL import Image, ImageDraw, ImageFilter

DATA, OUT = map(pathlib.Path, sys.argv[1:3])


def part(i):
    return "val" if i % 10 in (3, 6, 9) else "train"


def folders(folder):
    return sorted(path for path in folder.iterdir() if path.is_dir())


def files(folder):
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in (".jpg", ".jpeg", ".png"))


def place(*names):
    path = OUT.joinpath(*names)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def save(image, name, part, label, index):
    image.save(place(name, part, label, f"{index}.png"))


def idx(path):
    data = gzip.decompress(path.read_bytes())
    shape = struct.unpack(">" + "I" * data[3], data[4 : 4 + 4 * data[3]])
    return numpy.frombuffer(data, numpy.uint8, offset=4 + 4 * data[3]).reshape(shape)


for folder in folders(DATA / "office_caltech10/dslr"):
    for i, file in enumerate(files(folder)):
        shutil.copyfile(file, place("dslr", part(i), folder.name, file.name))

with zipfile.ZipFile(DATA / "omniglot/images_background.zip") as archive:
    names = sorted(name for name in archive.namelist() if name.endswith(".png"))
    alphabets = sorted({name.split("/")[-3] for name in names})
    of = {alphabet: [name for name in names if name.split("/")[-3] == alphabet] for alphabet in alphabets}
    for name in of[alphabets[5]]:
        character, file = name.split("/")[-2:]
        drawer = int(file.split("_")[1].split(".")[0])
        place("omni5", part(drawer), character, file).write_bytes(archive.read(name))
    for alphabet in alphabets[10:20]:
        for i, name in enumerate(of[alphabet][::5][:60]):
            place("alphabets", part(i), alphabet, name.replace("/", "_")).write_bytes(archive.read(name))

digits, labels = (idx(DATA / f"mnist/t10k-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1"))
for odd, name in enumerate(("even", "odd")):
    rows = [row for row in range(3000, 10000) if labels[row] % 2 == odd]
    for i, row in enumerate(rows[:150]):
        save(Image.fromarray(digits[row]), "parity", part(i), name, row)
for digit in range(10):
    rows = numpy.flatnonzero(labels == digit)[200:236]
    for i, row in enumerate(rows):
        save(Image.fromarray(digits[row]), "few", "train" if i < 6 else "val", str(digit), row)

photographs = [file for folder in folders(DATA / "pacs/photo") for file in files(folder)]
for i, file in enumerate(photographs):
    turned = Image.open(file).convert("RGB").rotate(90 * (i % 4), expand=True)
    save(turned, "rotation", part(i // 4), str(90 * (i % 4)), i)
for i, file in enumerate(photographs[:240]):
    blurred = Image.open(file).convert("RGB").filter(ImageFilter.GaussianBlur((0, 1.2, 2.4)[i % 3]))
    save(blurred, "blur", part(i // 3), str(i % 3), i)
for style in ("photo", "art_painting", "cartoon", "sketch"):
    pictures = [file for folder in folders(DATA / "pacs" / style) for file in files(folder)][::3][:60]
    for i, file in enumerate(pictures):
        save(Image.open(file).convert("RGB"), "style", part(i), style, i)

matrix = numpy.loadtxt(DATA / "awa/predicate-matrix-binary.txt")
second = lambda file: [line.split()[1] for line in (DATA / "awa" / file).read_text().splitlines()]
animals, domestic = second("classes.txt"), second("predicates.txt").index("domestic")
for folder in folders(DATA / "animal_photos"):
    if folder.name in animals:
        answer = "yes" if matrix[animals.index(folder.name), domestic] else "no"
        for i, file in enumerate(files(folder)[:20]):
            shutil.copyfile(file, place("domestic", part(i), answer, folder.name + file.name))

random = numpy.random.default_rng(0)
for count in range(1, 6):
    for i in range(60):
        noise = random.random((160, 200, 3)) * 60 + random.integers(0, 150)
        image, discs = Image.fromarray(noise.astype(numpy.uint8)), []
        draw = ImageDraw.Draw(image)
        while len(discs) < count:
            x, y = random.integers(15, 185), random.integers(15, 145)
            if all((x - a) ** 2 + (y - b) ** 2 > 1000 for a, b in discs):
                discs.append((x, y))
                color = tuple(random.integers(120, 255, 3).tolist())
                draw.ellipse([x - 12, y - 12, x + 12, y + 12], fill=color)
        save(image, "count", part(i), str(count), i)

for folder in folders(OUT):
    pictures = {part: len(list((folder / part).glob("*/*"))) for part in ("train", "val")}
    print(folder.name, len(folders(folder / "train")), "classes,", pictures["train"], "train,", pictures["val"], "val")

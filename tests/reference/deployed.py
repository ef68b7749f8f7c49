"""Compares what `rekindle predict` says of pictures with what onnxruntime says by a file of `rekindle export --with-preprocessing`.

    python tests/reference/deployed.py target/release/rekindle runs/features app.onnx folder [--calibrated]

Pictures are decoded by Pillow for onnxruntime and by rekindle for `predict`; PNGs give both the same pixels. Prints the number of
pictures, the largest and the median of the largest differences of probabilities, and how many have the same best class. Needs
onnxruntime, Pillow and NumPy.
"""

import json
import pathlib
import subprocess
import sys

import numpy
import onnxruntime
from PIL import Image, ImageOps


def main():
    program, model, exported, folder, *more = sys.argv[1:]
    session = onnxruntime.InferenceSession(exported, providers=["CPUExecutionProvider"])
    names = json.loads(session.get_modelmeta().custom_metadata_map.get("classes", "[]"))
    names = names or [f"class {index}" for index in range(session.get_outputs()[0].shape[1])]
    files = sorted(str(path) for path in pathlib.Path(folder).rglob("*") if path.is_file())
    call = [program, "predict", model, *files, "--json", "--top", "1000000", *more]
    answers = subprocess.run(call, capture_output=True, text=True).stdout.splitlines()
    worst, same = [], 0
    for answer in map(json.loads, answers):
        if "error" in answer:
            print(answer["path"], answer["error"], file=sys.stderr)
            continue
        with Image.open(answer["path"]) as picture:
            pixels = numpy.asarray(ImageOps.exif_transpose(picture).convert("RGB"))[numpy.newaxis]
        found = session.run(["probabilities"], {"pixels": pixels})[0][0]
        said = {one["class"]: one["probability"] for one in answer["predictions"]}
        said = numpy.array([said[name] for name in names])
        worst.append((float(numpy.abs(found - said).max()), answer["path"]))
        same += int(found.argmax() == said.argmax())
    largest, path = max(worst)
    median = numpy.median([off for off, _ in worst])
    print(f"{len(worst)} pictures: largest {largest:.2e} ({path}), median {median:.1e}, same best class {same}")


if __name__ == "__main__":
    main()

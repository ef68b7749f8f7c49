"""Answers to pictures by a model that `rekindle export --with-preprocessing` wrote.

    python predict.py model.onnx picture.jpg ...

Prints one JSON object per picture, as `rekindle predict --json` does. Needs onnxruntime, Pillow and NumPy, and nothing of
rekindle.
"""

import argparse
import json
import sys

import numpy
import onnxruntime
from PIL import Image, ImageOps


def pixels(path):
    """Returns a picture as bytes `[1, height, width, 3]`, upright and in the order red, green, blue."""
    with Image.open(path) as picture:
        upright = ImageOps.exif_transpose(picture)
        return numpy.asarray(upright.convert("RGB"))[numpy.newaxis]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model")
    arguments.add_argument("pictures", nargs="+")
    arguments.add_argument("--top", type=int, default=1, help="number of classes to name for each picture")
    arguments = arguments.parse_args()
    session = onnxruntime.InferenceSession(arguments.model, providers=["CPUExecutionProvider"])
    names = session.get_modelmeta().custom_metadata_map.get("classes")
    names = json.loads(names) if names else None
    failed = False
    for path in arguments.pictures:
        try:
            picture = pixels(path)
        except (OSError, ValueError) as error:
            print(f"{path}: {error}", file=sys.stderr)
            failed = True
            continue
        probabilities = session.run(["probabilities"], {"pixels": picture})[0][0]
        best = numpy.argsort(-probabilities, kind="stable")[: arguments.top]
        answers = [
            {"class": names[index] if names else f"class {index}", "probability": float(probabilities[index])}
            for index in best
        ]
        print(json.dumps({"path": path, "predictions": answers}, ensure_ascii=False))
    return 3 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

"""Label issues by cleanlab and measures of pictures by Pillow and NumPy, for tests of the audit.

pip install cleanlab numpy pillow
"""
import json
import pathlib

import cleanlab
import numpy
import PIL
from cleanlab.count import compute_confident_joint
from cleanlab.filter import find_label_issues
from cleanlab.rank import get_label_quality_scores
from PIL import Image

HERE = pathlib.Path(__file__).parent
IMAGES, CLASSES = 150, 4


def probabilities():
    """Answers of a middling classifier, a tenth of whose labels were exchanged; the last class is rarely sure."""
    random = numpy.random.default_rng(3)
    truth = random.choice(CLASSES, IMAGES, p=[0.4, 0.3, 0.2, 0.1])
    scores = random.normal(size=(IMAGES, CLASSES))
    scores[numpy.arange(IMAGES), truth] += numpy.array([3.0, 2.5, 2.0, 1.2])[truth]
    labels = truth.copy()
    wrong = random.choice(IMAGES, IMAGES // 10, replace=False)
    labels[wrong] = (truth[wrong] + random.integers(1, CLASSES, len(wrong))) % CLASSES
    powers = numpy.exp(scores)
    return numpy.round(powers / powers.sum(1, keepdims=True), 5), labels


def label_issues():
    p, labels = probabilities()

    def found(rule):
        ranked = find_label_issues(
            labels, p, filter_by=rule, return_indices_ranked_by="self_confidence", n_jobs=1
        )
        return ranked.tolist()

    quality = get_label_quality_scores(labels, p, method="self_confidence", adjust_pred_probs=False)
    return {
        "probabilities": p.ravel().tolist(),
        "labels": labels.tolist(),
        "classes": CLASSES,
        "confident_joint": compute_confident_joint(labels, p).ravel().tolist(),
        "confidence": found("confident_learning"),
        "noise_rate": found("prune_by_noise_rate"),
        "quality": numpy.round(quality, 5).tolist(),
    }


def drawing(width, height):
    """As `drawing` in the test: steps and waves in integers."""
    y, x = numpy.mgrid[:height, :width]
    channels = [(x * 7 + y * 13) % 256, (x * y // 3) % 256, (x * x + 5 * y) % 200]
    return numpy.stack(channels, -1).astype(numpy.uint8)


def looks(pixels):
    luma = numpy.asarray(Image.fromarray(pixels).convert("L"), dtype=float)
    inner = luma[1:-1, 1:-1]
    edges = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:] - 4 * inner
    shadows, lights = numpy.percentile(luma, [5, 99], method="inverted_cdf")
    return {
        "size": [luma.shape[1], luma.shape[0]],
        "shadows": shadows / 255,
        "lights": lights / 255,
        "contrast": luma.std() / 255,
        "sharpness": edges.var(),
    }


numbers = {
    "by": f"cleanlab {cleanlab.__version__}, numpy {numpy.__version__}, pillow {PIL.__version__}",
    "label_issues": label_issues(),
    "looks": [looks(drawing(*size)) for size in [(61, 45), (250, 33)]],
}
(HERE / "audit.json").write_text(json.dumps(numbers, separators=(",", ":")) + "\n")

"""Curves per class, areas, and Mahalanobis distances by scikit-learn, for tests of rankings and of unknown classes.

pip install numpy scikit-learn
"""
import json
import pathlib

import numpy
import sklearn
from sklearn.covariance import LedoitWolf
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

HERE = pathlib.Path(__file__).parent
IMAGES, CLASSES = 60, 3


def ranking():
    """Probabilities in steps of a twentieth, so that many are equal."""
    random = numpy.random.default_rng(5)
    labels = random.choice(CLASSES, IMAGES, p=[0.5, 0.3, 0.2])
    mean = numpy.full((IMAGES, CLASSES), 0.2)
    mean[numpy.arange(IMAGES), labels] += 0.4
    probabilities = numpy.stack([random.multinomial(20, row) for row in mean]) / 20
    classes = []
    for c in range(CLASSES):
        truth, score = labels == c, probabilities[:, c]
        false, true, _ = roc_curve(truth, score, drop_intermediate=False)
        precision, recall, _ = precision_recall_curve(truth, score)
        classes.append({
            "auroc": roc_auc_score(truth, score),
            "average_precision": average_precision_score(truth, score),
            "roc": numpy.stack([false, true], 1).tolist(),
            # From the strictest threshold on.
            "precision_recall": numpy.stack([recall, precision], 1)[::-1].tolist(),
        })
    return {
        "probabilities": probabilities.ravel().tolist(),
        "labels": labels.tolist(),
        "classes": classes,
        "macro_auroc": roc_auc_score(labels, probabilities, multi_class="ovr", average="macro"),
        "macro_average_precision": average_precision_score(numpy.eye(CLASSES)[labels], probabilities, average="macro"),
    }


def areas():
    """Scores of unknown and known images, with equal ones among them."""
    random = numpy.random.default_rng(6)
    unknown = numpy.round(random.normal(1.0, 1.0, 40), 1)
    known = numpy.round(random.normal(0.0, 1.0, 70), 1)
    # As for out-of-distribution detection: known images are the positives.
    truth = numpy.r_[numpy.zeros(40), numpy.ones(70)]
    false, true, _ = roc_curve(truth, -numpy.r_[unknown, known], drop_intermediate=False)
    return {
        "unknown": unknown.tolist(),
        "known": known.tolist(),
        "auroc": roc_auc_score(1 - truth, numpy.r_[unknown, known]),
        "false_positive_rate": false[numpy.argmax(true >= 0.95)],
    }


def unit(rows):
    rows = rows.astype("float64")
    return rows / numpy.linalg.norm(rows, axis=1, keepdims=True)


def mahalanobis(images, dim):
    random = numpy.random.default_rng(7)
    labels = numpy.arange(images) % CLASSES
    mixing = random.normal(size=(dim, dim)) * numpy.linspace(0.1, 1, dim)
    features = (random.normal(size=(images, dim)) @ mixing + 2 * labels[:, None]).astype("float32")
    features = numpy.round(features, 3).astype("float32")
    queries = numpy.round(random.normal(size=(5, dim)) * 3, 3).astype("float32")
    wide = unit(features)
    means = numpy.stack([wide[labels == c].mean(0) for c in range(CLASSES)])
    estimate = LedoitWolf(assume_centered=True).fit(wide - means[labels])
    inverse = numpy.linalg.inv(estimate.covariance_)
    away = unit(queries)[:, None] - means[None]
    return {
        "features": features.ravel().tolist(),
        "labels": labels.tolist(),
        "dim": dim,
        "queries": queries.ravel().tolist(),
        "distances": numpy.einsum("qcd,de,qce->qc", away, inverse, away).min(1).tolist(),
    }


numbers = {
    "by": f"numpy {numpy.__version__}, scikit-learn {sklearn.__version__}",
    "ranking": ranking(),
    "areas": areas(),
    # More images than dimensions, and fewer.
    "mahalanobis": [mahalanobis(30, 4), mahalanobis(9, 12)],
}
(HERE / "open_set.json").write_text(json.dumps(numbers) + "\n")

"""Makes the numbers of `the_temperature_agrees_with_scikit_learn` in ../metrics.rs: python temperature.py

With two classes, scaling logits by 1 / T is a logistic regression on their difference without intercept or penalty, whose
coefficient is 1 / T. With more it is one number to minimise the cross entropy by. Cross-fitting holds out every fifth
sample, as rekindle does.
"""

import math

import numpy as np
import scipy
import sklearn
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression


def samples(classes, truth, count=200):
    """Logits from a sine; labels that softmax(logits / truth) would draw, at evenly spread places."""
    logits = np.array([[5 * math.sin(0.7 * i + 1.9 * c) for c in range(classes)] for i in range(count)])
    places = np.array([(0.6180339887498949 * i) % 1.0 for i in range(count)])
    honest = np.exp(log_softmax(logits / truth, axis=1)).cumsum(axis=1)
    labels = np.minimum((places[:, None] >= honest).sum(axis=1), classes - 1)
    return logits, labels


def temperature(logits, labels):
    if logits.shape[1] == 2:
        difference = (logits[:, 1] - logits[:, 0])[:, None]
        model = LogisticRegression(C=np.inf, fit_intercept=False, tol=1e-12, max_iter=10_000)
        return 1 / model.fit(difference, labels).coef_[0, 0]
    rows = np.arange(len(labels))
    loss = lambda log_t: -log_softmax(logits / math.exp(log_t), axis=1)[rows, labels].mean()
    return math.exp(minimize_scalar(loss, bounds=(-3, 3), options={"xatol": 1e-10}).x)


def cross_entropy(logits, labels, t):
    return -log_softmax(logits / t, axis=1)[np.arange(len(labels)), labels].mean()


print("scikit-learn", sklearn.__version__, "scipy", scipy.__version__)
for classes, truth in [(2, 1.8), (2, 0.6), (4, 2.5)]:
    logits, labels = samples(classes, truth)
    after = 0.0
    for fold in range(5):
        out = np.arange(len(labels)) % 5 == fold
        after += cross_entropy(logits[out], labels[out], temperature(logits[~out], labels[~out])) * out.sum()
    values = temperature(logits, labels), cross_entropy(logits, labels, 1.0), after / len(labels)
    print(f"({classes}, {truth:.1f}, {values[0]:.7f}, {values[1]:.9f}, {values[2]:.9f}),")

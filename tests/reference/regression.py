"""Numbers for one number a picture, in regression.json: losses and their gradients by torch, figures and heads by scikit-learn,
intervals by MAPIE.

    python regression.py
"""

import json
from pathlib import Path

import numpy as np
import torch
from mapie.conformity_scores import AbsoluteConformityScore
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.metrics import (
    mean_absolute_error,
    median_absolute_error,
    r2_score,
    root_mean_squared_error,
)

IMAGES, WIDTH = 24, 5

rng = np.random.default_rng(17)
# Rounded to what a 32-bit float holds.
features = rng.normal(size=(IMAGES, WIDTH)).round(3).astype(np.float32).astype(float)
numbers = 40 + features @ [6.0, -3.0, 0.5, 0.0, 9.0] + 4 * rng.normal(size=IMAGES)
numbers = numbers.round(2).astype(np.float32).astype(float)
answers = (numbers + 5 * rng.normal(size=IMAGES)).round(2).astype(np.float32).astype(float)
weights = np.tile([1.0, 0.0, 2.5], IMAGES // 3)
alphas = [0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]


def losses(of):
    """Loss and gradient of standardised answers."""
    mean, deviation = numbers.mean(), numbers.std()
    z = torch.tensor((answers - mean) / deviation, requires_grad=True)
    y = torch.tensor((numbers - mean) / deviation)
    loss = of(z, y)
    loss.backward()
    return {"loss": loss.item(), "gradient": z.grad.tolist()}


ridge = RidgeCV(alphas=alphas, store_cv_results=True).fit(features, numbers)
weighed = Ridge(alpha=2.0).fit(features, numbers, sample_weight=weights)


class Known(RegressorMixin, BaseEstimator):
    """Answers that are there already; the only feature is their position."""

    def fit(self, X, y):
        return self

    def __sklearn_is_fitted__(self):
        return True

    def predict(self, X):
        return answers[np.asarray(X)[:, 0].astype(int)]


def half_width(coverage):
    conformal = SplitConformalRegressor(
        Known(), confidence_level=coverage, conformity_score=AbsoluteConformityScore(), prefit=True
    )
    rows = np.arange(IMAGES)[:, None]
    conformal.conformalize(rows, numbers)
    _, ends = conformal.predict_interval(rows)
    return float(ends[0, 1, 0] - ends[0, 0, 0]) / 2


known = {
    "features": features.flatten().tolist(),
    "numbers": numbers.tolist(),
    "answers": answers.tolist(),
    "mean": numbers.mean(),
    "deviation": numbers.std(),
    "l1": losses(torch.nn.L1Loss()),
    "l2": losses(torch.nn.MSELoss()),
    "huber": losses(torch.nn.HuberLoss(delta=1.0)),
    "huber=0.3": losses(torch.nn.HuberLoss(delta=0.3)),
    "mae": mean_absolute_error(numbers, answers),
    "rmse": root_mean_squared_error(numbers, answers),
    "r2": r2_score(numbers, answers),
    "median_absolute_error": median_absolute_error(numbers, answers),
    "alphas": alphas,
    "squared_errors": ridge.cv_results_.mean(axis=0).tolist(),
    "alpha": ridge.alpha_,
    "coefficients": ridge.coef_.tolist(),
    "intercept": ridge.intercept_,
    "weights": weights.tolist(),
    "weighed_coefficients": weighed.coef_.tolist(),
    "weighed_intercept": weighed.intercept_,
    "half_widths": {str(coverage): half_width(coverage) for coverage in [0.5, 0.8, 0.9, 0.95]},
}
path = Path(__file__).with_name("regression.json")
path.write_text(json.dumps(known, separators=(",", ":")) + "\n")

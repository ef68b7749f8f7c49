"""Losses and gradients from PyTorch in f64, for `losses.rs`; writes `pytorch.json` beside itself.

Written from the papers' formulas, with PyTorch's own functions where it has them. Inputs follow
`value(i, j) = sin(0.7 i + 1.3 j + phase)`.
"""

import json
import math
from pathlib import Path

import torch
import torch.nn.functional as F

torch.set_default_dtype(torch.float64)


def matrix(rows, columns, phase, scale=1.0):
    i = torch.arange(rows).double()[:, None]
    j = torch.arange(columns).double()[None]
    return (scale * torch.sin(0.7 * i + 1.3 * j + 0.11 * i * j + phase)).requires_grad_()


def entropy(p):
    return -(p * p.log()).sum(1)


def domain(s, t):
    zeros, ones = torch.zeros_like, torch.ones_like
    bce = F.binary_cross_entropy_with_logits
    return 0.5 * (bce(s, ones(s)) + bce(t, zeros(t)))


def weighted_domain(s, t):
    ws = 1 + torch.exp(-entropy(F.softmax(matrix(5, 3, 0.3).detach(), 1)))
    wt = 1 + torch.exp(-entropy(F.softmax(matrix(4, 3, 0.9).detach(), 1)))
    ls, lt = F.softplus(-s[:, 0]), F.softplus(t[:, 0])
    return 0.5 * ((ws * ls).sum() / ws.sum() + (wt * lt).sum() / wt.sum())


def confusion(s, t):
    z = torch.cat([s, t])
    half = torch.full((len(z), 2), 0.5)
    return F.cross_entropy(torch.cat([z, torch.zeros_like(z)], 1), half)


def mmd(s, t):
    x = torch.cat([s, t])
    d = torch.tensor(0.0)
    n = len(x)
    squared = ((x[:, None] - x[None]) ** 2).sum(2)
    b = squared.detach().sum() / (n * (n - 1))
    k = sum(torch.exp(-squared / (a * b)) for a in (0.125, 0.25, 0.5, 1.0, 2.0)) / 5
    m = len(s)
    return d + k[:m, :m].mean() + k[m:, m:].mean() - 2 * k[:m, m:].mean()


def coral(s, t):
    return ((torch.cov(s.T) - torch.cov(t.T)) ** 2).sum() / (4 * s.shape[1] ** 2)


def mcc(z):
    p = F.softmax(z / 2.5, 1)
    w = 1 + torch.exp(-entropy(p.detach()))
    w = len(p) * w / w.sum()
    c = p.T @ (p * w[:, None])
    c = c / c.sum(1, keepdim=True)
    return (c.sum() - c.trace()) / len(c)


def information(z):
    p = F.softmax(z, 1)
    return entropy(p).mean() - entropy(p.mean(0, keepdim=True))[0]


def pseudo(z):
    p = F.softmax(z, 1).detach()
    top, label = p.max(1)
    return ((top >= 0.6) * F.cross_entropy(z, label, reduction="none")).mean()


def distillation(s, t):
    t = t.detach()
    return 9 * F.kl_div(F.log_softmax(s / 3, 1), F.softmax(t / 3, 1), reduction="batchmean")


def pairs(n):
    return [(i, j) for i in range(n) for j in range(n) if i != j]


def rkd_distance(s, t):
    t = t.detach()
    def relative(x):
        d = torch.stack([(x[i] - x[j]).norm() for i, j in pairs(len(x))])
        return d / d.mean()
    return F.smooth_l1_loss(relative(s), relative(t))


def rkd_angle(s, t):
    t = t.detach()
    def cosines(x):
        return torch.stack([
            F.cosine_similarity(x[i] - x[j], x[k] - x[j], 0)
            for i, j in pairs(len(x)) for k in range(len(x)) if k not in (i, j)
        ])
    return F.smooth_l1_loss(cosines(s), cosines(t))


def simsiam(p, z):
    q, y = matrix(5, 4, 2.0).detach(), matrix(5, 4, 2.5).detach()
    return -0.5 * (F.cosine_similarity(p, y).mean() + F.cosine_similarity(q, z.detach()).mean())


def barlow(a, b):
    normal = lambda x: (x - x.mean(0)) / x.std(0, unbiased=False)
    c = normal(a).T @ normal(b) / len(a)
    on = ((torch.diagonal(c) - 1) ** 2).sum()
    off = (c**2).sum() - (torch.diagonal(c) ** 2).sum()
    return on + 0.005 * off


def prototypical(s, q):
    proto = s.reshape(3, 2, -1).mean(1)
    logits = -((q[:, None] - proto[None]) ** 2).sum(2)
    return F.cross_entropy(logits, torch.tensor([0, 1, 2, 0]))


CASES = {
    "domain": (domain, (5, 1, 0.3), (4, 1, 1.1)),
    "weighted_domain": (weighted_domain, (5, 1, 0.3), (4, 1, 1.1)),
    "confusion": (confusion, (5, 1, 0.3), (4, 1, 1.1)),
    "mmd": (mmd, (5, 4, 0.3), (6, 4, 1.1)),
    "coral": (coral, (5, 4, 0.3), (6, 4, 1.1)),
    "mcc": (mcc, (7, 4, 0.3, 3.0)),
    "entropy": (lambda z: entropy(F.softmax(z, 1)).mean(), (7, 4, 0.3, 3.0)),
    "information": (information, (7, 4, 0.3, 3.0)),
    "pseudo": (pseudo, (7, 4, 0.3, 3.0)),
    "distillation": (distillation, (5, 4, 0.3, 3.0), (5, 4, 1.1, 3.0)),
    "rkd_distance": (rkd_distance, (5, 4, 0.3), (5, 3, 1.1)),
    "rkd_angle": (rkd_angle, (5, 4, 0.3), (5, 3, 1.1)),
    "simsiam": (simsiam, (5, 4, 0.3), (5, 4, 1.1)),
    "barlow": (barlow, (7, 4, 0.3), (7, 4, 1.1)),
    "prototypical": (prototypical, (6, 4, 0.3), (4, 4, 1.1)),
}

found = {}
for name, (loss, *inputs) in CASES.items():
    x = [matrix(*shape) for shape in inputs]
    value = loss(*x)
    value.backward()
    assert math.isfinite(value.item())
    gradients = [(torch.zeros_like(t) if t.grad is None else t.grad).flatten().tolist() for t in x]
    found[name] = {"loss": value.item(), "gradients": gradients}
path = Path(__file__).with_name("pytorch.json")
path.write_text(json.dumps(found, indent=1) + "\n")

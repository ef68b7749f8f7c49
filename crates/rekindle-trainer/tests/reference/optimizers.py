"""Three steps of other optimisers in 64 bits: the numbers in src/optimizer/mod.rs."""

import math

import torch

GRADIENTS = [[0.5, -1.0, 0.0], [0.25, 2.0, 1e-6], [-1.0, 0.125, 3.0]]
START = [1.0, -0.5, 2.0]
MADE = {
    "adam": lambda w: torch.optim.Adam([w], lr=0.05, weight_decay=0.1),
    "rmsprop": lambda w: torch.optim.RMSprop([w], lr=0.05, weight_decay=0.1),
    "rmsprop, momentum 0.9": lambda w: torch.optim.RMSprop([w], lr=0.05, weight_decay=0.1, momentum=0.9),
}
for name, made in MADE.items():
    weight = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    optimizer = made(weight)
    for gradient in GRADIENTS:
        weight.grad = torch.tensor(gradient, dtype=torch.float64)
        optimizer.step()
    print(name, weight.tolist())

weights, momenta = list(START), [0.0] * 3
for gradient in GRADIENTS:
    for i, g in enumerate(gradient):
        c = 0.9 * momenta[i] + 0.1 * g
        sign = 0.0 if c == 0 else math.copysign(1, c)
        weights[i] -= 0.05 * (sign + 0.1 * weights[i])
        momenta[i] = 0.99 * momenta[i] + 0.01 * g
print("lion", weights)

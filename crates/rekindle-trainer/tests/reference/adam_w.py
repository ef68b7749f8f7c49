"""Three steps of PyTorch's AdamW in 64 bits: the numbers in src/optimizer/adam_w.rs."""

import torch

weight = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64, requires_grad=True)
optimizer = torch.optim.AdamW([weight], lr=0.05, weight_decay=0.1)
for gradient in [[0.5, -1.0, 0.0], [0.25, 2.0, 1e-6], [-1.0, 0.125, 3.0]]:
    weight.grad = torch.tensor(gradient, dtype=torch.float64)
    optimizer.step()
print(weight.tolist())

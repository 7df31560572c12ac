"""Muon for convolution kernels, AdamW for the rest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised by Newton-Schulz steps (K. Jordan et al., 2024), for kernels.

    ``torch.optim.Muon`` takes matrices only; this one flattens a kernel (out, in, k, k) to
    (out, in k k) and treats kernels of one shape as one batch, because the matrices here are small
    and many. An update has the size 0.2 sqrt(max(rows, columns)) sqrt(max(1, rows / columns)).

    Args:
        params: tensors of two or more dimensions.
        lr: learning rate.
        momentum: Nesterov momentum.
        weight_decay: decoupled weight decay.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[(p.shape[0], p[0].numel())].append(p)
            for (rows, columns), params in by_shape.items():
                gradients = [p.grad for p in params if p.grad is not None]
                for p in params:
                    if "momentum" not in self.state[p]:
                        self.state[p]["momentum"] = torch.zeros_like(p)
                momenta = [self.state[p]["momentum"] for p in params]
                torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, momenta, group["momentum"])
                updates = orthogonalise(torch.stack([x.reshape(rows, columns) for x in ahead]))
                scale = 0.2 * math.sqrt(max(rows, columns)) * math.sqrt(max(1, rows / columns))
                torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
                changes = [x.reshape(p.shape) for x, p in zip(updates, params, strict=True)]
                torch._foreach_add_(params, changes, alpha=-group["lr"] * scale)


def orthogonalise(matrices: Tensor, steps: int = 5) -> Tensor:
    """Push the singular values of a batch (B, rows, columns) of matrices towards 1."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(steps):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def build_optimizers(
    net: nn.Module, learning_rate: float, bias_learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Muon over all kernels, AdamW over biases."""
    kernels = [p for p in net.parameters() if p.dim() >= 2]
    others = [p for p in net.parameters() if p.dim() < 2]
    return [
        Muon(kernels, learning_rate, weight_decay=weight_decay),
        torch.optim.AdamW(others, bias_learning_rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]

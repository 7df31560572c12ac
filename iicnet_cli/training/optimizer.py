"""The optimizers, Muon for convolution kernels and AdamW for biases, and their schedule."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class Muon(torch.optim.Optimizer):
    """Momentum that is orthogonalised by Newton-Schulz iterations (K. Jordan et al., 2024).

    ``torch.optim.Muon`` takes matrices only. This one flattens a kernel (out, in, k, k) to a matrix
    (out, in k k), and treats kernels of one shape as one batch, because the matrices here are small
    and many. The orthogonalised momentum is scaled by
    0.2 sqrt(max(rows, columns)) sqrt(max(1, rows / columns)).

    Args:
        params: tensors of two or more dimensions.
        lr: learning rate.
        momentum: decay of the Nesterov momentum per step.
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
        """Update all parameters that have a gradient.

        Raises:
            ValueError: a closure was given.
        """
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            by_shape: dict[tuple[int, int], list[Tensor]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is not None:
                    by_shape[(p.shape[0], p[0].numel())].append(p)
            for shape, params in by_shape.items():
                self._update(params, shape, group)

    def _update(self, params: list[Tensor], shape: tuple[int, int], group: dict[str, Any]) -> None:
        """Update the parameters that flatten to matrices of one shape (rows, columns)."""
        rows, columns = shape
        gradients = [p.grad for p in params if p.grad is not None]
        for p in params:
            if "momentum" not in self.state[p]:
                self.state[p]["momentum"] = torch.zeros_like(p)
        momenta = [self.state[p]["momentum"] for p in params]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        nesterov = torch._foreach_lerp(gradients, momenta, group["momentum"])
        directions = orthogonalise(torch.stack([x.reshape(rows, columns) for x in nesterov]))
        scale = 0.2 * math.sqrt(max(rows, columns)) * math.sqrt(max(1, rows / columns))
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        changes = [x.reshape(p.shape) for x, p in zip(directions, params, strict=True)]
        torch._foreach_add_(params, changes, alpha=-group["lr"] * scale)


def orthogonalise(matrices: Tensor, iterations: int = 5) -> Tensor:
    """Push the singular values of matrices (B, rows, columns) towards 1, roughly 0.7 to 1.2."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices / (matrices.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


def build_optimizers(
    net: nn.Module, learning_rate: float, bias_learning_rate: float, weight_decay: float
) -> list[torch.optim.Optimizer]:
    """Return Muon for all kernels of the network, and AdamW for its biases.

    Args:
        net: the network whose parameters are optimized.
        learning_rate: peak learning rate of Muon.
        bias_learning_rate: peak learning rate of AdamW.
        weight_decay: decoupled weight decay of the kernels.
    """
    kernels = [p for p in net.parameters() if p.dim() >= 2]
    biases = [p for p in net.parameters() if p.dim() < 2]
    return [
        Muon(kernels, learning_rate, weight_decay=weight_decay),
        torch.optim.AdamW(biases, bias_learning_rate, betas=(0.9, 0.99), weight_decay=0.0),
    ]


def learning_rate_factor(progress: float, warmup: float) -> float:
    """Return the learning rate as a share of its peak: a linear rise, then a cosine fall to zero.

    Args:
        progress: share of the run that is done, 0 to 1.
        warmup: share of the run during which the rate rises.
    """
    if progress < warmup:
        return (progress + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))

"""The contract that the modules of the network keep, and the invertible 1x1 convolution."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Invertible(nn.Module, ABC):
    """A bijection of tensors: ``inverse(forward(x)) == x`` up to rounding.

    Both passes are differentiable and keep nothing on the module.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Images towards embedding."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Embedding towards images."""


class InvertibleConv1x1(Invertible):
    """Learned square 1x1 convolution (Glow, [16] of the paper), (B, M, H, W) to the same shape.

    Args:
        channels: M.
        init: ``identity`` or a random rotation (``orthogonal``).
    """

    def __init__(self, channels: int, init: str = "identity") -> None:
        super().__init__()
        weight = torch.eye(channels)
        if init == "orthogonal":
            weight = nn.init.orthogonal_(weight)
        self.weight = nn.Parameter(weight)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight[:, :, None, None])

    def inverse(self, y: Tensor) -> Tensor:
        # In double, whatever the network runs in: the error of the inverse would be amplified
        # by every block that follows.
        # Unchecked: to be told of a singular matrix, a GPU would have to be waited for.
        weight, _ = torch.linalg.inv_ex(self.weight.double())
        return F.conv2d(y, weight.to(self.weight.dtype)[:, :, None, None])

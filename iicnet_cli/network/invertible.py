"""The contract of the invertible modules, and the invertible 1x1 convolution."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Invertible(nn.Module, ABC):
    """A bijection of tensors: ``inverse(forward(x)) == x`` up to floating-point rounding.

    Both passes are differentiable and store nothing in the module.
    """

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Map from the side of the images to the side of the embedding."""

    @abstractmethod
    def inverse(self, y: Tensor) -> Tensor:
        """Map from the side of the embedding to the side of the images."""


class InvertibleConv1x1(Invertible):
    """Learned square 1x1 convolution (Glow, [16] of the paper), which mixes channels.

    Both passes map (B, M, H, W) to the same shape.

    Args:
        channels: M.
        init: ``identity``, or ``orthogonal`` for a random rotation.
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
        # The matrix is inverted in double, because every block that follows amplifies its error.
        # inv_ex does not check for singular matrices: the check would wait for the GPU.
        weight, _ = torch.linalg.inv_ex(self.weight.double())
        return F.conv2d(y, weight.to(self.weight.dtype)[:, :, None, None])

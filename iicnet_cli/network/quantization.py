"""Quantization layer (section 3.1): the embedding has to survive eight bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Quantization(nn.Module):
    """Embedding in 0..1 to levels of 1/255, clamped to 0..1.

    In training mode, by default, uniform noise of one level's width stands for the rounding [8];
    with ``straight_through`` the rounding itself is used and its gradient passed on unchanged.
    In evaluation mode the values are rounded.
    """

    def __init__(self, *, straight_through: bool = False) -> None:
        super().__init__()
        self.straight_through = straight_through

    def forward(self, e: Tensor) -> Tensor:
        levels = e * 255
        if self.training and not self.straight_through:
            levels = levels + (torch.rand_like(levels) - 0.5)
        elif self.training:
            levels = levels + (levels.round() - levels).detach()
        else:
            levels = levels.round()
        return levels.clamp(0, 255) / 255

"""Quantization layer (section 3.1): the embedding has to survive eight bits."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter


class Quantization(nn.Module):
    """Embedding in 0..1 to levels of 1/255, clamped to 0..1.

    In training mode, by default, uniform noise of one level's width stands for the rounding [8];
    with ``feedback`` diffused as the errors of rounding are (``iicnet_cli/rounding``). With
    ``straight_through`` the rounding itself is used and its gradient passed on unchanged. In
    evaluation mode the values are rounded.
    """

    def __init__(
        self, *, straight_through: bool = False, feedback: NoiseShapingFilter | None = None
    ) -> None:
        super().__init__()
        self.straight_through = straight_through
        self._kernel = None if feedback is None else _kernel(feedback)

    def forward(self, e: Tensor) -> Tensor:
        levels = e * 255
        if self.training and not self.straight_through:
            levels = levels + self._diffused(torch.rand_like(levels) - 0.5)
        elif self.training:
            levels = levels + (levels.round() - levels).detach()
        else:
            levels = levels.round()
        return levels.clamp(0, 255) / 255

    def _diffused(self, noise: Tensor) -> Tensor:
        if self._kernel is None:
            return noise
        return functional.conv2d(functional.pad(noise, (1, 1, 1, 0)), self._kernel.to(noise))


def _kernel(feedback: NoiseShapingFilter) -> Tensor:
    """(C, C, 2, 3) of a convolution that adds to each error what is fed back of those before."""
    channels = feedback.shape[1]
    kernel = torch.zeros(channels, channels, 2, 3)
    for (y, x), square in zip(NEIGHBOURS, torch.from_numpy(feedback), strict=True):
        kernel[:, :, 1 + y, 1 + x] += square.T
    kernel[:, :, 1, 1] += torch.eye(channels)
    return kernel

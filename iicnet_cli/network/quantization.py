"""Quantization layer (section 3.1): the embedding is stored in 8 bits per sample."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter


class Quantization(nn.Module):
    """Quantize an embedding to 256 values, k / 255.

    In evaluation mode the values are rounded. In training mode uniform noise of the width of one
    quantization step stands for the rounding error, as in [8] of the paper.

    Args:
        straight_through: round in training mode too, and pass the gradient on unchanged.
        noise_shaping: filter by which :class:`RowQuantizer` diffuses rounding errors; it shapes
            the noise of the training mode, too.
    """

    def __init__(
        self, *, straight_through: bool = False, noise_shaping: NoiseShapingFilter | None = None
    ) -> None:
        super().__init__()
        self.straight_through = straight_through
        self._kernel = None if noise_shaping is None else _build_kernel(noise_shaping)

    def forward(self, e: Tensor) -> Tensor:
        """(B, C_e, H_e, W_e), about 0..1, to the same shape, clamped to 0..1."""
        values = e * 255
        if self.training and not self.straight_through:
            values = values + self._shape(torch.rand_like(values) - 0.5)
        elif self.training:
            values = values + (values.round() - values).detach()
        else:
            values = values.round()
        return values.clamp(0, 255) / 255

    def _shape(self, noise: Tensor) -> Tensor:
        if self._kernel is None:
            return noise
        return F.conv2d(F.pad(noise, (1, 1, 1, 0)), self._kernel.to(noise))


def _build_kernel(noise_shaping: NoiseShapingFilter) -> Tensor:
    """Return the (C, C, 2, 3) convolution kernel that adds the diffused errors to each error."""
    channels = noise_shaping.shape[1]
    kernel = torch.zeros(channels, channels, 2, 3)
    for (y, x), weights in zip(NEIGHBOURS, torch.from_numpy(noise_shaping), strict=True):
        kernel[:, :, 1 + y, 1 + x] += weights.T
    kernel[:, :, 1, 1] += torch.eye(channels)
    return kernel

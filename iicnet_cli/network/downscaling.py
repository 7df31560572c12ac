"""Invertible downscaling, equation (2): Haar wavelets or pixel shuffle."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.network.invertible import Invertible

# Rows are the four bands (mean, horizontal, vertical and diagonal difference), columns the
# pixels 00, 01, 10, 11 of a 2x2 cell.
_HAAR = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 4.0


class InvertibleDownscaling(Invertible):
    """(B, N, H, W) to (B, 4N, H/2, W/2) and back, exactly.

    Both kinds are one fixed convolution of 2x2 cells with stride 2.

    Args:
        images: number of images that the N channels hold, one after the other.
        channels: channels of one image.
        kind: ``haar``: mean and three differences of each 2x2 cell, all divided by 4, [27];
            ``pixel_shuffle``: the four pixels themselves (squeezing, [13]).
        order: ``image``: all four bands of the first image, then of the next;
            ``band``: the first band of all images, then the next band.
    """

    kernel: Tensor
    inverse_kernel: Tensor

    def __init__(
        self,
        images: int,
        channels: int,
        kind: Literal["haar", "pixel_shuffle"] = "haar",
        order: Literal["image", "band"] = "image",
    ) -> None:
        super().__init__()
        bands = _HAAR if kind == "haar" else torch.eye(4)
        self.register_buffer("kernel", _kernel(bands, images, channels, order), persistent=False)
        self.register_buffer(
            "inverse_kernel",
            _kernel(torch.linalg.inv(bands).T, images, channels, order),
            persistent=False,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Downscale.

        Raises:
            ValueError: height or width is odd.
        """
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            raise ValueError(f"height and width must be even to be halved, not {height}x{width}")
        return F.conv2d(x, self.kernel, stride=2)

    def inverse(self, y: Tensor) -> Tensor:
        return F.conv_transpose2d(y, self.inverse_kernel, stride=2)


def _kernel(bands: Tensor, images: int, channels: int, order: str) -> Tensor:
    """(4N, N, 2, 2), from a (4, 4) matrix of bands by pixels."""
    kernel = torch.zeros(images, channels, 4, images, channels, 4)
    for image in range(images):
        for channel in range(channels):
            kernel[image, channel, :, image, channel, :] = bands
    axes = (0, 2, 1) if order == "image" else (2, 0, 1)
    kernel = kernel.permute(*axes, 3, 4, 5)
    total = images * channels
    return kernel.reshape(4 * total, total, 2, 2).contiguous()

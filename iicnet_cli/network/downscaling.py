"""Invertible downscaling, equation (2): Haar wavelets or pixel shuffle."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.network.invertible import Invertible

# Rows are the four bands (mean; horizontal, vertical and diagonal difference), columns the pixels
# 00, 01, 10, 11 of a block of 2x2 pixels.
_HAAR = torch.tensor([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 4.0


class InvertibleDownscaling(Invertible):
    """(B, N, H, W) to (B, 4N, H / 2, W / 2) and back, exactly.

    Both kinds are one fixed convolution of 2x2 blocks with stride 2.

    Args:
        images: number of images that the N channels hold, one after the other.
        channels: channels of one image.
        kind: ``haar`` gives the mean and three differences of each block, all divided by 4 ([27]
            of the paper); ``pixel_shuffle`` gives the four pixels themselves (squeezing, [13]).
        order: ``image`` puts all four bands of the first image first, ``band`` the first band of
            all images.
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
        inverse_bands = torch.linalg.inv(bands).T
        for name, matrix in (("kernel", bands), ("inverse_kernel", inverse_bands)):
            kernel = _build_kernel(matrix, images, channels, order)
            self.register_buffer(name, kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, H, W) to (B, 4N, H / 2, W / 2).

        Raises:
            ValueError: height or width is odd.
        """
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            raise ValueError(f"height and width must be even to be halved, not {height}x{width}")
        return F.conv2d(x, self.kernel, stride=2)

    def inverse(self, y: Tensor) -> Tensor:
        """(B, 4N, H / 2, W / 2) to (B, N, H, W)."""
        return F.conv_transpose2d(y, self.inverse_kernel, stride=2)


def _build_kernel(bands: Tensor, images: int, channels: int, order: str) -> Tensor:
    """Spread a (4, 4) matrix of bands by pixels over all channels: (4N, N, 2, 2)."""
    kernel = torch.zeros(images, channels, 4, images, channels, 4)
    for image in range(images):
        for channel in range(channels):
            kernel[image, channel, :, image, channel, :] = bands
    axes = (0, 2, 1) if order == "image" else (2, 0, 1)
    kernel = kernel.permute(*axes, 3, 4, 5)
    total = images * channels
    return kernel.reshape(4 * total, total, 2, 2).contiguous()

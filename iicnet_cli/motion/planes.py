"""Grey planes on which motion is estimated: pyramid octaves and local means."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.jit import compiled_fast
from iicnet_cli.pictures.arrays import Pixels


def downscale_to_grey(images: Pixels, octave: int) -> Tensor:
    """Average the channels of pictures and halve them ``octave`` times.

    Args:
        images: (B, H, W, C) uint8.
        octave: pyramid octave; 0 keeps the size.

    Returns:
        (B, 1, H / 2^octave, W / 2^octave) float, 0..255.
    """
    channels = images.shape[3]
    # Much faster than the mean over an axis as short as this.
    grey = images @ np.full(channels, 1 / channels, np.float32)
    planes = torch.from_numpy(grey)[:, None]
    for _ in range(octave):
        planes = F.avg_pool2d(planes, 2)
    return planes


def box_mean(planes: Tensor, window: int) -> Tensor:
    """Average (B, C, H, W) over squares of ``window`` pixels, which end at the borders."""
    means = np.empty(planes.shape, np.float32)
    size = (-1, *planes.shape[2:])
    _box_mean(planes.contiguous().numpy().reshape(size), window // 2, means.reshape(size))
    return torch.from_numpy(means)


@compiled_fast
def _box_mean(planes: NDArray[np.float32], half: int, means: NDArray[np.float32]) -> None:
    """Average (N, H, W) by running sums over squares of 2 ``half`` + 1 pixels."""
    count, height, width = planes.shape
    for n in range(count):
        columns = np.zeros(width, np.float32)
        for y in range(-half, height):
            if y + half < height:
                columns += planes[n, y + half]
            if y > half:
                columns -= planes[n, y - half - 1]
            if y < 0:
                continue
            rows = min(y + half + 1, height) - max(y - half, 0)
            total = columns[:half].sum()
            for x in range(width):
                if x + half < width:
                    total += columns[x + half]
                if x > half:
                    total -= columns[x - half - 1]
                columns_in = min(x + half + 1, width) - max(x - half, 0)
                means[n, y, x] = total / np.float32(rows * columns_in)

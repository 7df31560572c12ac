"""Grey planes on which motion is estimated: pyramid octaves and local means."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from iicnet_cli.pictures.arrays import Pixels


def downscale_to_grey(images: Pixels, octave: int) -> Tensor:
    """Average the channels of pictures and halve them ``octave`` times.

    Args:
        images: (B, H, W, C) uint8.
        octave: pyramid octave; 0 keeps the size.

    Returns:
        (B, 1, H / 2^octave, W / 2^octave) float, 0..255.
    """
    planes = torch.from_numpy(images.mean(axis=3, dtype=np.float32))[:, None]
    for _ in range(octave):
        planes = F.avg_pool2d(planes, 2)
    return planes


def box_mean(planes: Tensor, window: int) -> Tensor:
    """Average (B, C, H, W) over squares of ``window`` pixels, which end at the borders."""
    half = window // 2
    rows = F.avg_pool2d(planes, (window, 1), 1, (half, 0), count_include_pad=False)
    return F.avg_pool2d(rows, (1, window), 1, (0, half), count_include_pad=False)

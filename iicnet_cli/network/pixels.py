"""Between 8-bit pictures and what the network computes with."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Pixels = NDArray[np.uint8]


def to_tensor(pixels: Pixels, device: torch.device | None = None) -> Tensor:
    """(..., H, W, C) uint8 to (..., C, H, W) float in 0..1."""
    tensor = torch.from_numpy(np.ascontiguousarray(pixels)).to(device)
    return tensor.movedim(-1, -3).float() / 255


def to_pixels(images: Tensor) -> Pixels:
    """(..., C, H, W) float in 0..1, rounded and clamped, to (..., H, W, C) uint8."""
    levels = (images * 255).round_().clamp_(0, 255).to(torch.uint8)
    return levels.movedim(-3, -1).contiguous().cpu().numpy()

"""Between 8-bit pictures and what the network computes with."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Net = TypeVar("Net", bound=nn.Module)

Pixels = NDArray[np.uint8]


def to_tensor(pixels: Pixels, device: torch.device | None = None) -> Tensor:
    """(..., H, W, C) uint8 to (..., C, H, W) float in 0..1; does not wait for a GPU."""
    # A copy: PNGs are decoded into memory that must not be written to.
    levels = torch.from_numpy(np.array(pixels, order="C"))
    if device is not None and device.type == "cuda":
        levels = levels.pin_memory()
    return levels.to(device, non_blocking=True).movedim(-1, -3).float() / 255


def to_pixels(images: Tensor) -> Pixels:
    """(..., C, H, W) float in 0..1, rounded and clamped, to (..., H, W, C) uint8."""
    levels = (images * 255).round_().clamp_(0, 255).to(torch.uint8)
    return levels.movedim(-3, -1).contiguous().cpu().numpy()


def channels_last(net: Net) -> Net:
    """Put the kernels of a network in the layout in which convolutions are fastest."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

"""Between 8-bit pictures and what the network computes with."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels

Net = TypeVar("Net", bound=nn.Module)


def to_tensor(
    pixels: PixelArray | NDArray[np.float32], device: torch.device | None = None
) -> Tensor:
    """(B, H, W, C) to (B, C, H, W), or (B, K, H, W, C) to (B, K, C, H, W), float, 255 as 1.

    The channels of all K images lie beside each other in memory (channels last), as those of one
    image do. Does not wait for a GPU.
    """
    # A copy: PNGs are decoded into memory that must not be written to.
    levels = torch.from_numpy(np.array(pixels, order="C"))
    if device is not None and device.type == "cuda":
        levels = levels.pin_memory()
    levels = levels.to(device, non_blocking=True)
    if pixels.ndim == 4:
        return levels.permute(0, 3, 1, 2).float() / 255
    # Beside each other only there: it spares the CPU the work where the device is a GPU.
    return levels.movedim(1, 3).contiguous().permute(0, 3, 4, 1, 2).float() / 255


def to_pixels(images: Tensor) -> Pixels:
    """(..., C, H, W) float in 0..1, rounded and clamped, to (..., H, W, C) uint8."""
    return _rounded(images, torch.uint8)


def to_levels(images: Tensor) -> NDArray[np.int16]:
    """(..., C, H, W) float, rounded but not clamped, to (..., H, W, C) int16, 1 as 255."""
    return _rounded(images, torch.int16)


def tensor_to_fixed_point(images: Tensor, clamped: bool) -> FixedPoint:
    """(..., C, H, W) float, 1 as 255, to (..., H, W, C) in parts of a level.

    Within 0..255 levels or, if not ``clamped``, -512..512.
    """
    lowest, highest = (0, 255) if clamped else (-512, 512)
    # Down, so that the nearest whole level is the same as of what was not cut into parts.
    levels = (images * 255).clamp_(lowest, highest).mul_(FRACTION).floor_().to(torch.int16)
    return levels.movedim(-3, -1).contiguous().cpu().numpy()


def to_rounding_residual(images: Tensor) -> NDArray[np.int8]:
    """(..., C, H, W) float, 1 as 255, to (..., H, W, C): what :func:`to_pixels` takes from it.

    In 1/256 of a level, from -128 to 127; beyond 0 and 255 no more than that.
    """
    levels = images * 255
    rest = 256 * (levels - _nearest(levels.clone()).clamp_(0, 255))
    return rest.round_().clamp_(-128, 127).to(torch.int8).movedim(-3, -1).contiguous().cpu().numpy()


def _rounded(images: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    limits = torch.iinfo(dtype)
    levels = _nearest(images * 255).clamp_(limits.min, limits.max).to(dtype)
    return levels.movedim(-3, -1).contiguous().cpu().numpy()


def _nearest(levels: Tensor) -> Tensor:
    """Whole levels in their place; of two that are as near the one above, as ``levels.from_fixed_point``."""
    return levels.add_(0.5).floor_()


def channels_last(net: Net) -> Net:
    """Put the kernels of a network in the layout in which convolutions are fastest."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

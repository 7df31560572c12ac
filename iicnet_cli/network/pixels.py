"""Conversion between 8-bit pictures (NumPy) and the tensors that networks compute with.

In tensors the sample values 0 to 255 are 0 to 1. Rounding goes to the nearest integer and, where
two are as near, to the higher one.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels
from iicnet_cli.quantize.lattice import RESIDUAL_UNITS

Net = TypeVar("Net", bound=nn.Module)

_FIXED_POINT_LIMIT = 512
"""Fixed-point values are clamped to plus or minus this many sample values."""


def to_tensor(
    pixels: PixelArray | NDArray[np.float32], device: torch.device | None = None
) -> Tensor:
    """Convert pictures to a tensor, without waiting for a GPU.

    Args:
        pixels: (B, H, W, C) or (B, K, H, W, C), in sample values.
        device: where the tensor is to be; by default on the CPU.

    Returns:
        (B, C, H, W) or (B, K, C, H, W), float, 0..1. In memory the channels of all K images of a
        pixel lie next to each other (channels last).
    """
    # A copy, because decoded PNGs lie in memory that is read-only.
    values = torch.from_numpy(np.array(pixels, order="C"))
    if device is not None and device.type == "cuda":
        values = values.pin_memory()
    values = values.to(device, non_blocking=True)
    if pixels.ndim == 4:
        return values.permute(0, 3, 1, 2).float() / 255
    # The channels are moved on the device, which spares the CPU the work.
    return values.movedim(1, 3).contiguous().permute(0, 3, 4, 1, 2).float() / 255


def to_pixels(images: Tensor) -> Pixels:
    """Round and clamp (..., C, H, W), 0..1, to (..., H, W, C) uint8."""
    return _round_to(images, torch.uint8)


def to_signed_pixels(images: Tensor) -> NDArray[np.int16]:
    """Round (..., C, H, W) to (..., H, W, C) int16 sample values, not clamped to 0..255."""
    return _round_to(images, torch.int16)


def tensor_to_fixed_point(images: Tensor, clamped: bool) -> FixedPoint:
    """Convert (..., C, H, W) to (..., H, W, C) in 1 / ``FRACTION`` of a sample value.

    Args:
        images: 1 is the sample value 255.
        clamped: clamp to 0..255 sample values, else to -512..512.
    """
    limit = _FIXED_POINT_LIMIT
    lowest, highest = (0, 255) if clamped else (-limit, limit)
    # Rounded down, so that the nearest integer stays the same as that of the exact value.
    values = (images * 255).clamp_(lowest, highest).mul_(FRACTION).floor_().to(torch.int16)
    return values.movedim(-3, -1).contiguous().cpu().numpy()


def to_rounding_residual(images: Tensor) -> NDArray[np.int8]:
    """Return what :func:`to_pixels` cuts off, the exact value minus the 8-bit value.

    Args:
        images: (..., C, H, W), 1 is the sample value 255.

    Returns:
        (..., H, W, C) in 1/256 of a sample value, clamped to -128..127.
    """
    values = images * 255
    residual = RESIDUAL_UNITS * (values - _round_in_place(values.clone()).clamp_(0, 255))
    integers = residual.round_().clamp_(-128, 127).to(torch.int8)
    return integers.movedim(-3, -1).contiguous().cpu().numpy()


def channels_last(net: Net) -> Net:
    """Store the kernels of a network in the memory layout in which convolutions are fastest."""
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _round_to(images: Tensor, dtype: torch.dtype) -> NDArray[Any]:
    limits = torch.iinfo(dtype)
    values = _round_in_place(images * 255).clamp_(limits.min, limits.max).to(dtype)
    return values.movedim(-3, -1).contiguous().cpu().numpy()


def _round_in_place(values: Tensor) -> Tensor:
    # Tensor.round would round halves to even numbers; from_fixed_point rounds them up too.
    return values.add_(0.5).floor_()

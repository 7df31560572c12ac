"""8-bit pictures, and what is computed from them in the same unit."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

Pixels = NDArray[np.uint8]
PixelArray = NDArray[np.uint8 | np.int16]
"""8-bit pictures, or what is computed from them in the same unit, beyond 0..255 too."""
FixedPoint = NDArray[np.int16]
"""Levels in parts of :data:`FRACTION`, rounded down, within -512..512 levels."""

FRACTION = 32
"""Parts of a level: as many as leave room for differences and sums in 16 bits."""


def to_fixed_point(levels: PixelArray) -> FixedPoint:
    """Whole levels in parts."""
    return levels.astype(np.int16) * np.int16(FRACTION)


def from_fixed_point(
    levels: FixedPoint, dtype: DTypeLike, out: FixedPoint | None = None
) -> PixelArray:
    """The nearest whole levels, those above where two are as near; uint8 stays within 0..255.

    Args:
        levels: in parts.
        dtype: uint8 or int16.
        out: where to compute; the result may be this. By default in memory of its own.
    """
    rounded: PixelArray = np.add(levels, np.int16(FRACTION // 2), out=out)
    rounded //= FRACTION
    if np.dtype(dtype) == np.uint8:
        rounded.clip(0, 255, out=rounded)
    return rounded.astype(dtype, copy=False)


def padding_to(width: int, height: int, multiple: int) -> tuple[int, int]:
    """Pixels to add to the right and at the bottom to reach multiples."""
    return -width % multiple, -height % multiple


def pad(images: NDArray[Scalar], padding: tuple[int, int]) -> NDArray[Scalar]:
    """(K, H, W, C), widened by repeating the last column and row."""
    right, bottom = padding
    if not (right or bottom):
        return images
    return np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")


def crop(images: NDArray[Scalar], width: int, height: int) -> NDArray[Scalar]:
    """(K, H, W, C), cut to the given size from the top left."""
    return images[:, :height, :width]

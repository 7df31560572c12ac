"""Pictures as arrays: 8-bit values, what is computed from them, and fixed-point values."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

Scalar = TypeVar("Scalar", bound=np.generic)

Pixels = NDArray[np.uint8]
"""8-bit pictures."""
PixelArray = NDArray[np.uint8 | np.int16]
"""8-bit pictures, or what is computed from them in the same unit; that may lie beyond 0..255."""
FixedPoint = NDArray[np.int16]
"""The same unit in fixed point: integers in parts of 1/``FRACTION``, rounded down, within -512 to
512 8-bit steps."""

FRACTION = 32
"""One 8-bit step is this many fixed-point parts, so that sums and differences fit into 16 bits."""


def to_fixed_point(values: PixelArray) -> FixedPoint:
    """Convert whole values to fixed point."""
    return values.astype(np.int16) * np.int16(FRACTION)


def from_fixed_point(
    values: FixedPoint, dtype: DTypeLike, out: FixedPoint | None = None
) -> PixelArray:
    """Round fixed-point values to whole ones, of two that are equally near to the higher one.

    Args:
        values: any shape.
        dtype: uint8, to which values are clipped, or int16.
        out: array of the same shape to compute in, whose memory the result may share; a new one
            by default.
    """
    rounded: PixelArray = np.add(values, np.int16(FRACTION // 2), out=out)
    rounded //= FRACTION
    if np.dtype(dtype) == np.uint8:
        rounded.clip(0, 255, out=rounded)
    return rounded.astype(dtype, copy=False)


def padding_to(width: int, height: int, multiple: int) -> tuple[int, int]:
    """Columns and rows that a picture lacks so that its sides are multiples of a number."""
    return -width % multiple, -height % multiple


def pad(images: NDArray[Scalar], padding: tuple[int, int]) -> NDArray[Scalar]:
    """Extend pictures by repeating their last column and row.

    Args:
        images: (K, H, W, C).
        padding: how many columns are added to the right, and how many rows at the bottom.
    """
    right, bottom = padding
    if not (right or bottom):
        return images
    return np.pad(images, ((0, 0), (0, bottom), (0, right), (0, 0)), mode="edge")


def as_colour(picture: Pixels) -> Pixels:
    """A picture (H, W) or (H, W, 3) as (H, W, 3)."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def luma(picture: Pixels) -> Pixels:
    """The luma (Rec. 601) of a picture (H, W, 3): (H, W) uint8."""
    weighted: NDArray[np.float64] = picture @ np.array([0.299, 0.587, 0.114])
    rounded: Pixels = np.rint(weighted).astype(np.uint8)
    return rounded


def halve(picture: Pixels) -> Pixels:
    """A picture (H, W, C) at half its size: the means of blocks of 2x2 pixels.

    The last column and row are repeated where a side is odd.
    """
    height, width = picture.shape[:2]
    even = pad(picture[None], padding_to(width, height, 2))[0].astype(np.uint16)
    total = even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]
    halved: Pixels = ((total + 2) // 4).astype(np.uint8)
    return halved


def crop(images: NDArray[Scalar], width: int, height: int) -> NDArray[Scalar]:
    """The upper left part of pictures (K, H, W, C), in the given size; it shares their memory."""
    return images[:, :height, :width]

"""The static region of a group: where all its pictures are equal, so that nothing has to be hidden.

A composed picture and its background, screen recordings and letterboxed clips are equal over wide
areas, to the last bit. The embedding shows those areas unchanged and carries no payload there;
whatever the network would change in them would only be loss.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.mark import ClipPlace
from iicnet_cli.payload.mark_pixels import headers_fit, payload_capacity
from iicnet_cli.payload.static_map import STATIC_CELL, StaticRegion
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.quantize.lattice import UnroundedEmbedding

MIN_STATIC_SHARE = 1 / 64
"""A region that covers a smaller share of the cells is not worth the bytes of its map."""
_ROWS_AT_ONCE = 32 * STATIC_CELL
"""Pictures are compared this many rows at a time, to save memory."""


def find_static_region(images: PixelArray, shape: tuple[int, ...]) -> StaticRegion | None:
    """Where all pictures equal the reference.

    Args:
        images: (K, H, W, C), the reference first.
        shape: of the embedding.

    Returns:
        ``None`` where the region is too small, for single pictures, and if the embedding differs
        from the pictures in size or number of channels.
    """
    if images.shape[1:] != shape or len(images) == 1:
        return None
    # Most groups have next to no static region, and one pixel of each cell shows that.
    sampled = images[:, ::STATIC_CELL, ::STATIC_CELL]
    if np.count_nonzero(_equal_pixels(sampled)) < MIN_STATIC_SHARE * sampled[0, ..., 0].size:
        return None
    tops = range(0, images.shape[1], _ROWS_AT_ONCE)
    cells = np.concatenate([_equal_cells(images[:, top : top + _ROWS_AT_ONCE]) for top in tops])
    if np.count_nonzero(cells) < MIN_STATIC_SHARE * cells.size:
        return None
    return StaticRegion(cells)


def copy_static_region(
    images: PixelArray,
    embedding: UnroundedEmbedding,
    *,
    payload: int = 0,
    place: ClipPlace | None = None,
) -> StaticRegion | None:
    """Replace the embedding by the reference in the static region, in place.

    Args:
        images: (K, H, W, C), the reference first.
        embedding: (H_e, W_e, C_e).
        payload: bytes that it has to carry outside of the region.
        place: of the mark that it has to carry.

    Returns:
        The region; ``None``, and nothing is changed, where there is none or the embedding could not
        carry it, or the payload in what is left.
    """
    region = find_static_region(images, embedding.pixels.shape)
    if region is None:
        return None
    shape, data = embedding.pixels.shape, region.to_bytes()
    if not headers_fit(shape, data, place=place):
        return None  # a tiny picture, such as one of 8x8 pixels
    if payload > payload_capacity(shape, data, place=place):
        return None
    mask = region.mask(*embedding.pixels.shape[:2])
    embedding.pixels[mask] = images[0][mask]
    embedding.residual[mask] = 0
    return region


def _equal_pixels(images: PixelArray) -> NDArray[np.bool_]:
    """(H, W), true where no picture differs from the first."""
    equal = np.ones(images.shape[1:3], np.bool_)
    for picture in images[1:]:
        for channel in range(images.shape[3]):
            equal &= picture[..., channel] == images[0, ..., channel]
    return equal


def _equal_cells(images: PixelArray) -> NDArray[np.bool_]:
    """(rows, columns), true for the cells where no picture differs from the first."""
    equal = _equal_pixels(images)
    for axis in (0, 1):
        starts = np.arange(0, equal.shape[axis], STATIC_CELL)
        equal = np.logical_and.reduceat(equal, starts, axis=axis)
    return equal

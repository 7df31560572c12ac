"""What pictures have in common, so that their embedding can show it as it is.

A composed picture and its background, screen recordings and letterboxed clips are alike over wide
areas, down to the last bit. There is nothing to hide there: what the network would change, and
what would carry bits, were loss only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.mark_pixels import payload_capacity
from iicnet_cli.payload.static_map import STATIC_CELL, StaticRegion
from iicnet_cli.pictures.arrays import PixelArray
from iicnet_cli.quantize.lattice import UnroundedEmbedding

LEAST = 1 / 64
"""Share of the cells below which an area is not worth its map."""
_ROWS = 32 * STATIC_CELL
"""That are compared at once, to save memory."""


def find_static_region(images: PixelArray, shape: tuple[int, ...]) -> StaticRegion | None:
    """Where all pictures are the reference.

    Args:
        images: (K, H, W, C), the reference first.
        shape: of the embedding.

    Returns:
        ``None`` where there is little of that, for single pictures, and if the embedding has
        another size or number of channels than pictures.
    """
    if images.shape[1:] != shape or len(images) == 1:
        return None
    # Most pictures have next to nothing in common, and a pixel of each cell shows it.
    some = images[:, ::STATIC_CELL, ::STATIC_CELL]
    if np.count_nonzero(_alike(some)) < LEAST * some[0, ..., 0].size:
        return None
    tops = range(0, images.shape[1], _ROWS)
    cells = np.concatenate([_cells(images[:, top : top + _ROWS]) for top in tops])
    return StaticRegion(cells) if np.count_nonzero(cells) >= LEAST * cells.size else None


def copy_static_region(
    images: PixelArray, embedding: UnroundedEmbedding, *, load: int = 0
) -> StaticRegion | None:
    """Make an embedding the reference in the common area, in place.

    Args:
        images: (K, H, W, C), the reference first.
        embedding: (H_e, W_e, C_e).
        load: bytes that it is to carry outside of this area.

    Returns:
        The area; ``None``, and nothing is done, where there is none or too little is left.
    """
    shape = embedding.pixels.shape
    area = find_static_region(images, shape)
    if area is None or load > payload_capacity(shape, area.to_bytes()):
        return None
    mask = area.mask(*shape[:2])
    embedding.pixels[mask] = images[0][mask]
    embedding.residual[mask] = 0
    return area


def _alike(images: PixelArray) -> NDArray[np.bool_]:
    """(H, W), where nothing differs."""
    alike = np.ones(images.shape[1:3], np.bool_)
    for picture in images[1:]:
        for channel in range(images.shape[3]):
            alike &= picture[..., channel] == images[0, ..., channel]
    return alike


def _cells(images: PixelArray) -> NDArray[np.bool_]:
    """(rows, columns), where nothing differs."""
    alike = _alike(images)
    for axis in (0, 1):
        starts = np.arange(0, alike.shape[axis], STATIC_CELL)
        alike = np.logical_and.reduceat(alike, starts, axis=axis)
    return alike

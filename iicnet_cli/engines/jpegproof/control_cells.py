"""Cells that carry no payload: pilots, and the mark that says how to read the rest.

One bit of one coefficient is theirs (``cell_layout.py`` says which) in a quarter of the blocks: the
blocks of the main diagonal of each tile of 4 x 4 blocks. The first one is a pilot, a known bit by
which the place of a cropped picture is found; the other three carry the mark. What a block carries
depends on its place in the uncropped picture, and repeats every ``PERIOD`` blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.pseudorandom import hash_integers

TILE = 4
"""Blocks of a tile on each axis."""
PERIOD = 512
"""Pilots repeat after this many blocks on each axis."""


def payload_blocks(rows: int, columns: int) -> NDArray[np.bool_]:
    """(rows, columns), the blocks without control cells."""
    y, x = np.mgrid[:rows, :columns]
    return np.asarray(y % TILE != x % TILE)


def pilots(rows: int, columns: int) -> tuple[tuple[NDArray[np.intp], ...], NDArray[np.uint8]]:
    """Indices of the blocks with pilots, and their bits."""
    y, x = np.meshgrid(np.arange(0, rows, TILE), np.arange(0, columns, TILE), indexing="ij")
    places = (y.ravel(), x.ravel())
    numbers = places[0] % PERIOD * PERIOD + places[1] % PERIOD
    return places, (hash_integers(numbers, 5) >> np.uint64(63)).astype(np.uint8)


def mark_cells(
    rows: int, columns: int, length: int
) -> tuple[tuple[NDArray[np.intp], ...], NDArray[np.intp]]:
    """Indices of the blocks with the mark, and which of its ``length`` bits each carries.

    Neighbouring tiles carry different bits, so that a small part of a picture has all of them.
    """
    rest = TILE - 1
    y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    places = np.nonzero((y % TILE == x % TILE) & (y % TILE > 0))
    tiles = places[1] // TILE + 13 * (places[0] // TILE)
    return places, (tiles * rest + places[0] % TILE - 1) % length

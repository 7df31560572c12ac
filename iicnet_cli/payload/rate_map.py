"""The rate map: which base the samples of each cell of a picture have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from iicnet_cli.payload import raw_lzma2
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.tcq import MAX_BASE

CELL = 32
"""Cells have this many rows and columns, except for the last ones."""

_LZMA2 = {"dict_size": 1 << 20, "lc": 0, "pb": 0}


def cell_counts(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of cells in a picture of (H, W) or (H, W, C)."""
    return -(-shape[0] // CELL), -(-shape[1] // CELL)


def largest_size(shape: tuple[int, ...]) -> int:
    """Bytes that no map of a picture of this shape exceeds."""
    rows, columns = cell_counts(shape)
    return rows * columns + rows * columns // 1024 + 64


@dataclass(frozen=True)
class RateMap:
    """The base of each cell.

    Attributes:
        bases: (rows, columns) uint8, 0 to ``MAX_BASE``; 0 where nothing is carried.
    """

    bases: Pixels

    def to_bytes(self) -> bytes:
        """The map, compressed; :meth:`from_bytes` needs the size of the picture."""
        return raw_lzma2.compress(self.bases.tobytes(), _LZMA2)

    @classmethod
    def from_bytes(cls, data: bytes, shape: tuple[int, ...]) -> Self | None:
        """Inverse of :meth:`to_bytes` for a picture of this shape; ``None`` if it is damaged."""
        rows, columns = cell_counts(shape)
        body = raw_lzma2.decompress(data, rows * columns, _LZMA2)
        if body is None or max(body) > MAX_BASE:
            return None
        return cls(np.frombuffer(body, np.uint8).reshape(rows, columns))

    def sample_bases(self, shape: tuple[int, ...]) -> Pixels:
        """The base of each sample of the flattened picture."""
        height, width = shape[:2]
        rows = self.bases.repeat(CELL, axis=1)[:, :width]
        if len(shape) > 2:
            rows = rows.repeat(shape[2], axis=1)
        return rows.repeat(CELL, axis=0)[:height].reshape(-1)

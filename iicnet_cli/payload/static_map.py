"""The common area: where an embedding shows what all its pictures have in common, as it is."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.raw_lzma2 import packed, unpacked
from iicnet_cli.pictures.arrays import PixelArray, Pixels

CELL = 8
"""Pixels on a side."""
MOST_BYTES = 1 << 20
"""Of an area, before it is packed."""
_HEAD = struct.Struct(">HH")
_LZMA2 = {"dict_size": MOST_BYTES, "lc": 0, "pb": 0}


@dataclass(frozen=True)
class StaticRegion:
    """Cells of an embedding where each of its pictures is the reference, and the embedding too.

    Only samples that carry a mark differ there.

    Attributes:
        cells: (rows, columns) bool, of ``CELL`` pixels each way; those at the end may be smaller.
    """

    cells: NDArray[np.bool_]

    def to_bytes(self) -> bytes:
        """Rows, columns; as raw LZMA2, row by row, a bit for each cell: 1 if not as that above.

        The first of a byte is its highest; above the first row there is none of the area.
        """
        changes = np.diff(self.cells, axis=0, prepend=False)
        return _HEAD.pack(*self.cells.shape) + packed(np.packbits(changes).tobytes(), _LZMA2)

    @classmethod
    def from_bytes(cls, data: bytes) -> StaticRegion | None:
        """Inverse of :meth:`to_bytes`; ``None`` unless it is an area."""
        try:
            rows, columns = _HEAD.unpack_from(data)
        except struct.error:
            return None
        size = math.ceil(rows * columns / 8)
        if not 0 < size <= MOST_BYTES:
            return None
        body = unpacked(data[_HEAD.size :], size, _LZMA2)
        if body is None:
            return None
        changes = np.unpackbits(np.frombuffer(body, np.uint8), count=rows * columns)
        return cls(np.bitwise_xor.accumulate(changes.reshape(rows, columns), axis=0) > 0)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether it is of embeddings (H, W) or (H, W, C)."""
        return self.cells.shape == grid(shape)

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """(H, W), its pixels; of the upper left part of the embedding, if that is larger."""
        rows, columns = grid((height, width))
        cells = self.cells[:rows, :columns].repeat(CELL, axis=0).repeat(CELL, axis=1)
        return cells[:height, :width]

    def put(self, pictures: PixelArray, embedding: Pixels, top: int = 0, *, parts: int = 1) -> None:
        """Give pictures what they have in common, in place.

        Args:
            pictures: (K, h, w, C), as restored; w may be less than that of the embedding.
            embedding: (H, W, C).
            top: row of the embedding where the first of the pictures' is.
            parts: to a level.
        """
        height, width = pictures.shape[1:3]
        mask = self.mask(top + height, width)[top:]
        shown = embedding[top : top + height, :width][mask].astype(pictures.dtype)
        pictures[:, mask] = shown * pictures.dtype.type(parts)

    def runs(self, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Its samples in the flattened embedding (H, W) or (H, W, C): starts and lengths."""
        height, width, channels = (*shape, 1)[:3]
        edges = np.diff(self.cells.astype(np.int8), axis=1, prepend=0, append=0)
        rows, first = np.nonzero(edges == 1)
        _, last = np.nonzero(edges == -1)
        y = rows[:, None] * CELL + np.arange(CELL)
        starts = (y * width + CELL * first[:, None]) * channels
        lengths = (np.minimum(CELL * last, width) - CELL * first) * channels
        inside = y < height
        starts, lengths = starts[inside], np.broadcast_to(lengths[:, None], y.shape)[inside]
        order = np.argsort(starts)
        return starts[order], lengths[order]


def grid(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and columns of cells of an embedding (H, W) or (H, W, C)."""
    return math.ceil(shape[0] / CELL), math.ceil(shape[1] / CELL)

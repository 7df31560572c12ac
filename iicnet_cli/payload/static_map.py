"""The static region: where all pictures of a group are equal and the embedding shows them as is."""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.raw_lzma2 import compress, decompress
from iicnet_cli.pictures.arrays import PixelArray, Pixels

STATIC_CELL = 8
"""A static region consists of square cells with sides of this many pixels."""
MAX_MAP_BYTES = 1 << 20
"""A map of more than this many bytes before compression is rejected."""

_GRID_SHAPE = struct.Struct(">HH")  # rows, columns
_LZMA2 = {"dict_size": MAX_MAP_BYTES, "lc": 0, "pb": 0}


@dataclass(frozen=True)
class StaticRegion:
    """The cells of an embedding where it and all pictures of its group equal the reference.

    Only samples that carry the headers or the static region of a mark differ from it there.

    Attributes:
        cells: (rows, columns) bool. Cell (i, j) covers ``STATIC_CELL`` pixels each way from row
            and column ``STATIC_CELL`` times i and j on; the last ones may be smaller.
    """

    cells: NDArray[np.bool_]

    def to_bytes(self) -> bytes:
        """The region as a mark stores it.

        Rows and columns of cells (16 bits each, big-endian); then, as raw LZMA2, one bit for each
        cell, row by row, the highest bit of a byte first: whether the cell differs from the one
        above. Above the first row no cell belongs to the region.
        """
        changes = np.diff(self.cells, axis=0, prepend=False)
        body = np.packbits(changes).tobytes()
        return _GRID_SHAPE.pack(*self.cells.shape) + compress(body, _LZMA2)

    @classmethod
    def from_bytes(cls, data: bytes) -> StaticRegion | None:
        """Inverse of :meth:`to_bytes`; ``None`` if the bytes are not a static region."""
        try:
            rows, columns = _GRID_SHAPE.unpack_from(data)
        except struct.error:
            return None
        size = math.ceil(rows * columns / 8)
        if not 0 < size <= MAX_MAP_BYTES:
            return None
        body = decompress(data[_GRID_SHAPE.size :], size, _LZMA2)
        if body is None:
            return None
        changes = np.unpackbits(np.frombuffer(body, np.uint8), count=rows * columns)
        return cls(np.bitwise_xor.accumulate(changes.reshape(rows, columns), axis=0) > 0)

    def fits(self, shape: tuple[int, ...]) -> bool:
        """Whether this can be the region of an embedding of this shape, (H, W) or (H, W, C)."""
        return self.cells.shape == _grid_shape(shape)

    def mask(self, height: int, width: int) -> NDArray[np.bool_]:
        """The region's pixels, (height, width) bool, in the upper left part of the embedding."""
        rows, columns = _grid_shape((height, width))
        cells = self.cells[:rows, :columns]
        mask = cells.repeat(STATIC_CELL, axis=0).repeat(STATIC_CELL, axis=1)
        return mask[:height, :width]

    def copy_into(
        self, pictures: PixelArray, embedding: Pixels, top: int = 0, *, scale: int = 1
    ) -> None:
        """Copy the region of an embedding into all pictures, in place.

        Args:
            pictures: (K, h, w, C), restored rows of pictures; w may be less than that of the
                embedding.
            embedding: (H, W, C).
            top: row of the embedding that corresponds to the first row of the pictures.
            scale: value in the pictures that stands for one 8-bit step.
        """
        height, width = pictures.shape[1:3]
        mask = self.mask(top + height, width)[top:]
        shown = embedding[top : top + height, :width][mask].astype(pictures.dtype)
        pictures[:, mask] = shown * pictures.dtype.type(scale)

    def runs(self, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The region's samples as runs in the flattened embedding.

        Args:
            shape: (H, W) or (H, W, C), of the embedding.

        Returns:
            Starts and lengths of runs that do not overlap, in ascending order.
        """
        height, width, channels = (*shape, 1)[:3]
        edges = np.diff(self.cells.astype(np.int8), axis=1, prepend=0, append=0)
        rows, first = np.nonzero(edges == 1)
        _, last = np.nonzero(edges == -1)
        y = rows[:, None] * STATIC_CELL + np.arange(STATIC_CELL)
        starts = (y * width + STATIC_CELL * first[:, None]) * channels
        lengths = (np.minimum(STATIC_CELL * last, width) - STATIC_CELL * first) * channels
        inside = y < height
        starts, lengths = starts[inside], np.broadcast_to(lengths[:, None], y.shape)[inside]
        order = np.argsort(starts)
        return starts[order], lengths[order]


def _grid_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    return math.ceil(shape[0] / STATIC_CELL), math.ceil(shape[1] / STATIC_CELL)

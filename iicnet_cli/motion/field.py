"""The motion of a clip or stereo pair as the PNG carries it: vectors, and their bytes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.raw_lzma2 import compress, decompress

STEPS = 2
"""Steps of a vector to a pixel."""
MAX_VECTOR = 16_000
"""Pixels of a vector, on each axis; less."""
HALVES = 2
"""The greatest share."""
MOST_BYTES = 1 << 22
"""Of the motion of one group, before it is packed."""
_HEAD = struct.Struct(">BHH")
_BYTES_PER_CELL = 9
# A twentieth smaller than deflated.
_LZMA2 = {"dict_size": MOST_BYTES, "pb": 0}


@dataclass(frozen=True)
class MotionField:
    """Where each frame but the reference finds its content: in the reference, or in its neighbour.

    The neighbour is the frame next to it on the side of the reference. Between the centres of the
    cells of this grid vectors and shares are interpolated.

    Attributes:
        vectors: (K - 1, 2, rows, columns, 2) int16: rows down and columns to the right in halves
            of a pixel; the pixel p of a frame shows what p + vector shows, with the first vectors
            in the reference, with the second ones in the neighbour.
        shares: (K - 1, rows, columns) uint8, 0 to 2: the halves that come from the neighbour; the
            rest comes from the reference.
    """

    vectors: NDArray[np.int16]
    shares: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """K - 1, rows, columns; as raw LZMA2 differences of vectors, low bytes first; shares."""
        differences = np.diff(self.vectors, axis=3, prepend=np.int16(0))
        # Folded to 0, -1, 1, -2, 2 and so on, small ones of either sign have high bytes of 0.
        folded = (differences << 1 ^ differences >> 15).astype(np.uint16)
        planes = np.ascontiguousarray(np.moveaxis(folded, 4, 2), "<u2")
        body = planes.reshape(-1, 1).view(np.uint8).T.tobytes() + self.shares.tobytes()
        return _HEAD.pack(*self.shares.shape) + compress(body, _LZMA2)

    @classmethod
    def from_bytes(cls, data: bytes, frames: int) -> MotionField | None:
        """Inverse of :meth:`to_bytes`; ``None`` unless it is the motion of so many frames."""
        try:
            count, rows, columns = _HEAD.unpack_from(data)
        except struct.error:
            return None
        size = _BYTES_PER_CELL * count * rows * columns
        if count != frames or not 0 < size <= MOST_BYTES:
            return None
        body = decompress(data[_HEAD.size :], size, _LZMA2)
        if body is None:
            return None
        cells = np.frombuffer(body, np.uint8)
        shares = cells[-count * rows * columns :].reshape(count, rows, columns)
        planes = cells[: -shares.size].reshape(2, -1).T.copy().view("<u2")
        folded = np.moveaxis(planes.reshape(count, 2, 2, rows, columns), 2, 4)
        differences = (folded >> 1).astype(np.int16) ^ -(folded & 1).astype(np.int16)
        vectors = np.cumsum(differences, axis=3, dtype=np.int16)
        fits = np.abs(vectors.astype(int)).max() <= STEPS * MAX_VECTOR and shares.max() <= HALVES
        return cls(vectors, shares) if fits else None

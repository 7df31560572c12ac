"""The motion of a clip as the PNG carries it: vectors, and the bytes that they become."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STEPS = 2
"""Steps of a vector to a pixel."""
LONGEST = 16_000
"""Pixels of a vector, on each axis; less."""
MOST_BYTES = 1 << 22
"""Of the vectors of one group, before they are deflated."""
_HEAD = struct.Struct(">BHH")


@dataclass(frozen=True)
class Motion:
    """Where each frame but the reference finds its content in the reference.

    Attributes:
        vectors: (K - 1, rows, columns, 2) int16: rows down and columns to the right in halves of
            a pixel; the pixel p of a frame shows what p + vector shows in the reference. Between
            the centres of the cells of this grid they are interpolated.
    """

    vectors: NDArray[np.int16]

    def to_bytes(self) -> bytes:
        """K - 1, rows, columns; then the deflated differences of neighbours, low bytes first."""
        differences = np.diff(self.vectors, axis=2, prepend=np.int16(0))
        planes = np.ascontiguousarray(differences.transpose(0, 3, 1, 2), "<i2")
        body = planes.reshape(-1, 1).view(np.uint8).T.tobytes()
        return _HEAD.pack(*self.vectors.shape[:3]) + zlib.compress(body, 9)

    @classmethod
    def from_bytes(cls, data: bytes, frames: int) -> Motion | None:
        """Inverse of :meth:`to_bytes`; ``None`` unless the vectors are those of so many frames."""
        try:
            count, rows, columns = _HEAD.unpack_from(data)
            size = 4 * count * rows * columns
            if count != frames or not 0 < size <= MOST_BYTES:
                return None
            unpacker = zlib.decompressobj()
            body = unpacker.decompress(data[_HEAD.size :], size + 1)
        except (struct.error, zlib.error):
            return None
        if len(body) != size or not unpacker.eof:
            return None
        planes = np.frombuffer(body, np.uint8).reshape(2, -1).T.copy().view("<i2")
        differences = planes.reshape(count, 2, rows, columns).transpose(0, 2, 3, 1)
        vectors = np.cumsum(differences, axis=2, dtype=np.int16)
        return cls(vectors) if np.abs(vectors.astype(int)).max() <= STEPS * LONGEST else None

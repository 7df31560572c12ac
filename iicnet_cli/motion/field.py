"""The motion of a clip or stereo pair, and the bytes in which the PNG carries it."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.payload.raw_lzma2 import compress, decompress

VECTOR_UNITS_PER_PIXEL = 2
"""Vector components are stored as integers with this many units to a pixel."""
MAX_VECTOR = 16_000
"""No component of a motion vector is longer than this many pixels."""
MAX_BLEND_WEIGHT = 2
"""A blend weight of this value takes the prediction from the neighbour alone."""
MAX_FIELD_BYTES = 1 << 22
"""A motion field is rejected if it has more than this many bytes before compression."""

_HEADER = struct.Struct(">BHH")
_BYTES_PER_CELL = 9  # two vectors of two 16-bit components, one blend weight
# LZMA2 makes motion fields 5 % smaller than Deflate does.
_LZMA2 = {"dict_size": MAX_FIELD_BYTES, "pb": 0}


@dataclass(frozen=True)
class MotionField:
    """Motion vectors and blend weights of all frames but the reference, on a grid of cells.

    Each frame has two predictors: the reference frame and its neighbour, the adjacent frame on
    the side of the reference. Values belong to the centres of the cells and are interpolated
    bilinearly between them.

    Attributes:
        vectors: (K - 1, 2, rows, columns, 2) int16, in units of 1/2 pixel, as (down, right). Pixel
            p of a frame is predicted by pixel p + vector of a predictor: ``vectors[:, 0]`` point
            into the reference, ``vectors[:, 1]`` into the neighbour.
        blend_weights: (K - 1, rows, columns) uint8, 0 to :data:`MAX_BLEND_WEIGHT`: 0 takes the
            prediction from the reference, 2 from the neighbour, 1 the mean of both.
    """

    vectors: NDArray[np.int16]
    blend_weights: NDArray[np.uint8]

    def to_bytes(self) -> bytes:
        """Serialise the field.

        A header holds K - 1, rows and columns (big-endian, 1 + 2 + 2 bytes). Raw LZMA2 follows: the
        zigzag-coded difference of each vector component from the cell to its left, as one plane of
        low bytes and one of high bytes, then the blend weights.
        """
        differences = np.diff(self.vectors, axis=3, prepend=np.int16(0))
        zigzag = (differences << 1 ^ differences >> 15).astype(np.uint16)
        components = np.ascontiguousarray(np.moveaxis(zigzag, 4, 2), "<u2")
        byte_planes = components.reshape(-1, 1).view(np.uint8).T.tobytes()
        body = byte_planes + self.blend_weights.tobytes()
        return _HEADER.pack(*self.blend_weights.shape) + compress(body, _LZMA2)

    @classmethod
    def from_bytes(cls, data: bytes, frames: int) -> MotionField | None:
        """Parse untrusted bytes, the inverse of :meth:`to_bytes`.

        Args:
            data: bytes of any origin.
            frames: K - 1, the number of frames that the field must describe.

        Returns:
            The field, or ``None`` if the bytes are no valid field of this many frames.
        """
        try:
            count, rows, columns = _HEADER.unpack_from(data)
        except struct.error:
            return None
        size = _BYTES_PER_CELL * count * rows * columns
        if count != frames or not 0 < size <= MAX_FIELD_BYTES:
            return None
        body = decompress(data[_HEADER.size :], size, _LZMA2)
        if body is None:
            return None
        values = np.frombuffer(body, np.uint8)
        blend_weights = values[-count * rows * columns :].reshape(count, rows, columns)
        components = values[: -blend_weights.size].reshape(2, -1).T.copy().view("<u2")
        zigzag = np.moveaxis(components.reshape(count, 2, 2, rows, columns), 2, 4)
        differences = (zigzag >> 1).astype(np.int16) ^ -(zigzag & 1).astype(np.int16)
        vectors = np.cumsum(differences, axis=3, dtype=np.int16)
        longest = np.abs(vectors.astype(int)).max()
        if longest > VECTOR_UNITS_PER_PIXEL * MAX_VECTOR or blend_weights.max() > MAX_BLEND_WEIGHT:
            return None
        return cls(vectors, blend_weights)

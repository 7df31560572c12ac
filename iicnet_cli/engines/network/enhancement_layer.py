"""The enhancement layer: a compressed form of what the network restores wrong.

As in scalable video coding there are two layers. The base layer is what the network restores from
the picture alone. The enhancement layer is its difference from the originals, coded as AVIF in the
best quality that fits into the given number of bytes; these bytes travel in the low bits of the PNG
(`sliced_encoder.py`). If the PNG is altered they are lost, and the base layer is what comes back.

The bytes of a layer::

    header   u16 bit mask of the pictures that it corrects (lowest bit: the first); u8 number of
             slices; u8 index of the slice that comes first. Big-endian.
    slices   in cyclic order from that slice on; each has one or more parts:
             for each picture in it, u8 divisor of its differences in sixteenths (0: no correction)
             u32 length of the AVIF, big-endian; the AVIF

Zeros after an AVIF, within its length, are padding.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.network.level_search import MIN_FILLED, LevelSearch, SizeModel
from iicnet_cli.engines.network.residual_codec import (
    GAIN_OF_LEVEL,
    QUICK_SPEED,
    SLOW_SPEED,
    USUAL_SPEED,
    codec_unavailable_reason,
    decode_difference,
    difference_table,
    encode_difference,
    missing_difference,
    quality_of_level,
)
from iicnet_cli.pictures.arrays import FixedPoint, PixelArray, Pixels

MAX_PICTURE_BYTES = 1 << 28
"""Pictures that together take more bytes than this get no layer, because encoding keeps what is
restored from them in memory."""

MAX_AVIF_PIXELS = 1 << 22
"""One AVIF holds at most this many pixels."""
MAX_AVIF_SIDE = 16384
"""One AVIF has at most this many rows and columns; readers stop at 32768."""
MAX_TRIALS = 6
"""A plan codes a layer, and a slice, at most this many times."""
_MAX_QUICK_TRIALS = 3
"""A slice is coded quickly at most this many times, to find the level to begin at."""
_LENGTH_BYTES = 4
"""The length of an AVIF is stored in this many bytes."""
HEADER = struct.Struct(">HBB")
"""Mask of the pictures, number of slices, and index of the first slice."""
_SLICE_MULTIPLE = 16
"""Slice heights are multiples of this many rows, except the last."""
_SIXTEENTHS = 16
"""Divisors are stored in sixteenths."""
_MIN_DIVISOR, _MAX_DIVISOR = 16, 255
"""Range of a stored divisor; a smaller one means that the picture is not corrected."""
_ROWS_AT_ONCE = 256
"""Differences are computed this many rows at a time, to save memory."""

Part = tuple[list[int], slice]
"""The pictures and rows, of (K, H, W, C), that one AVIF holds."""


def layer_unavailable_reason(pictures: PixelArray) -> str | None:
    """Why these pictures get no enhancement layer, in words; ``None`` if they may have one."""
    reason = codec_unavailable_reason()
    if reason is None and pictures.nbytes > MAX_PICTURE_BYTES:
        return "the pictures are too large for one"
    return reason


@dataclass(frozen=True)
class LayerPlan:
    """How a layer is to be coded.

    Attributes:
        wanted: (K, H, W, C), what went into the network, -255..510.
        corrected: indices of the pictures that the layer corrects.
        gain: differences are multiplied by this before they are coded.
        level: approximate level of the codec; a fraction is made up for by the gain.
        sizes: approximate bytes of each slice at that level.
        mse_reduction: mean squared error, over all pictures, that the layer removes if it is coded
            quickly.
        slope: by how much the logarithm of the size grows with the level.
        first: index of the slice that comes first; the others follow in cyclic order.
        thorough: whether the codec runs at its slow speed, which takes eight times as long.
    """

    wanted: PixelArray
    corrected: list[int]
    gain: float
    level: float
    sizes: list[int]
    mse_reduction: float
    slope: float
    first: int = 0
    thorough: bool = False

    @property
    def header(self) -> bytes:
        """The bytes before the slices."""
        mask = sum(1 << k for k in self.corrected)
        return HEADER.pack(mask, len(self.sizes), self.first)

    @property
    def order(self) -> list[int]:
        """Indices of the slices in the order in which the layer has them."""
        count = len(self.sizes)
        return [(self.first + i) % count for i in range(count)]

    def rows(self, index: int) -> slice:
        """Rows of the pictures that a slice covers."""
        return slice_rows(self.wanted.shape[1], len(self.sizes))[index]

    def encode_slice(
        self,
        index: int,
        restored: FixedPoint,
        max_size: int,
        min_size: int = 0,
        filled: float = MIN_FILLED,
        size_model: SizeModel | None = None,
    ) -> bytes:
        """Code one slice.

        Args:
            index: of the slice.
            restored: (K, h, W, C), its rows as the network restores them.
            max_size: bytes that are available.
            min_size: bytes that the slice is padded to if it is shorter, as far as ``max_size``
                allows.
            filled: a slice that fills this share of ``max_size`` is not coded again.
            size_model: what slices coded before have taught; this one adds to it.
        """
        wanted = self.wanted[:, self.rows(index)]
        parts = split_into_parts(self.corrected, wanted.shape)
        search = LevelSearch(max_size, self.slope, filled)
        files = self._encode_to_fit(wanted, restored, parts, search, size_model or SizeModel())
        divisors = [
            self._divisors(wanted[part], restored[part], data)
            for part, data in zip(parts, files, strict=True)
        ]
        files[-1] += bytes(max(0, min(min_size, max_size) - coded_size(parts, files)))
        return b"".join(
            divisor + len(data).to_bytes(_LENGTH_BYTES, "big") + data
            for divisor, data in zip(divisors, files, strict=True)
        )

    def correction(self, restored: FixedPoint, max_size: int) -> FixedPoint:
        """What a layer of one slice would add to (K, H, W, C), in fixed point.

        Args:
            restored: the pictures as the network restores them.
            max_size: bytes of the layer that are available.
        """
        added = np.zeros_like(restored)
        body = self.encode_slice(0, restored, max_size - HEADER.size)
        add_layer(self.header + body, added)
        return added

    def _encode_to_fit(
        self,
        wanted: PixelArray,
        restored: FixedPoint,
        parts: Sequence[Part],
        search: LevelSearch,
        size_model: SizeModel,
    ) -> list[bytes]:
        """Parts coded in about the best quality that fits; empty files if none does."""
        speed = SLOW_SPEED if self.thorough else USUAL_SPEED

        def encode(level: float, speed: int) -> tuple[list[bytes], int]:
            files = encode_parts(wanted, restored, parts, self.gain, level, speed)
            return files, coded_size(parts, files)

        def quick_size(level: float) -> int:
            return encode(level, QUICK_SPEED)[1]

        quick_search = search.scaled(1 / size_model.ratio(speed))
        quick_level, size_then = quick_search.nearest(self.level, quick_size, _MAX_QUICK_TRIALS)
        level = quick_search.aim(quick_level, size_then)
        best, best_size = [b""] * len(parts), 0
        for trial in range(MAX_TRIALS):
            files, size = encode(level, speed)
            if trial == 0:
                growth = math.exp(self.slope * (level - quick_level))
                size_model.learn(size_then, speed, size / growth)
            if best_size < size <= search.max_size:
                best, best_size = files, size
            following = search.next_level(level, size)
            if search.accepts(size) or following == level:
                break
            level = following
        return best

    def _divisors(self, wanted: PixelArray, restored: FixedPoint, data: bytes) -> bytes:
        """The divisor for each picture of a part that leaves the least squared error.

        It exceeds the gain: a codec reconstructs a coefficient at the middle of its quantization
        interval, but smaller coefficients are more frequent.
        """
        decoded = decode_difference(data, restored.shape)
        if decoded is None:
            return bytes(len(wanted))
        products, squares = correlate(wanted, restored, decoded, self.gain)
        factors = products / np.maximum(squares, 1)
        divisors = np.rint(_SIXTEENTHS * self.gain / np.maximum(factors, 1e-9))
        usable = divisors <= _MAX_DIVISOR
        return np.where(usable, divisors.clip(_MIN_DIVISOR), 0).astype(np.uint8).tobytes()


def slice_rows(height: int, count: int) -> list[slice]:
    """The rows of each of ``count`` slices of a picture."""
    units = -(-height // _SLICE_MULTIPLE)
    ends = [min(height, units * i // count * _SLICE_MULTIPLE) for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def add_layer(data: bytes, restored: FixedPoint) -> None:
    """Add an enhancement layer to restored pictures, in place.

    Args:
        data: bytes of a layer; they may come from anyone. Whatever follows the first invalid part
            is ignored.
        restored: (K, H, W, C).
    """
    if len(data) < HEADER.size:
        return
    mask, count, first = HEADER.unpack_from(data)
    if not first < count <= -(-restored.shape[1] // _SLICE_MULTIPLE):
        return
    data = data[HEADER.size :]
    corrected = [k for k in range(len(restored)) if mask >> k & 1]
    slices = slice_rows(restored.shape[1], count)
    for rows_of_slice in slices[first:] + slices[:first]:
        area = restored[:, rows_of_slice]
        for pictures, rows in split_into_parts(corrected, area.shape):
            divisors, data = data[: len(pictures)], data[len(pictures) :]
            length, data = int.from_bytes(data[:_LENGTH_BYTES], "big"), data[_LENGTH_BYTES:]
            file, data = data[:length], data[length:]
            if not any(file):
                continue
            decoded = decode_difference(file, area[pictures, rows].shape)
            if decoded is None:
                return
            for k, divisor, picture in zip(pictures, divisors, decoded, strict=True):
                if divisor >= _MIN_DIVISOR:
                    area[k, rows] += difference_table(divisor / _SIXTEENTHS)[picture]


def encode_parts(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    gain: float,
    level: float,
    speed: int,
) -> list[bytes]:
    """Code parts at a level; if it is no whole number, at the next one with a smaller gain."""
    whole = max(0, math.ceil(level))
    gain *= GAIN_OF_LEVEL ** (level - whole)
    quality = quality_of_level(whole)
    return [encode_difference(wanted[part], restored[part], gain, quality, speed) for part in parts]


def coded_size(parts: Sequence[Part], files: Sequence[bytes]) -> int:
    """Bytes of parts with their divisors and lengths."""
    return sum(
        len(pictures) + _LENGTH_BYTES + len(data)
        for (pictures, _), data in zip(parts, files, strict=True)
    )


def correlate(
    wanted: PixelArray, restored: FixedPoint, decoded: Pixels, gain: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """For each picture, sum of missing times decoded difference, and of decoded squared.

    Both in squared fixed-point units.
    """
    products, squares = np.zeros((2, len(wanted)))
    table = difference_table(gain)
    for top in range(0, wanted.shape[1], _ROWS_AT_ONCE):
        some = slice(None), slice(top, top + _ROWS_AT_ONCE)
        difference = table[decoded[some]]
        missing = missing_difference(wanted[some], restored[some])
        axes = 1, 2, 3
        products += np.multiply(missing, difference, dtype=np.int32).sum(axes, np.float64)
        squares += np.square(difference, dtype=np.int32).sum(axes, np.float64)
    return products, squares


def split_into_parts(pictures: list[int], shape: tuple[int, ...]) -> list[Part]:
    """Small pictures all together; large ones one by one, in bands of rows."""
    count, height, width = len(pictures), *shape[1:3]
    if count * height * width <= MAX_AVIF_PIXELS and count * height <= MAX_AVIF_SIDE:
        return [(pictures, slice(0, height))]
    rows = max(1, min(MAX_AVIF_SIDE, MAX_AVIF_PIXELS // width))
    return [
        ([k], slice(top, min(top + rows, height)))
        for k in pictures
        for top in range(0, height, rows)
    ]

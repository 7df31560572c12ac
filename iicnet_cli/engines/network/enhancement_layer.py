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

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.network.residual_codec import (
    MAX_QUALITY,
    QUICK_SPEED,
    SIZE_AT_QUICK_SPEED,
    SLOW_SPEED,
    USUAL_SPEED,
    ZERO_VALUE,
    best_quality,
    codec_unavailable_reason,
    decode_difference,
    difference_table,
    encode_difference,
    missing_difference,
)
from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray, Pixels

MAX_PICTURE_BYTES = 1 << 28
"""Pictures that together take more bytes than this get no layer, because encoding keeps what is
restored from them in memory."""

_MIN_LAYER_BYTES = 512
"""Layers below this size are not worth coding: an AVIF without a picture takes 300 bytes."""
MAX_AVIF_PIXELS = 1 << 22
"""One AVIF holds at most this many pixels."""
_MAX_AVIF_SIDE = 16384
"""One AVIF has at most this many rows and columns; readers stop at 32768."""
_SAMPLED_PARTS = 4
"""The first estimate of the quality is made from at most this many parts."""
_USUAL_QUALITY = 70
"""The search for the quality starts here."""
_LENGTH_BYTES = 4
"""The length of an AVIF is stored in this many bytes."""
_HEADER = struct.Struct(">HBB")
"""Mask of the pictures, number of slices, and index of the first slice."""
_SLICE_MULTIPLE = 16
"""Slice heights are multiples of this many rows, except the last."""
GAINS = (6.0, 4.0, 3.0, 2.0, 1.5, 1.0)
"""Differences are multiplied by one of these gains, the greatest that clips few of them."""
_MAX_CLIPPING_MSE = 0.01
"""A gain may clip differences only so far that it costs this mean squared error."""
_SIXTEENTHS = 16
"""Divisors are stored in sixteenths."""
_MIN_DIVISOR, _MAX_DIVISOR = 16, 255
"""Range of a stored divisor; a smaller one means that the picture is not corrected."""
_MAX_DIFFERENCE = 1024
"""Differences are counted below this absolute value; larger ones do not occur."""
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
        quality: approximate quality of the codec.
        sizes: approximate bytes of each slice at that quality.
        mse_reduction: mean squared error, over all pictures, that the layer removes if it is coded
            quickly.
        first: index of the slice that comes first; the others follow in cyclic order.
        thorough: whether the codec runs at its slow speed, which takes eight times as long.
    """

    wanted: PixelArray
    corrected: list[int]
    gain: float
    quality: int
    sizes: list[int]
    mse_reduction: float
    first: int = 0
    thorough: bool = False

    @property
    def header(self) -> bytes:
        """The bytes before the slices."""
        mask = sum(1 << k for k in self.corrected)
        return _HEADER.pack(mask, len(self.sizes), self.first)

    @property
    def order(self) -> list[int]:
        """Indices of the slices in the order in which the layer has them."""
        count = len(self.sizes)
        return [(self.first + i) % count for i in range(count)]

    def rows(self, index: int) -> slice:
        """Rows of the pictures that a slice covers."""
        return slice_rows(self.wanted.shape[1], len(self.sizes))[index]

    def encode_slice(
        self, index: int, restored: FixedPoint, max_size: int, min_size: int = 0
    ) -> bytes:
        """Code one slice.

        Args:
            index: of the slice.
            restored: (K, h, W, C), its rows as the network restores them.
            max_size: bytes that are available.
            min_size: bytes that the slice is padded to if it is shorter, as far as ``max_size``
                allows.
        """
        wanted = self.wanted[:, self.rows(index)]
        parts = _split_into_parts(self.corrected, wanted.shape)
        speed = SLOW_SPEED if self.thorough else USUAL_SPEED
        quick_size = round(max_size * SIZE_AT_QUICK_SPEED[speed])
        quality = _find_quality(wanted, restored, parts, self.gain, quick_size, self.quality)
        files = [b""] * len(parts)
        while quality >= 0:
            candidates = _encode_parts(wanted, restored, parts, self.gain, quality, speed)
            if _coded_size(parts, candidates) <= max_size:
                files = candidates
                break
            quality -= 1
        divisors = [
            self._divisors(wanted[part], restored[part], data)
            for part, data in zip(parts, files, strict=True)
        ]
        files[-1] += bytes(max(0, min(min_size, max_size) - _coded_size(parts, files)))
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
        body = self.encode_slice(0, restored, max_size - _HEADER.size)
        add_layer(self.header + body, added)
        return added

    def _divisors(self, wanted: PixelArray, restored: FixedPoint, data: bytes) -> bytes:
        """The divisor for each picture of a part that leaves the least squared error.

        It exceeds the gain: a codec reconstructs a coefficient at the middle of its quantization
        interval, but smaller coefficients are more frequent.
        """
        decoded = decode_difference(data, restored.shape)
        if decoded is None:
            return bytes(len(wanted))
        products, squares = _correlate(wanted, restored, decoded, self.gain)
        factors = products / np.maximum(squares, 1)
        divisors = np.rint(_SIXTEENTHS * self.gain / np.maximum(factors, 1e-9))
        usable = divisors <= _MAX_DIVISOR
        return np.where(usable, divisors.clip(_MIN_DIVISOR), 0).astype(np.uint8).tobytes()


def slice_rows(height: int, count: int) -> list[slice]:
    """The rows of each of ``count`` slices of a picture."""
    units = -(-height // _SLICE_MULTIPLE)
    ends = [min(height, units * i // count * _SLICE_MULTIPLE) for i in range(count + 1)]
    return [slice(a, b) for a, b in pairwise(ends)]


def plan_layer(
    wanted: PixelArray, restored: FixedPoint, max_size: int, slices: int = 1
) -> LayerPlan | None:
    """Decide how to code the difference between original and restored pictures.

    Args:
        wanted: (K, H, W, C), what went into the network, -255..510.
        restored: (K, H, W, C) in fixed point, approximately what the network will restore.
        max_size: bytes that are available.
        slices: number of slices.

    Returns:
        ``None`` where nothing fits or helps, and for pictures that are not in colour.
    """
    if max_size < _MIN_LAYER_BYTES or wanted.shape[3] != 3 or wanted.shape[2] > _MAX_AVIF_SIDE:
        return None
    corrected = list(range(len(wanted)))
    quality = _USUAL_QUALITY
    while corrected:
        gain = _choose_gain(wanted, restored, corrected)
        parts_of_slices = [
            [
                (pictures, slice(area.start + rows.start, area.start + rows.stop))
                for pictures, rows in _split_into_parts(corrected, wanted[:, area].shape)
            ]
            for area in slice_rows(wanted.shape[1], slices)
        ]
        parts = [part for of_slice in parts_of_slices for part in of_slice]
        sampled = parts[:: -(-len(parts) // _SAMPLED_PARTS)]
        sampled_size = (max_size - _HEADER.size) * _total_rows(sampled) // _total_rows(parts)
        quality = _find_quality(wanted, restored, sampled, gain, sampled_size, quality)
        if quality < 0:
            return None
        files = _encode_parts(wanted, restored, parts, gain, quality, QUICK_SPEED)
        helped, mse_reduction = _measure_improvement(wanted, restored, parts, files, gain)
        if helped == corrected:
            remaining = iter(files)
            sizes = [
                _coded_size(of_slice, [next(remaining) for _ in of_slice])
                for of_slice in parts_of_slices
            ]
            return LayerPlan(wanted, corrected, gain, quality, sizes, mse_reduction)
        corrected = helped
    return None


def add_layer(data: bytes, restored: FixedPoint) -> None:
    """Add an enhancement layer to restored pictures, in place.

    Args:
        data: bytes of a layer; they may come from anyone. Whatever follows the first invalid part
            is ignored.
        restored: (K, H, W, C).
    """
    if len(data) < _HEADER.size:
        return
    mask, count, first = _HEADER.unpack_from(data)
    if not first < count <= -(-restored.shape[1] // _SLICE_MULTIPLE):
        return
    data = data[_HEADER.size :]
    corrected = [k for k in range(len(restored)) if mask >> k & 1]
    slices = slice_rows(restored.shape[1], count)
    for rows_of_slice in slices[first:] + slices[:first]:
        area = restored[:, rows_of_slice]
        for pictures, rows in _split_into_parts(corrected, area.shape):
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


def _choose_gain(wanted: PixelArray, restored: FixedPoint, corrected: list[int]) -> float:
    """The greatest gain that clips next to no difference."""
    sizes = np.arange(_MAX_DIFFERENCE)
    counts = np.zeros(_MAX_DIFFERENCE)
    for k in corrected:
        for top in range(0, wanted.shape[1], _ROWS_AT_ONCE):
            some = k, slice(top, top + _ROWS_AT_ONCE)
            differences = np.abs(missing_difference(wanted[some], restored[some]))
            rounded = ((differences + FRACTION // 2) // FRACTION).clip(max=_MAX_DIFFERENCE - 1)
            counts += np.bincount(rounded.reshape(-1), minlength=_MAX_DIFFERENCE)

    def clipping_mse(gain: float) -> float:
        over = (sizes - (ZERO_VALUE - 1) / gain).clip(0)
        return float(np.sum(counts * over**2) / counts.sum())

    return next((gain for gain in GAINS if clipping_mse(gain) < _MAX_CLIPPING_MSE), GAINS[-1])


def _find_quality(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    gain: float,
    max_size: int,
    guess: int,
) -> int:
    """The best quality at which these parts fit if coded quickly; -1 if they fit at none."""

    def size_at(quality: int) -> int:
        return _coded_size(
            parts, _encode_parts(wanted, restored, parts, gain, quality, QUICK_SPEED)
        )

    return best_quality(size_at, max_size, MAX_QUALITY + 1, guess)


def _encode_parts(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    gain: float,
    quality: int,
    speed: int,
) -> list[bytes]:
    return [encode_difference(wanted[part], restored[part], gain, quality, speed) for part in parts]


def _coded_size(parts: Sequence[Part], files: Sequence[bytes]) -> int:
    """Bytes of parts with their divisors and lengths."""
    return sum(
        len(pictures) + _LENGTH_BYTES + len(data)
        for (pictures, _), data in zip(parts, files, strict=True)
    )


def _measure_improvement(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    files: Sequence[bytes],
    gain: float,
) -> tuple[list[int], float]:
    """The pictures that a layer improves, and the mean squared error that it removes.

    A picture that is restored very well would only get the errors of the codec.
    """
    improvement, removed = np.zeros((2, len(wanted)))
    for (pictures, rows), data in zip(parts, files, strict=True):
        part = pictures, rows
        decoded = decode_difference(data, restored[part].shape)
        if decoded is not None:
            products, squares = _correlate(wanted[part], restored[part], decoded, gain)
            improvement[pictures] += 2 * products - squares
            removed[pictures] += products.clip(0) ** 2 / np.maximum(squares, 1)
    helped = [k for k in range(len(wanted)) if improvement[k] > 0]
    return helped, float(removed[helped].sum()) / (FRACTION**2 * wanted.size)


def _correlate(
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


def _split_into_parts(pictures: list[int], shape: tuple[int, ...]) -> list[Part]:
    """Small pictures all together; large ones one by one, in bands of rows."""
    height, width = shape[1:3]
    count = len(pictures)
    if count * height * width <= MAX_AVIF_PIXELS and count * height <= _MAX_AVIF_SIDE:
        return [(pictures, slice(0, height))]
    rows = max(1, min(_MAX_AVIF_SIDE, MAX_AVIF_PIXELS // width))
    return [
        ([k], slice(top, min(top + rows, height)))
        for k in pictures
        for top in range(0, height, rows)
    ]


def _total_rows(parts: Sequence[Part]) -> int:
    """Rows of all pictures of these parts together."""
    return sum(len(pictures) * int(rows.stop - rows.start) for pictures, rows in parts)

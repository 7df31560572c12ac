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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.network.level_search import MIN_FILLED, MIN_LEVEL, SLOPES, LevelSearch
from iicnet_cli.engines.network.residual_codec import (
    GAIN_OF_LEVEL,
    MAX_LEVEL,
    QUICK_SPEED,
    SIZE_AT_SPEED,
    SLOW_SPEED,
    USUAL_SPEED,
    ZERO_VALUE,
    codec_unavailable_reason,
    decode_difference,
    difference_table,
    encode_difference,
    missing_difference,
    quality_of_level,
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
_MAX_TRIALS = 6
"""A plan codes a layer, and a slice, at most this many times."""
_NEAR_LEVELS = 5
"""Sizes and errors are estimated up to this many levels away from a trial."""
_USUAL_LEVEL = 34.0
"""The search for the level starts here."""
_USUAL_SLOPE = 0.08
"""The logarithm of the size grows by about this much with the level."""
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
        files = self._encode_to_fit(wanted, restored, parts, max_size)
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

    def _encode_to_fit(
        self, wanted: PixelArray, restored: FixedPoint, parts: Sequence[Part], max_size: int
    ) -> list[bytes]:
        """Parts coded in about the best quality that fits; empty files if none does."""
        speed = SLOW_SPEED if self.thorough else USUAL_SPEED

        def encode(level: float, speed: int) -> tuple[list[bytes], int]:
            files = _encode_parts(wanted, restored, parts, self.gain, level, speed)
            return files, _coded_size(parts, files)

        _, size = encode(self.level, QUICK_SPEED)
        size = round(size * SIZE_AT_SPEED[speed])
        search = LevelSearch(max_size, self.slope)
        level = search.next_level(self.level, size)
        best, best_size = [b""] * len(parts), 0
        for _ in range(_MAX_TRIALS):
            files, size = encode(level, speed)
            if best_size < size <= max_size:
                best, best_size = files, size
            following = search.next_level(level, size)
            if MIN_FILLED * max_size < size <= max_size or following == level:
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


class LayerPlanner:
    """Decides how to code the difference between original and restored pictures.

    It remembers what it has coded, so that plans for several sizes take little more time than one.

    Args:
        wanted: (K, H, W, C), what went into the network, -255..510.
        restored: (K, H, W, C) in fixed point, approximately what the network will restore.
    """

    def __init__(self, wanted: PixelArray, restored: FixedPoint) -> None:
        self._wanted, self._restored = wanted, restored
        self._level, self._corrected = _USUAL_LEVEL, list(range(len(wanted)))
        self._trials: dict[tuple[int, tuple[int, ...]], dict[float, _Trial]] = {}

    def plan(self, max_size: int, slices: int = 1) -> LayerPlan | None:
        """Plan a layer.

        Args:
            max_size: bytes that are available.
            slices: number of slices.

        Returns:
            ``None`` where nothing fits or helps, and for pictures that are not in colour.
        """
        wanted = self._wanted
        if max_size < _MIN_LAYER_BYTES or wanted.shape[3] != 3 or wanted.shape[2] > _MAX_AVIF_SIDE:
            return None
        corrected = self._corrected
        while corrected:
            trials = self._trials.setdefault((slices, tuple(corrected)), {})
            gain = _choose_gain(wanted, self._restored, corrected)
            level, trial = self._find_level(
                trials,
                max_size - _HEADER.size,
                partial(_try_level, wanted, self._restored, corrected, gain, slices),
            )
            if trial.size > max_size and level == MIN_LEVEL:
                return None
            if trial.helped == corrected:
                self._corrected = corrected
                return _plan_at(wanted, corrected, gain, level, trial, trials)
            corrected = trial.helped
        return None

    def _find_level(
        self, trials: dict[float, _Trial], max_size: int, try_level: Callable[[float], _Trial]
    ) -> tuple[float, _Trial]:
        """The level at which a layer, coded quickly, should just fit, and a trial near it."""
        level = self._level
        for _ in range(_MAX_TRIALS):
            if level not in trials:
                trials[level] = try_level(level)
            distances = {x: abs(math.log(t.size / max_size)) for x, t in trials.items()}
            near = min(trials, key=lambda x: (not trials[x].helped, distances[x]))
            step = math.log(max_size / trials[near].size) / _slope(trials, near)
            level = min(max(near + step, MIN_LEVEL), float(MAX_LEVEL))
            if abs(level - near) <= (_NEAR_LEVELS if len(trials) > 1 else 1) or level in trials:
                break
            level = float(round(level))
        self._level = float(round(level))
        return level, trials[near]


@dataclass(frozen=True)
class _Trial:
    """A layer coded quickly, at one level.

    Attributes:
        level: of the codec.
        sizes: bytes of each slice.
        helped: the pictures that it improves.
        mse_reduction: over all pictures.
    """

    level: float
    sizes: list[int]
    helped: list[int]
    mse_reduction: float

    @property
    def size(self) -> int:
        """Bytes of all slices."""
        return sum(self.sizes)


def _plan_at(
    wanted: PixelArray,
    corrected: list[int],
    gain: float,
    level: float,
    trial: _Trial,
    trials: dict[float, _Trial],
) -> LayerPlan:
    """The plan for a level near that of a trial."""
    slope = _slope(trials, trial.level)
    growth = slope * (level - trial.level)
    sizes = [round(size * math.exp(growth)) for size in trial.sizes]
    reduction = trial.mse_reduction
    others = [other for other in trials.values() if other.size != trial.size]
    if others:
        other = min(others, key=lambda each: abs(each.level - trial.level))
        change = (other.mse_reduction - reduction) / math.log(other.size / trial.size)
        reduction += growth * change
    return LayerPlan(wanted, corrected, gain, level, sizes, reduction, slope)


def _slope(trials: dict[float, _Trial], near: float) -> float:
    """By how much the logarithm of the size grows with the level, near that of a trial."""
    others = [level for level in trials if level != near]
    if not others:
        return _USUAL_SLOPE
    other = min(others, key=lambda level: abs(level - near))
    slope = math.log(trials[other].size / trials[near].size) / (other - near)
    return min(max(slope, SLOPES[0]), SLOPES[1])


def _try_level(
    wanted: PixelArray,
    restored: FixedPoint,
    corrected: list[int],
    gain: float,
    slices: int,
    level: float,
) -> _Trial:
    """Code a layer quickly at one level."""
    parts_of_slices = [
        [
            (pictures, slice(area.start + rows.start, area.start + rows.stop))
            for pictures, rows in _split_into_parts(corrected, wanted[:, area].shape)
        ]
        for area in slice_rows(wanted.shape[1], slices)
    ]
    parts = [part for of_slice in parts_of_slices for part in of_slice]
    files = _encode_parts(wanted, restored, parts, gain, level, QUICK_SPEED)
    helped, mse_reduction = _measure_improvement(wanted, restored, parts, files, gain)
    remaining = iter(files)
    sizes = [
        _coded_size(of_slice, [next(remaining) for _ in of_slice]) for of_slice in parts_of_slices
    ]
    return _Trial(level, sizes, helped, mse_reduction)


def plan_layer(wanted: PixelArray, restored: FixedPoint, size: int, n: int = 1) -> LayerPlan | None:
    """Plan one layer of ``n`` slices; see :class:`LayerPlanner`."""
    return LayerPlanner(wanted, restored).plan(size, n)


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


def _encode_parts(
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
    count, height, width = len(pictures), *shape[1:3]
    if count * height * width <= MAX_AVIF_PIXELS and count * height <= _MAX_AVIF_SIDE:
        return [(pictures, slice(0, height))]
    rows = max(1, min(_MAX_AVIF_SIDE, MAX_AVIF_PIXELS // width))
    return [
        ([k], slice(top, min(top + rows, height)))
        for k in pictures
        for top in range(0, height, rows)
    ]

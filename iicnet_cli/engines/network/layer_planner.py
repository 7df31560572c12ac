"""The plan for an enhancement layer, from layers that are coded quickly at a few levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise

import numpy as np

from iicnet_cli.engines.network.enhancement_layer import (
    HEADER,
    MAX_AVIF_SIDE,
    MAX_TRIALS,
    LayerPlan,
    Part,
    coded_size,
    correlate,
    encode_parts,
    slice_rows,
    split_into_parts,
)
from iicnet_cli.engines.network.level_search import MIN_LEVEL, SLOPES
from iicnet_cli.engines.network.residual_codec import (
    MAX_LEVEL,
    QUICK_SPEED,
    ZERO_VALUE,
    decode_difference,
    missing_difference,
)
from iicnet_cli.pictures.arrays import FRACTION, FixedPoint, PixelArray

_MIN_LAYER_BYTES = 512
"""Layers below this size are not worth coding."""
_EMPTY_AVIF_BYTES = 300
"""An AVIF without a picture takes about this many bytes."""
_NEAR_LEVELS = 5
"""Sizes and errors are estimated up to this many levels away from a trial."""
_USUAL_LEVEL = 34.0
"""The search for the level starts here."""
_USUAL_SLOPE = 0.08
"""The logarithm of the size grows by about this much with the level."""
GAINS = (6.0, 4.0, 3.0, 2.0, 1.5, 1.0)
"""Differences are multiplied by one of these gains, the greatest that clips few of them."""
_MAX_CLIPPING_MSE = 0.01
"""A gain may clip differences only so far that it costs this mean squared error."""
_MAX_DIFFERENCE = 1024
"""Differences are counted below this absolute value; larger ones do not occur."""
_MIN_FACTOR = 0.3
"""A picture is corrected if the best factor for what is decoded is at least this. Below it, most of
what is decoded are the codec's own errors."""
_ROWS_AT_ONCE = 256
"""Differences are computed this many rows at a time, to save memory."""


class LayerPlanner:
    """Decides how to code the difference between original and restored pictures.

    It remembers what it has coded, so that plans for several sizes take little more time than one.

    Args:
        wanted: (K, H, W, C), what went into the network, -255..510.
        restored: (K, h, W, C) in fixed point, approximately what the network will restore of the
            sampled rows, one sample below the other.
        samples: rows that stand for each slice; by default all rows, for any number of slices.
    """

    def __init__(
        self, wanted: PixelArray, restored: FixedPoint, samples: Sequence[slice] | None = None
    ) -> None:
        self._wanted, self._restored = wanted, restored
        self._samples = samples
        self._level, self._corrected = _USUAL_LEVEL, list(range(len(wanted)))
        self._trials: dict[tuple[int, tuple[int, ...]], dict[float, _Trial]] = {}

    def plan(self, max_size: int, slices: int = 1) -> LayerPlan | None:
        """Plan a layer.

        Args:
            max_size: bytes that are available.
            slices: number of slices; as many as there are samples, if there are any.

        Returns:
            ``None`` where nothing fits or helps, and for pictures that are not in colour.
        """
        wanted = self._wanted
        if max_size < _MIN_LAYER_BYTES or wanted.shape[3] != 3 or wanted.shape[2] > MAX_AVIF_SIDE:
            return None
        corrected = self._corrected
        sampled = _Sampled.of(wanted, self._restored, slices, self._samples)
        while corrected:
            trials = self._trials.setdefault((slices, tuple(corrected)), {})
            gain = _choose_gain(sampled.wanted, sampled.restored, corrected)
            level, trial = self._find_level(
                trials,
                max_size - HEADER.size,
                partial(_try_level, sampled, corrected, gain),
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
        for _ in range(MAX_TRIALS):
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
class _Sampled:
    """The rows that trials code.

    Attributes:
        wanted, restored: (K, h, W, C).
        areas: rows, of those, that stand for each slice.
        growths: how many times as many rows each slice has.
    """

    wanted: PixelArray
    restored: FixedPoint
    areas: list[slice]
    growths: list[float]

    @classmethod
    def of(
        cls,
        wanted: PixelArray,
        restored: FixedPoint,
        slices: int,
        samples: Sequence[slice] | None,
    ) -> _Sampled:
        """The samples of ``slices`` slices; all rows without any."""
        slice_areas = slice_rows(wanted.shape[1], slices)
        if samples is None:
            return cls(wanted, restored, slice_areas, [1.0] * slices)
        heights = [rows.stop - rows.start for rows in samples]
        ends = list(accumulate(heights, initial=0))
        return cls(
            sampled_rows(wanted, samples),
            restored,
            [slice(a, b) for a, b in pairwise(ends)],
            [(a.stop - a.start) / h for a, h in zip(slice_areas, heights, strict=True)],
        )


def sampled_rows(pictures: PixelArray, samples: Sequence[slice]) -> PixelArray:
    """Some rows of (K, H, W, C), one sample below the other."""
    return np.concatenate([pictures[:, rows] for rows in samples], axis=1)


@dataclass(frozen=True)
class _Trial:
    """A layer coded quickly, at one level.

    Attributes:
        level: of the codec.
        sizes: bytes of each slice.
        helped: the pictures that are worth correcting.
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


def _try_level(sampled: _Sampled, corrected: list[int], gain: float, level: float) -> _Trial:
    """Code a layer quickly at one level."""
    wanted, restored = sampled.wanted, sampled.restored
    parts_of_slices = [
        [
            (pictures, slice(area.start + rows.start, area.start + rows.stop))
            for pictures, rows in split_into_parts(corrected, wanted[:, area].shape)
        ]
        for area in sampled.areas
    ]
    parts = [part for of_slice in parts_of_slices for part in of_slice]
    files = encode_parts(wanted, restored, parts, gain, level, QUICK_SPEED)
    helped, mse_reduction = _measure_improvement(wanted, restored, parts, files, gain)
    remaining = iter(files)
    sizes = []
    for of_slice, growth in zip(parts_of_slices, sampled.growths, strict=True):
        size = coded_size(of_slice, [next(remaining) for _ in of_slice])
        fixed = min(size, _EMPTY_AVIF_BYTES * len(of_slice))
        sizes.append(fixed + round((size - fixed) * growth))
    return _Trial(level, sizes, helped, mse_reduction)


def plan_layer(wanted: PixelArray, restored: FixedPoint, size: int, n: int = 1) -> LayerPlan | None:
    """Plan one layer of ``n`` slices; see :class:`LayerPlanner`."""
    return LayerPlanner(wanted, restored).plan(size, n)


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


def _measure_improvement(
    wanted: PixelArray,
    restored: FixedPoint,
    parts: Sequence[Part],
    files: Sequence[bytes],
    gain: float,
) -> tuple[list[int], float]:
    """The pictures that are worth correcting, and the mean squared error that this removes."""
    worth, removed = np.zeros((2, len(wanted)))
    for (pictures, rows), data in zip(parts, files, strict=True):
        part = pictures, rows
        decoded = decode_difference(data, restored[part].shape)
        if decoded is not None:
            products, squares = correlate(wanted[part], restored[part], decoded, gain)
            worth[pictures] += products - _MIN_FACTOR * squares
            removed[pictures] += products.clip(0) ** 2 / np.maximum(squares, 1)
    helped = [k for k in range(len(wanted)) if worth[k] > 0]
    return helped, float(removed[helped].sum()) / (FRACTION**2 * wanted.size)

"""Shifts of whole pictures onto each other, where the search for motion begins (``motion.py``)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.motion.field import MAX_VECTOR
from iicnet_cli.pictures.arrays import Pixels

Plane = NDArray[np.floating[Any]]
Spectrum = NDArray[np.complexfloating[Any, Any]]
Shift = tuple[int, int]
"""Rows down and columns to the right, circularly."""

SMALLEST_SIDE = 64
"""Pixels; in smaller pictures no motion is looked for."""
WORTH = 0.85
"""What has to be left of the difference to the reference, at most, for a picture to be moved."""

_COARSE = 100
"""Pixels that the shorter side has at least where shifts are looked for; then they are refined."""
_PEAKS = 16
"""Of the correlation: in blur the highest one is often not the right one."""


def phase_correlate(images: Pixels) -> tuple[Shift, ...]:
    """How far each picture but the first has to be shifted to lie on it, where that is worth it.

    Phase correlation (Kuglin and Hines, 1975) of reduced pictures proposes shifts; the one with
    the least mean absolute difference is refined, octave by octave, to whole pixels.

    Args:
        images: (K, H, W, C), uint8.

    Returns:
        K - 1 shifts, (0, 0) where none brings the difference down by 15 %, as in all pictures
        below ``SMALLEST_SIDE``.
    """
    if min(images.shape[1:3]) < SMALLEST_SIDE:
        return ((0, 0),) * (len(images) - 1)
    reference = _pyramid(images[0])
    spectrum = _spectrum(reference[-1])
    return tuple(_find(reference, spectrum, _pyramid(image)) for image in images[1:])


def _pyramid(image: Pixels) -> list[Plane]:
    """Grey, halved again and again until the shorter side is below twice ``_COARSE``."""
    grey = np.asarray(image @ np.ones(image.shape[2], np.float32), np.float32)
    levels: list[Plane] = [grey]
    while min(levels[-1].shape) >= 2 * _COARSE:
        last = levels[-1][: levels[-1].shape[0] // 2 * 2, : levels[-1].shape[1] // 2 * 2]
        levels.append(
            0.25 * (last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2])
        )
    return levels


def _spectrum(plane: Plane) -> Spectrum:
    height, width = plane.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectrum: Spectrum = np.fft.rfft2((plane - plane.mean()) * window)
    return spectrum


def _find(reference: list[Plane], spectrum: Spectrum, image: list[Plane]) -> Shift:
    cross = spectrum * np.conj(_spectrum(image[-1]))
    size = np.abs(cross)
    height, width = shape = reference[-1].shape
    correlation = np.fft.irfft2(cross / (size + 1e-3 * size.mean() + 1e-12), shape)
    best = np.argpartition(correlation.ravel(), -_PEAKS)[-_PEAKS:]
    centre = np.array([height // 2, width // 2])
    peaks = [tuple((np.array(np.divmod(i, width)) + centre) % shape - centre) for i in best]
    start = min([(0, 0), *peaks], key=lambda shift: _difference(reference[-1], image[-1], shift))
    y, x = _refine(reference[-1], image[-1], start)
    for wanted, given in zip(reversed(reference[:-1]), reversed(image[:-1]), strict=True):
        y, x = _refine(wanted, given, (2 * y, 2 * x))
    shift = (int(y), int(x))
    least, unmoved = (_difference(reference[0], image[0], s) for s in (shift, (0, 0)))
    worthwhile = least < WORTH * unmoved and max(map(abs, shift)) < MAX_VECTOR
    return shift if worthwhile else (0, 0)


def _refine(wanted: Plane, given: Plane, start: Shift) -> Shift:
    """The shift at the bottom of the slope that ``start`` is on, a few steps away at most."""
    best, least = start, _difference(wanted, given, start)
    for _ in range(4):
        y, x = best
        for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            difference = _difference(wanted, given, near)
            if difference < least:
                best, least = near, difference
        if best == (y, x):
            break
    return best


def _difference(wanted: Plane, given: Plane, shift: Shift) -> float:
    """Mean absolute difference, the borders that come in from the other side included."""
    step = max(1, min(wanted.shape) // 200)  # so many rows and columns tell enough
    height, width = wanted.shape
    rows = given[(np.arange(0, height, step) - shift[0]) % height]
    # Two slices are much faster than an index for each column.
    start = -shift[1] % width
    left = rows[:, start::step]
    right = rows[:, (start - width) % step : start : step]
    reference = wanted[::step, ::step]
    moved = np.concatenate([left, right], axis=1)[:, : reference.shape[1]]
    return float(np.abs(moved - reference).mean())

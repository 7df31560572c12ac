"""Shifts between whole pictures, by phase correlation (Kuglin and Hines, 1975)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.motion.field import MAX_VECTOR
from iicnet_cli.pictures.arrays import Pixels

Plane = NDArray[np.floating[Any]]
Spectrum = NDArray[np.complexfloating[Any, Any]]
Shift = tuple[int, int]
"""A circular shift of a picture, in pixels, as (down, right)."""

MIN_SIDE = 64
"""Motion is estimated only in pictures whose shorter side has at least this many pixels."""
MAX_RELATIVE_DIFFERENCE = 0.85
"""Motion is used only if it reduces the mean absolute difference to less than this part of it."""

_CORRELATED_SIDE = 100
"""Pictures are halved while their shorter side stays at least this long, in pixels."""
_PEAKS = 16
"""This many of the highest correlation peaks are tried, because blur can hide the right one."""
_MAX_DESCENT_STEPS = 4
"""A shift moves by at most this many steps in each octave."""
_DIFFERENCE_SIDE = 200
"""Differences skip rows and columns, but keep at least this many of the shorter side."""


def phase_correlate(images: Pixels) -> tuple[Shift, ...]:
    """Find the shift that moves each picture onto the first.

    The phase correlation of reduced pictures proposes shifts. The one with the smallest mean
    absolute difference is refined to whole pixels, from octave to octave.

    Args:
        images: (K, H, W, C) uint8, the reference first.

    Returns:
        K - 1 shifts. A shift is (0, 0) where none reduces the difference by 15 %, and in all
        pictures with a side below :data:`MIN_SIDE`.
    """
    if min(images.shape[1:3]) < MIN_SIDE:
        return ((0, 0),) * (len(images) - 1)
    reference = _build_pyramid(images[0])
    spectrum = _compute_spectrum(reference[-1])
    return tuple(_find_shift(reference, spectrum, _build_pyramid(image)) for image in images[1:])


def _build_pyramid(image: Pixels) -> list[Plane]:
    """Return the octaves of the grey picture, the full size first."""
    grey = np.asarray(image @ np.ones(image.shape[2], np.float32), np.float32)
    octaves: list[Plane] = [grey]
    while min(octaves[-1].shape) >= 2 * _CORRELATED_SIDE:
        last = octaves[-1][: octaves[-1].shape[0] // 2 * 2, : octaves[-1].shape[1] // 2 * 2]
        octaves.append(
            0.25 * (last[::2, ::2] + last[1::2, ::2] + last[::2, 1::2] + last[1::2, 1::2])
        )
    return octaves


def _compute_spectrum(plane: Plane) -> Spectrum:
    height, width = plane.shape
    window = np.hanning(height)[:, None] * np.hanning(width)
    spectrum: Spectrum = np.fft.rfft2((plane - plane.mean()) * window)
    return spectrum


def _find_shift(reference: list[Plane], spectrum: Spectrum, image: list[Plane]) -> Shift:
    candidates = [(0, 0), *_find_peaks(spectrum, _compute_spectrum(image[-1]), image[-1].shape)]
    start = min(candidates, key=lambda shift: _difference(reference[-1], image[-1], shift))
    y, x = _descend(reference[-1], image[-1], start)
    for fixed, moving in zip(reversed(reference[:-1]), reversed(image[:-1]), strict=True):
        y, x = _descend(fixed, moving, (2 * y, 2 * x))
    shift = (int(y), int(x))
    shifted, unshifted = (_difference(reference[0], image[0], s) for s in (shift, (0, 0)))
    useful = shifted < MAX_RELATIVE_DIFFERENCE * unshifted and max(map(abs, shift)) < MAX_VECTOR
    return shift if useful else (0, 0)


def _find_peaks(reference: Spectrum, image: Spectrum, shape: tuple[int, ...]) -> list[Shift]:
    """Return the shifts at the highest peaks of the phase correlation."""
    cross = reference * np.conj(image)
    magnitude = np.abs(cross)
    correlation = np.fft.irfft2(cross / (magnitude + 1e-3 * magnitude.mean() + 1e-12), shape)
    highest = np.argpartition(correlation.ravel(), -_PEAKS)[-_PEAKS:]
    height, width = shape
    centre = np.array([height // 2, width // 2])
    return [tuple((np.array(np.divmod(i, width)) + centre) % shape - centre) for i in highest]


def _descend(fixed: Plane, moving: Plane, start: Shift) -> Shift:
    """Walk from ``start`` to a local minimum of the difference, a few steps away at most."""
    best, least = start, _difference(fixed, moving, start)
    for _ in range(_MAX_DESCENT_STEPS):
        y, x = best
        for candidate in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
            difference = _difference(fixed, moving, candidate)
            if difference < least:
                best, least = candidate, difference
        if best == (y, x):
            break
    return best


def _difference(fixed: Plane, moving: Plane, shift: Shift) -> float:
    """Return the mean absolute difference after a circular shift, on subsampled pixels."""
    step = max(1, min(fixed.shape) // _DIFFERENCE_SIDE)
    height, width = fixed.shape
    rows = moving[(np.arange(0, height, step) - shift[0]) % height]
    # Two slices are much faster than an index array for the columns.
    start = -shift[1] % width
    left = rows[:, start::step]
    right = rows[:, (start - width) % step : start : step]
    sampled = fixed[::step, ::step]
    shifted = np.concatenate([left, right], axis=1)[:, : sampled.shape[1]]
    return float(np.abs(shifted - sampled).mean())

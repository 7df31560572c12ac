"""Which quality of JPEG a picture went through, from its coefficients alone."""

from __future__ import annotations

import numpy as np

from iicnet_cli.engines.jpegproof.dct_blocks import Floats
from iicnet_cli.engines.jpegproof.quantization_tables import luma_steps

_QUALITIES = range(20, 91)
"""Qualities that are told apart; the steps of better ones are too small to be seen in pixels."""
_POSITIONS = ((0, 1), (1, 0), (1, 1), (0, 2), (2, 0), (1, 2), (2, 1), (2, 2))
"""Positions that are looked at: they are rarely 0."""
_CLEAR = 0.6
"""Mean cosine of the phases of the coefficients from which on a quality is recognised."""


def estimate_quality(coefficients: Floats) -> int | None:
    """The quality of the last JPEG, 20 to 90, or ``None`` if there is no trace of one.

    Values at multiples of a step are also at multiples of its half, so of all qualities that fit
    well the lowest one is taken.

    Args:
        coefficients: (rows, columns, 8, 8) on the grid of that JPEG.
    """
    if coefficients.size == 0:
        return None
    scores = np.array([_fit(coefficients, quality) for quality in _QUALITIES])
    if scores.max() < _CLEAR:
        return None
    return _QUALITIES[int(np.argmax(scores > 0.97 * scores.max()))]


def _fit(coefficients: Floats, quality: int) -> float:
    """How well coefficients that are not 0 fit the steps of a quality, -1 to 1."""
    steps = luma_steps(quality)
    phases = []
    for place in _POSITIONS:
        values = coefficients[..., *place] / steps[place]
        phases.append(np.cos(2 * np.pi * values[np.abs(values) > 0.5]))
    together = np.concatenate(phases)
    return float(together.mean()) if len(together) else -1.0

"""8-bit pictures, and what is computed from them in the same unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike, NDArray

Pixels = NDArray[np.uint8]
Levels = NDArray[np.uint8 | np.int16]
"""8-bit pictures, or what is computed from them in the same unit, beyond 0..255 too."""
FineLevels = NDArray[np.int16]
"""Levels in parts of :data:`FINE`, rounded down, within -512..512 levels."""

FINE = 32
"""Parts of a level: as many as leave room for differences and sums in 16 bits."""


def fine(levels: Levels) -> FineLevels:
    """Whole levels in parts."""
    return levels.astype(np.int16) * np.int16(FINE)


def whole(levels: FineLevels, dtype: DTypeLike, out: FineLevels | None = None) -> Levels:
    """The nearest whole levels, those above where two are as near; uint8 stays within 0..255.

    Args:
        levels: in parts.
        dtype: uint8 or int16.
        out: where to compute; the result may be this. By default in memory of its own.
    """
    rounded: Levels = np.add(levels, np.int16(FINE // 2), out=out)
    rounded //= FINE
    if np.dtype(dtype) == np.uint8:
        rounded.clip(0, 255, out=rounded)
    return rounded.astype(dtype, copy=False)

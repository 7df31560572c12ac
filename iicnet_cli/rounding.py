"""Rounding of which the network restores the least: error diffusion.

White rounding errors come back many times as strong in a few directions, above all as slow waves in
the hidden pictures. So each sample is rounded after a weighted sum of the errors of those before it
was added (Floyd and Steinberg, 1976); what is left is where the network hardly sees it. Bits are
carried by rounding to the nearest even or odd level: that error, too, is diffused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Feedback = NDArray[np.float32]
"""(5, C, C), for each of ``NEIGHBOURS``: the share of the error (rounded minus exact) of one
channel there that is added to another channel here."""

NEIGHBOURS = ((0, 0), (0, -1), (-1, -1), (-1, 0), (-1, 1))
"""Of each of the five the row and column: itself, left, above to the left, above, to the right."""
_UNITS = 256
"""Of a remainder, to a level."""
_FREE = -1


def exact(levels: Pixels, remainder: NDArray[np.int8]) -> NDArray[np.float32]:
    """The values, in levels, that were rounded to these and left that."""
    values = remainder.astype(np.float32)
    values /= _UNITS
    values += levels
    return values


def rounded(
    levels: Pixels,
    remainder: NDArray[np.int8],
    feedback: Feedback | None,
    places: NDArray[np.int64] = np.empty(0, np.int64),
    bits: NDArray[np.uint8] = np.empty(0, np.uint8),
) -> Pixels:
    """Whole levels near exact values; some of them even or odd, as told.

    Args:
        levels: (H, W, C), the values as rounded to the nearest; W at least 3.
        remainder: of the same shape, what that took from them, in 1/256 of a level.
        feedback: ``None`` if errors are not diffused.
        places: of bits, in the flattened picture.
        bits: one for each, 1 for an odd level.
    """
    if feedback is None:
        flat = levels.reshape(-1).copy()
        where = places[flat[places] & 1 != bits]
        up = (remainder.reshape(-1)[where] > 0) | (flat[where] == 0)
        up &= flat[where] < 255
        flat[where] += np.where(up, 1, 255).astype(np.uint8)
        return flat.reshape(levels.shape)
    parity = np.full(levels.size, _FREE, np.int8)
    parity[places] = bits
    return _diffused(levels, remainder, parity.reshape(levels.shape), feedback)


def _diffused(
    levels: Pixels, remainder: NDArray[np.int8], parity: NDArray[np.int8], feedback: Feedback
) -> Pixels:
    """One diagonal after the other: x + 2 y is the same for pixels that need not wait."""
    height, width, channels = levels.shape
    out = np.empty((height * width, channels), np.uint8)
    flat, rest = levels.reshape(-1, channels), remainder.reshape(-1, channels)
    odd = parity.reshape(-1, channels)
    beside = feedback[1:].reshape(-1, channels)
    # Errors of the last three diagonals, by row; a row of zeros above the first.
    errors = np.zeros((3, height + 1, channels), np.float32)
    for diagonal in range(width + 2 * (height - 1)):
        first = max(0, (diagonal - width + 2) // 2)
        last = min(height, diagonal // 2 + 1)
        before, above, above_left = (errors[(diagonal - back) % 3] for back in (1, 2, 3))
        near = np.concatenate(
            (
                before[first + 1 : last + 1],
                above_left[first:last],
                above[first:last],
                before[first:last],
            ),
            axis=1,
        )
        start = first * width + diagonal - 2 * first
        pixels = slice(start, start + (last - first - 1) * (width - 2) + 1, width - 2)
        values = exact(flat[pixels], rest[pixels])
        values += near @ beside
        bit = odd[pixels].astype(np.float32)
        free = bit == _FREE
        step = np.where(free, np.float32(1), np.float32(2))
        low = np.where(free, np.float32(0), bit)
        high = np.where(free, np.float32(255), 254 + bit)
        level = np.empty_like(values)
        error = errors[diagonal % 3]
        error[:] = 0
        error = error[first + 1 : last + 1]
        for c in range(channels):
            value = values[:, c]
            if c:
                value += error[:, :c] @ feedback[0, :c, c]
            to = np.rint((value - low[:, c]) / step[:, c]) * step[:, c] + low[:, c]
            np.clip(to, low[:, c], high[:, c], out=to)
            level[:, c] = to
            np.clip(to - value, -1, 1, out=error[:, c])
        out[pixels] = level
    return out.reshape(levels.shape)

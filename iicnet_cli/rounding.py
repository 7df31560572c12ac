"""Rounding of which the network restores the least: error diffusion.

White rounding errors come back many times as strong in a few directions, above all as slow waves in
the hidden pictures. So each sample is rounded after a weighted sum of the errors of those before it
was added (Floyd and Steinberg, 1976); what is left is where the network hardly sees it. Bits are
carried by rounding to the nearest level with a given residue, for one bit to an even or odd one:
that error, too, is diffused.
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


def exact(levels: Pixels, remainder: NDArray[np.int8]) -> NDArray[np.float32]:
    """The values, in levels, that were rounded to these and left that."""
    values = remainder.astype(np.float32)
    values /= _UNITS
    values += levels
    return values


class Rounding:
    """Whole levels near exact values; some of them with the residues that they are told.

    Args:
        levels: (H, W, C), the values as rounded to the nearest; W at least 3.
        remainder: of the same shape, what that took from them, in 1/256 of a level.
        feedback: ``None`` if errors are not diffused.

    Attributes:
        levels: what is rounded so far; elsewhere as given.
        remainder: what that took from the values; 0 where it is rounded.
    """

    def __init__(
        self, levels: Pixels, remainder: NDArray[np.int8], feedback: Feedback | None
    ) -> None:
        self.levels, self.remainder = levels.copy(), remainder.copy()
        self._feedback = feedback
        self._done = 0
        """The row after the last one that was rounded, whose errors are these."""
        self._errors = np.zeros((levels.shape[1], levels.shape[2]), np.float32)

    def rows(self, rows: slice, moduli: Pixels, residues: Pixels) -> None:
        """Round these rows; errors of the row above are fed back if it was rounded just before.

        Args:
            rows: with ``start`` and ``stop``.
            moduli: of these samples, in any shape; 1 where any level will do.
            residues: of the levels, likewise; less than the moduli.
        """
        if rows.start != self._done:
            self._errors[:] = 0
        self._done = rows.stop
        values = exact(self.levels[rows], self.remainder[rows])
        steps = moduli.reshape(values.shape).astype(np.float32)
        lowest = residues.reshape(values.shape).astype(np.float32)
        if self._feedback is None:
            self.levels[rows] = _nearest(values, steps, lowest)
        else:
            self.levels[rows] = self._diffused(values, steps, lowest, self._feedback)
        self.remainder[rows] = 0

    def _diffused(
        self,
        values: NDArray[np.float32],
        steps: NDArray[np.float32],
        lowest: NDArray[np.float32],
        feedback: Feedback,
    ) -> Pixels:
        """One diagonal after the other: x + 2 y is the same for pixels that need not wait."""
        height, width, channels = values.shape
        out = np.empty((height * width, channels), np.uint8)
        flat, step, low = (x.reshape(-1, channels) for x in (values, steps, lowest))
        beside = feedback[1:].reshape(-1, channels)
        # Errors of the last three diagonals, by row; the first row is the one above.
        errors = np.zeros((3, height + 1, channels), np.float32)
        errors[1, 0], errors[2, 0] = self._errors[:2]
        above = self._errors
        self._errors = np.zeros_like(above)
        for diagonal in range(width + 2 * (height - 1)):
            first = max(0, (diagonal - width + 2) // 2)
            last = min(height, diagonal // 2 + 1)
            before, over, over_left = (errors[(diagonal - back) % 3] for back in (1, 2, 3))
            near = np.concatenate(
                (
                    before[first + 1 : last + 1],
                    over_left[first:last],
                    over[first:last],
                    before[first:last],
                ),
                axis=1,
            )
            start = first * width + diagonal - 2 * first
            pixels = slice(start, start + (last - first - 1) * (width - 2) + 1, width - 2)
            wanted = flat[pixels]
            wanted += near @ beside
            level = np.empty_like(wanted)
            error = errors[diagonal % 3]
            error[:] = 0
            if diagonal + 2 < width:
                error[0] = above[diagonal + 2]
            error = error[first + 1 : last + 1]
            for c in range(channels):
                value = wanted[:, c]
                if c:
                    value += error[:, :c] @ feedback[0, :c, c]
                level[:, c] = _nearest(value, step[pixels, c], low[pixels, c])
                half = step[pixels, c] / 2
                np.clip(level[:, c] - value, -half, half, out=error[:, c])
            out[pixels] = level
            if last == height:
                self._errors[diagonal - 2 * (height - 1)] = error[-1]
        return out.reshape(values.shape)


def _nearest(
    values: NDArray[np.float32], step: NDArray[np.float32], low: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Of the levels low, low + step and so on, up to 255."""
    to = np.floor((values - low) / step + np.float32(0.5)) * step + low
    clipped: NDArray[np.float32] = np.clip(to, low, 255 - (255 - low) % step, out=to)
    return clipped


def rounded(
    levels: Pixels,
    remainder: NDArray[np.int8],
    feedback: Feedback | None,
    moduli: Pixels | None = None,
    residues: Pixels | None = None,
) -> Pixels:
    """All rows of a :class:`Rounding`, from top to bottom; by default any level will do."""
    rounding = Rounding(levels, remainder, feedback)
    if moduli is None or residues is None:
        moduli, residues = np.ones_like(levels), np.zeros_like(levels)
    rounding.rows(slice(0, len(levels)), moduli, residues)
    return rounding.levels

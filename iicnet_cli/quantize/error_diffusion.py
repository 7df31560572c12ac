"""Rounding of which the network restores the least: error diffusion.

White rounding errors come back many times as strong in a few directions, above all as slow waves in
the hidden pictures. So each sample is rounded after a weighted sum of the errors of those before it
was added (Floyd and Steinberg, 1976); what is left is where the network hardly sees it. Bits are
carried by rounding to the nearest level with these low bits, for one bit an even or odd one, or by
a code (`codes.py`): that error, too, is diffused.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.lattice import HALVES, NEIGHBOURS, NoiseShapingFilter, exact, nearest
from iicnet_cli.quantize.trellis_codes import CODED, CODES
from iicnet_cli.quantize.viterbi import Quantizer, TrellisRows, viterbi_quantize


class Rounding:
    """Whole levels near exact values; the low bits of some of them as told.

    Args:
        levels: (H, W, C), the values as rounded to the nearest; W at least 3.
        remainder: of the same shape, what that took from them, in 1/256 of a level.
        feedback: ``None`` if errors are not diffused.
        kept: (H, W), pixels whose levels stay as they are but for samples with low bits as told;
            errors are not diffused from them, and end there.
        along: finds the levels where bits are carried by a code.

    Attributes:
        levels: what is rounded so far; elsewhere as given.
        remainder: as given.
    """

    def __init__(
        self,
        levels: Pixels,
        remainder: NDArray[np.int8],
        feedback: NoiseShapingFilter | None,
        kept: NDArray[np.bool_] | None = None,
        along: Quantizer = viterbi_quantize,
    ) -> None:
        self.levels = levels.copy()
        self.remainder = remainder
        self._kept = kept
        self._feedback = feedback
        self._along = along
        self._done = 0
        """The row after the last one that was rounded, whose errors are these."""
        self._errors = np.zeros((levels.shape[1], levels.shape[2]), np.float32)

    def rows(self, rows: slice, depths: Pixels, residues: Pixels) -> None:
        """Round these rows; errors of the row above are fed back if it was rounded just before.

        Args:
            rows: with ``start`` and ``stop``.
            depths: of these samples, in any shape: how many low bits are told; or, of whole pixels,
                ``CODED`` and of which of the ``CODES`` they are, counted from 1.
            residues: likewise: these bits, or those that a sample is to bring out.
        """
        if rows.start != self._done:
            self._errors[:] = 0
        self._done = rows.stop
        area = self.levels[rows], self.remainder[rows]
        told = depths.reshape(area[0].shape), residues.reshape(area[0].shape)
        if self._kept is not None:
            # All bits of a level can be told, too.
            whole = self._kept[rows, :, None] & (told[0] == 0)
            told = np.where(whole, np.uint8(8), told[0]), np.where(whole, area[0], told[1])
        coded = int(told[0].max(initial=0)) - CODED
        if coded > 0:
            channels = self.levels.shape[2]
            unfed = np.zeros((len(NEIGHBOURS), channels, channels), np.float32)
            feedback = unfed if self._feedback is None else self._feedback
            code = CODES[coded - 1]
            self._errors = self._along(TrellisRows(code, *area, *told, feedback, self._errors))
        elif self._feedback is None:
            for row, rest, *of_row in zip(*area, *told, strict=True):
                row[:] = nearest(exact(row, rest), *of_row)
        else:
            self._diffuse(*area, *told, self._feedback)

    def _diffuse(
        self,
        levels: Pixels,
        remainder: NDArray[np.int8],
        depths: Pixels,
        residues: Pixels,
        feedback: NoiseShapingFilter,
    ) -> None:
        """One diagonal after the other: x + 2 y is the same for pixels that need not wait."""
        height, width, channels = levels.shape
        flat, rest = levels.reshape(-1, channels), remainder.reshape(-1, channels)
        depth, residue = depths.reshape(-1, channels), residues.reshape(-1, channels)
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
            values = exact(flat[pixels], rest[pixels])
            values += near @ beside
            error = errors[diagonal % 3]
            error[:] = 0
            if diagonal + 2 < width:
                error[0] = above[diagonal + 2]
            error = error[first + 1 : last + 1]
            for c in range(channels):
                value = values[:, c]
                if c:
                    value += error[:, :c] @ feedback[0, :c, c]
                level = nearest(value, depth[pixels, c], residue[pixels, c])
                half = HALVES[depth[pixels, c]]
                np.clip(level - value, -half, half, out=error[:, c])
                flat[pixels, c] = level
            if last == height:
                self._errors[diagonal - 2 * (height - 1)] = error[-1]


def rounded(
    levels: Pixels,
    remainder: NDArray[np.int8],
    feedback: NoiseShapingFilter | None,
    depths: Pixels | None = None,
    residues: Pixels | None = None,
    kept: NDArray[np.bool_] | None = None,
) -> Pixels:
    """All rows of a :class:`Rounding`, from top to bottom; by default any level will do."""
    rounding = Rounding(levels, remainder, feedback, kept)
    if depths is None or residues is None:
        depths = residues = np.zeros_like(levels)
    rounding.rows(slice(0, len(levels)), depths, residues)
    return rounding.levels

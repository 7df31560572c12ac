"""Error diffusion: rounding of an embedding after which the network restores the least error.

White rounding errors come back from the network many times as strong in a few directions, above all
as slow waves in the hidden pictures. So the weighted errors of a sample's neighbours are added to
it before it is rounded (Floyd and Steinberg, 1976). What is left is noise where the network hardly
amplifies it. Samples that carry bits are rounded to a coarser lattice (`lattice.py`), or by a
trellis code (`viterbi.py`); their errors are diffused in the same way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import SampleConstraints
from iicnet_cli.quantize.lattice import (
    MAX_ERRORS,
    NEIGHBOURS,
    NoiseShapingFilter,
    UnroundedEmbedding,
    round_to_lattice,
)
from iicnet_cli.quantize.viterbi import TrellisQuantizer, TrellisRows, viterbi_quantize


class RowQuantizer:
    """Quantizes an embedding some rows at a time, so that it carries given bits.

    Args:
        unrounded: (H, W, C), W at least 3. It must not change meanwhile.
        noise_shaping: ``None`` to round without error diffusion.
        static_mask: (H, W), pixels that keep their values, except for samples with constraints.
            No error leaves such a pixel.
        quantizer: quantizes rows with trellis-coded pixels.

    Attributes:
        unrounded: as given.
        pixels: (H, W, C) uint8, quantized in the rows that were done, elsewhere the nearest values.
    """

    def __init__(
        self,
        unrounded: UnroundedEmbedding,
        noise_shaping: NoiseShapingFilter | None,
        static_mask: NDArray[np.bool_] | None = None,
        quantizer: TrellisQuantizer = viterbi_quantize,
    ) -> None:
        self.unrounded = unrounded
        self.pixels = unrounded.pixels.copy()
        self._noise_shaping = noise_shaping
        self._static_mask = static_mask
        self._quantizer = quantizer
        self._next_row = 0
        """The row below the last one that was quantized."""
        self._errors_above = np.zeros(unrounded.pixels.shape[1:], np.float32)
        """(W, C), the errors of that last row."""

    def quantize(self, rows: slice, constraints: SampleConstraints) -> None:
        """Quantize some rows.

        Errors of the row above reach the first of them only if that row was quantized in the call
        before.

        Args:
            rows: with ``start`` and ``stop``.
            constraints: of the samples in these rows, in any shape.
        """
        if rows.start != self._next_row:
            self._errors_above[:] = 0
        self._next_row = rows.stop
        unrounded = self.unrounded[rows]
        constraints = constraints.reshape(*unrounded.pixels.shape)
        if self._static_mask is not None:
            constraints = constraints.keep(self._static_mask[rows], unrounded.pixels)
        if constraints.has_trellis_coded:
            self._quantize_by_trellis(rows, constraints)
        elif self._noise_shaping is None:
            for y, row in enumerate(self.pixels[rows]):
                of_row = constraints[y]
                row[:] = round_to_lattice(unrounded[y].values(), of_row.low_bits, of_row.residues)
        else:
            self._diffuse(rows, constraints, self._noise_shaping)

    def _quantize_by_trellis(self, rows: slice, constraints: SampleConstraints) -> None:
        noise_shaping = self._noise_shaping
        if noise_shaping is None:
            channels = self.pixels.shape[2]
            noise_shaping = np.zeros((len(NEIGHBOURS), channels, channels), np.float32)
        self.pixels[rows], self._errors_above = self._quantizer(
            TrellisRows(self.unrounded[rows], constraints, noise_shaping, self._errors_above)
        )

    def _diffuse(
        self, rows: slice, constraints: SampleConstraints, noise_shaping: NoiseShapingFilter
    ) -> None:
        """Quantize rows to lattices with error diffusion.

        Pixels with the same x + 2 y do not depend on each other, so one such diagonal after the
        other is quantized at once.
        """
        height, width, channels = self.pixels[rows].shape
        quantized = self.pixels[rows].reshape(-1, channels)
        unrounded = self.unrounded[rows].reshape(-1, channels)
        constraints = constraints.reshape(-1, channels)
        neighbour_weights = noise_shaping[1:].reshape(-1, channels)
        # The errors on the last three diagonals, by row; the first row is the one above.
        errors = np.zeros((3, height + 1, channels), np.float32)
        errors[1, 0], errors[2, 0] = self._errors_above[:2]
        errors_above = self._errors_above
        self._errors_above = np.zeros_like(errors_above)
        for diagonal in range(width + 2 * (height - 1)):
            first = max(0, (diagonal - width + 2) // 2)
            last = min(height, diagonal // 2 + 1)
            one_back, two_back, three_back = (errors[(diagonal - n) % 3] for n in (1, 2, 3))
            neighbour_errors = np.concatenate(
                (
                    one_back[first + 1 : last + 1],  # left
                    three_back[first:last],  # upper left
                    two_back[first:last],  # above
                    one_back[first:last],  # upper right
                ),
                axis=1,
            )
            start = first * width + diagonal - 2 * first
            pixels = slice(start, start + (last - first - 1) * (width - 2) + 1, width - 2)
            values = unrounded[pixels].values()
            values += neighbour_errors @ neighbour_weights
            error = errors[diagonal % 3]
            error[:] = 0
            if diagonal + 2 < width:
                error[0] = errors_above[diagonal + 2]
            error = error[first + 1 : last + 1]
            low_bits, residues = constraints.low_bits[pixels], constraints.residues[pixels]
            for c in range(channels):
                value = values[:, c]
                if c:
                    value += error[:, :c] @ noise_shaping[0, :c, c]
                rounded = round_to_lattice(value, low_bits[:, c], residues[:, c])
                most = MAX_ERRORS[low_bits[:, c]]
                np.clip(rounded - value, -most, most, out=error[:, c])
                quantized[pixels, c] = rounded
            if last == height:
                self._errors_above[diagonal - 2 * (height - 1)] = error[-1]


def round_embedding(
    unrounded: UnroundedEmbedding,
    noise_shaping: NoiseShapingFilter | None,
    constraints: SampleConstraints | None = None,
    static_mask: NDArray[np.bool_] | None = None,
) -> Pixels:
    """Quantize all rows of an embedding from top to bottom.

    Args:
        unrounded: (H, W, C), W at least 3.
        noise_shaping: ``None`` to round without error diffusion.
        constraints: of its samples, in any shape; none by default.
        static_mask: see :class:`RowQuantizer`.

    Returns:
        (H, W, C) uint8.
    """
    quantizer = RowQuantizer(unrounded, noise_shaping, static_mask)
    if constraints is None:
        constraints = SampleConstraints.none(unrounded.pixels.shape)
    quantizer.quantize(slice(0, len(unrounded.pixels)), constraints)
    return quantizer.pixels

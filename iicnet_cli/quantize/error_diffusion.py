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
    NEIGHBOURS,
    NoiseShapingFilter,
    UnroundedEmbedding,
    round_to_lattice,
)
from iicnet_cli.quantize.viterbi import TrellisRows, viterbi_quantize


class RowQuantizer:
    """Quantizes an embedding some rows at a time, so that it carries given bits.

    Args:
        unrounded: (H, W, C), W at least 3. It must not change meanwhile.
        noise_shaping: ``None`` to round without error diffusion.
        static_mask: (H, W), pixels that keep their values, except for samples with constraints.
            No error leaves such a pixel.

    Attributes:
        unrounded: as given.
        pixels: (H, W, C) uint8, quantized in the rows that were done, elsewhere the nearest values.
    """

    def __init__(
        self,
        unrounded: UnroundedEmbedding,
        noise_shaping: NoiseShapingFilter | None,
        static_mask: NDArray[np.bool_] | None = None,
    ) -> None:
        self.unrounded = unrounded
        self.pixels = unrounded.pixels.copy()
        self._noise_shaping = noise_shaping
        self._static_mask = static_mask
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
        noise_shaping = self._noise_shaping
        if noise_shaping is None and not constraints.has_trellis_coded:
            for y, row in enumerate(self.pixels[rows]):
                of_row = constraints[y]
                row[:] = round_to_lattice(unrounded[y].values(), of_row.low_bits, of_row.residues)
            return
        if noise_shaping is None:
            channels = self.pixels.shape[2]
            noise_shaping = np.zeros((len(NEIGHBOURS), channels, channels), np.float32)
        self.pixels[rows], self._errors_above = viterbi_quantize(
            TrellisRows(unrounded, constraints, noise_shaping, self._errors_above)
        )


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

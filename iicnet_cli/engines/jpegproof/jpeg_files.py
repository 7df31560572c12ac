"""A JPEG file whose coefficients are on the lattice.

Its quantization steps divide the spacings of the lattice, so that the points of the lattice are
exact in it; all other coefficients have fine steps. Colours are not reduced. So it is as good a
start for the way through a service as the pixels are.
"""

from __future__ import annotations

import io

from PIL import Image

from iicnet_cli.engines.jpegproof.coefficient_lattice import CoefficientLattice
from iicnet_cli.engines.jpegproof.quantization_tables import luma_steps
from iicnet_cli.pictures.arrays import Pixels

_LUMA_QUALITY, _COLOUR_QUALITY = 97, 95
"""Qualities whose luma steps the other coefficients have, and those of the colours."""
_LARGEST_STEP = 4
"""Of a position of the lattice: a finer step makes the file larger and nothing better."""


def encode_jpeg(embedding: Pixels, lattice: CoefficientLattice) -> bytes:
    """The file of an embedding, (H, W) or (H, W, 3), on this lattice."""
    luma = luma_steps(_LUMA_QUALITY).astype(int)
    for row, column, spacing in zip(*lattice.positions, lattice.spacings, strict=True):
        divisors = [step for step in range(1, _LARGEST_STEP + 1) if spacing % step == 0]
        luma[row, column] = max(divisors)
    tables = [table.ravel().tolist() for table in (luma, luma_steps(_COLOUR_QUALITY).astype(int))]
    file = io.BytesIO()
    Image.fromarray(embedding).save(
        file, "JPEG", qtables=tables[: embedding.ndim - 1], subsampling="4:4:4", optimize=True
    )
    return file.getvalue()

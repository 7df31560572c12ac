"""Errors of quantized embeddings, by their definition."""

from __future__ import annotations

import numpy as np

from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import SampleConstraints
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter, UnroundedEmbedding
from tests.random_arrays import coded_pixels


def diffused_errors(
    quantized: Pixels, unrounded: UnroundedEmbedding, noise_shaping: NoiseShapingFilter
) -> np.ndarray:
    """The errors of all samples (H, W, C), after those of their neighbours were added to them."""
    height, width, channels = quantized.shape
    errors = np.zeros(quantized.shape)
    for y, x, c in np.ndindex(height, width, channels):
        value = unrounded.pixels[y, x, c] + unrounded.residual[y, x, c] / 256
        for (dy, dx), weights in zip(NEIGHBOURS, noise_shaping, strict=True):
            if y + dy >= 0 and 0 <= x + dx < width:
                value += errors[y + dy, x + dx] @ weights[:, c]
        errors[y, x, c] = quantized[y, x, c] - value
    return errors


def assert_small(errors: np.ndarray, constraints: SampleConstraints) -> None:
    """No error exceeds half the lattice step of its sample."""
    assert constraints.code is not None
    of_code = [sample.low_bits for sample in constraints.code.samples[-errors.shape[2] :]]
    coded = coded_pixels(constraints)[..., None]
    low_bits = np.where(coded, of_code, constraints.low_bits)
    assert (np.abs(errors) <= 2.0**low_bits / 2 + 1e-3).all()

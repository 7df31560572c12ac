"""Random pictures, embeddings, constraints and static regions for the tests."""

from __future__ import annotations

import numpy as np

from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.quantize.constraints import TRELLIS_CODED, SampleConstraints
from iicnet_cli.quantize.lattice import NoiseShapingFilter, UnroundedEmbedding
from iicnet_cli.quantize.trellis_codes import TRELLIS_CODES


def random_pixels(height: int, width: int, grey: bool = False, seed: int = 0) -> Pixels:
    """(H, W) or (H, W, 3)."""
    shape = (height, width) if grey else (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def smooth_pixels(height: int, width: int, grey: bool = False) -> Pixels:
    """Ramps, (H, W) or (H, W, 3)."""
    ramp = np.add.outer(np.arange(height), np.arange(width)) % 251
    pixels = ramp.astype(np.uint8)
    return pixels if grey else np.stack([pixels, pixels // 2, 255 - pixels], axis=2)


def random_unrounded(height: int, width: int, channels: int, seed: int) -> UnroundedEmbedding:
    """Values over the whole range."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (height, width, channels), np.uint8)
    return UnroundedEmbedding(pixels, rng.integers(-128, 128, pixels.shape, np.int8))


def midrange_unrounded(height: int, width: int, channels: int, seed: int) -> UnroundedEmbedding:
    """Values so far from 0 and 255 that rounding never clips."""
    unrounded = random_unrounded(height, width, channels, seed)
    return UnroundedEmbedding(unrounded.pixels // 2 + 64, unrounded.residual)


def random_filter(channels: int, seed: int) -> NoiseShapingFilter:
    """A stable noise-shaping filter."""
    weights = np.random.default_rng(seed).uniform(-0.3, 0.3, (5, channels, channels))
    weights[0] = np.triu(weights[0], 1)
    return weights.astype(np.float32)


def random_constraints(
    shape: tuple[int, ...], share: float, seed: int, most: int = 2
) -> SampleConstraints:
    """One to ``most`` given low bits for a share of the samples."""
    rng = np.random.default_rng(seed)
    low_bits = np.where(rng.random(shape) < share, rng.integers(1, most + 1, shape), 0)
    residues = rng.integers(0, 256, shape) % (1 << low_bits)
    return SampleConstraints(low_bits.astype(np.uint8), residues.astype(np.uint8))


def random_trellis_constraints(
    shape: tuple[int, int, int], bits: int, share: float, seed: int
) -> SampleConstraints:
    """A share of pixels in the trellis code of ``bits`` bits, and given low bits of some others."""
    rng = np.random.default_rng(seed)
    coded = rng.random(shape[:2]) < share
    others = random_constraints(shape, 0.3, seed)
    low_bits, residues = others.low_bits, others.residues
    message_bits = np.array(TRELLIS_CODES[bits].message_bits(shape[2]))
    low_bits[coded] = TRELLIS_CODED
    residues[coded] = (rng.integers(0, 256, shape) % (1 << message_bits))[coded]
    return SampleConstraints(low_bits, residues, TRELLIS_CODES[bits])


def coded_pixels(constraints: SampleConstraints) -> np.ndarray:
    """(H, W) bool, which pixels are trellis-coded."""
    return constraints.low_bits[..., 0] == TRELLIS_CODED


def random_static_region(height: int, width: int, seed: int, share: float = 0.5) -> StaticRegion:
    """A region with a share of the cells of such an embedding."""
    rng = np.random.default_rng(seed)
    return StaticRegion(rng.random((-(-height // 8), -(-width // 8))) < share)

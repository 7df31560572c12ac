"""PSNR, SSIM and errors in flat areas of 8-bit pictures."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import PixelArray

SSIM_WINDOW = 11
"""SSIM is computed in square windows with sides of this many pixels."""

_FLAT_BLOCK = 8
"""Errors in flat areas are those of square blocks with sides of this many pixels."""
_FLAT_DEVIATION = 2.0
"""A block is flat if its samples have at most this standard deviation, in 8-bit steps."""
_MAX_PSNR = 100.0
"""In means, a PSNR counts as this many dB at most."""

_SAMPLES_AT_ONCE = 1 << 22
"""A mean squared error is computed over about this many samples at once, which bounds memory."""


def mse(a: PixelArray, b: PixelArray) -> float:
    """Mean squared error in squared 8-bit steps, over all pixels and channels.

    Args:
        a: any shape.
        b: the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
    total = 0
    # In parts, because squares take four to eight times the memory of the pictures.
    parts = max(1, a.size // _SAMPLES_AT_ONCE)
    for x, y in zip(np.array_split(a, parts), np.array_split(b, parts), strict=True):
        difference = np.subtract(x, y, dtype=np.int32)
        total += int(np.sum(np.square(difference), dtype=np.int64))
    return total / a.size


def mse_to_psnr(error: float) -> float:
    """PSNR in dB of a mean squared error in squared 8-bit steps; ``inf`` if that is 0."""
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def cap_psnr(psnr: float) -> float:
    """A PSNR in dB as it counts in means: at most 100, which equal pictures have, too."""
    return min(psnr, _MAX_PSNR)


def psnr_to_mse(psnr: float) -> float:
    """Mean squared error in squared 8-bit steps of a PSNR in dB."""
    return float(255**2 * 10 ** (-psnr / 10))


def psnr(a: PixelArray, b: PixelArray) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; ``inf`` for equal pictures.

    Args:
        a: uint8, any shape.
        b: the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    return mse_to_psnr(mse(a, b))


def ssim(a: PixelArray, b: PixelArray) -> float:
    """Structural similarity, -1 to 1, as the mean over channels (Wang et al., 2004).

    The window is Gaussian with sigma 1.5 and lies inside the picture; K1 = 0.01, K2 = 0.03.

    Args:
        a: uint8, (H, W) or (H, W, C), at least 11 x 11.
        b: the same shape.

    Raises:
        ValueError: the shapes differ, or the pictures are too small.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
    if min(a.shape[:2]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs {SSIM_WINDOW} pixels or more to each side, not {a.shape}")
    x = a.reshape(*a.shape[:2], -1).astype(np.float64)
    y = b.reshape(*b.shape[:2], -1).astype(np.float64)
    mean_x, mean_y = _blur(x), _blur(y)
    var_x = _blur(x * x) - mean_x**2
    var_y = _blur(y * y) - mean_y**2
    cov = _blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = ((2 * mean_x * mean_y + c1) * (2 * cov + c2)) / (
        (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    )
    return float(similarity.mean())


def flat_error(a: PixelArray, reference: PixelArray) -> float:
    """Largest root-mean-square error of an 8x8 block in which the reference is flat.

    PSNR is a mean over the whole picture; what an eye finds first is a pattern or a cast on cloth,
    sky or a dark wall.

    Args:
        a: uint8, (H, W) or (H, W, C).
        reference: the same shape.

    Returns:
        8-bit steps; 0 if no block is flat in all channels, that is, has a standard deviation of 2
        steps or less.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != reference.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {reference.shape}")
    rows, columns = (length // _FLAT_BLOCK for length in a.shape[:2])
    x, y = (
        picture.reshape(*picture.shape[:2], -1)[: rows * _FLAT_BLOCK, : columns * _FLAT_BLOCK]
        .reshape(rows, _FLAT_BLOCK, columns, _FLAT_BLOCK, -1)
        .astype(np.float32)
        for picture in (a, reference)
    )
    flat = (y.std(axis=(1, 3)) <= _FLAT_DEVIATION).all(axis=-1)
    errors = np.square(x - y).mean(axis=(1, 3, 4))[flat]
    return float(np.sqrt(errors.max())) if errors.size else 0.0


def _blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    height, width = x.shape[:2]
    rows = sum(w * x[i : height - 10 + i] for i, w in enumerate(window))
    return np.asarray(sum(w * rows[:, i : width - 10 + i] for i, w in enumerate(window)))

"""PSNR and SSIM of 8-bit pictures, as written and read back."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.pictures.arrays import PixelArray

SSIM_WINDOW = 11
"""Pixels to each side of the window that SSIM looks through."""

_CAP = 100.0
"""dB."""

_PART = 1 << 22


def mse(a: PixelArray, b: PixelArray) -> float:
    """Mean squared error in squared levels, over all pixels and channels.

    Raises:
        ValueError: the shapes differ.
    """
    if a.shape != b.shape:
        raise ValueError(f"pictures of different shapes: {a.shape} and {b.shape}")
    total = 0
    # In parts, because squares take four to eight times the memory of the pictures.
    parts = max(1, a.size // _PART)
    for x, y in zip(np.array_split(a, parts), np.array_split(b, parts), strict=True):
        difference = np.subtract(x, y, dtype=np.int32)
        total += int(np.sum(np.square(difference), dtype=np.int64))
    return total / a.size


def mse_to_psnr(error: float) -> float:
    """PSNR of a mean squared error in squared levels; ``inf`` of none."""
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)


def cap_psnr(psnr: float) -> float:
    """A PSNR in dB as it counts in means: 100 at most, which equal pictures have."""
    return min(psnr, _CAP)


def psnr_to_mse(psnr: float) -> float:
    """Mean squared error, in squared levels, of a PSNR in dB."""
    return float(255**2 * 10 ** (-psnr / 10))


def psnr(a: PixelArray, b: PixelArray) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; ``inf`` when equal.

    Args:
        a: uint8, any shape.
        b: the same shape.
    """
    return mse_to_psnr(mse(a, b))


def ssim(a: PixelArray, b: PixelArray) -> float:
    """Structural similarity, -1..1, mean over channels (Wang et al., 2004).

    Gaussian window of 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, only where the window lies
    inside the picture.

    Args:
        a: uint8, (H, W) or (H, W, C), at least 11 x 11.
        b: the same shape.
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


def _blur(x: NDArray[np.float64]) -> NDArray[np.float64]:
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets**2) / (2 * 1.5**2))
    window /= window.sum()
    height, width = x.shape[:2]
    rows = sum(w * x[i : height - 10 + i] for i, w in enumerate(window))
    return np.asarray(sum(w * rows[:, i : width - 10 + i] for i, w in enumerate(window)))

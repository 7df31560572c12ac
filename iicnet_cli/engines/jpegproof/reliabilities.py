"""How sure a received bit is: log-likelihood ratios from the distances to the lattice.

The noise of each position is estimated from the received picture itself. JPEG with other steps adds
uniform noise, everything else roughly Gaussian noise; of a grid of such mixtures the one is taken
that explains best how far all coefficients of the position lie from the lattice. A block that was
painted over lies on no lattice, or has hardly any odd indices; its bits become erasures.
"""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from iicnet_cli.engines.jpegproof.dct_blocks import Floats

_BINS = 64
"""Distances from 0 to 1, in units of the spacing, are put into this many bins; even."""
_HALF_WIDTHS = (0.0, 0.1, 0.2, 0.3, 0.36, 0.42, 0.48, 0.56, 0.66)
"""Half widths of the uniform part of the noise, in units of the spacing."""
_DEVIATIONS = (0.02, 0.035, 0.05, 0.075, 0.1, 0.14, 0.19, 0.25, 0.32, 0.4)
"""Standard deviations of the Gaussian part, likewise."""
_OUTLIERS = (0.002, 0.01, 0.05, 0.15)
"""Shares of coefficients that lie anywhere, because of clipping."""
_FEW_OUTLIERS = 2
"""So many of the shares are possible where nothing is clipped. If more were, the values of JPEG
with other steps, some near the lattice and some far from it, would pass for outliers."""
_LOST_SHARE = 0.02
"""Share of blocks that are thought to be lost before anything is known of them."""
_ODD_IF_SMOOTH = 0.03
"""Share of odd indices in smooth blocks that carry nothing."""
_LARGEST_EVIDENCE = 20.0
"""One block says at most this much of the blocks around it, as the logarithm of a ratio."""
_LOSS_CLASSES = 8
"""Probabilities that a block is lost are rounded to this many classes."""


@cache
def _noise_shapes() -> NDArray[np.float64]:
    """(widths, deviations, outliers, bins): probability of each distance from the sent point."""
    fine = 16
    count = 2 * _BINS * fine  # of the period, from -1 to 1
    offsets = (np.arange(count) + 0.5) / (_BINS * fine) - 1
    shapes = []
    for width in _HALF_WIDTHS:
        uniform = (np.abs(offsets) <= max(width, 1 / (_BINS * fine))).astype(float)
        for deviation in _DEVIATIONS:
            gauss = sum(np.exp(-0.5 * ((offsets + 2 * k) / deviation) ** 2) for k in (-1, 0, 1))
            spectrum = np.fft.rfft(np.fft.ifftshift(uniform)) * np.fft.rfft(np.fft.ifftshift(gauss))
            density = np.fft.fftshift(np.fft.irfft(spectrum, count)).clip(0)
            folded = density[count // 2 :] + density[: count // 2][::-1]
            binned = folded.reshape(_BINS, fine).sum(1)
            binned /= binned.sum()
            shapes += [binned * (1 - share) + share / _BINS for share in _OUTLIERS]
    return np.reshape(shapes, (len(_HALF_WIDTHS), len(_DEVIATIONS), len(_OUTLIERS), _BINS))


def _bins(distances: Floats) -> NDArray[np.intp]:
    """Bins of distances from 0 to 1."""
    return np.minimum((distances * _BINS).astype(np.intp), _BINS - 1)


def distances_to_even(scaled: Floats) -> Floats:
    """How far values lie from the nearest even integer, 0 to 1."""
    return np.asarray(np.abs(scaled - 2 * np.rint(scaled / 2)))


class NoiseShape(NamedTuple):
    """A noise: indices into the half widths, deviations and shares of outliers."""

    width: int
    deviation: int
    outliers: int

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(bins,), of each distance from the sent point, modulo 2 spacings."""
        return np.asarray(_noise_shapes()[self])


def count_distances(scaled: Floats, classes: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """How many coefficients of each class lie how far from the nearest point, (classes, bins).

    Args:
        scaled: received coefficients (N,) in units of their spacing.
        classes: of each, (N,).
        count: number of classes.
    """
    places = classes * _BINS + _bins(np.abs(scaled - np.rint(scaled)))
    return np.bincount(places, minlength=count * _BINS).reshape(count, _BINS)


def fit_noise(seen: NDArray[np.intp], unclipped: NoiseShape | None = None) -> NoiseShape:
    """Which noise coefficients have.

    Args:
        seen: how many of them lie how far from the nearest point, (bins,); lowest bits unknown.
        unclipped: the noise where nothing is clipped, if these are clipped: theirs is not smaller.
    """
    fits = _log_folded_shapes() @ seen[: _BINS // 2]
    if unclipped is None:
        fits[..., _FEW_OUTLIERS:] = -np.inf
    else:
        fits[: unclipped.width] = -np.inf
        fits[:, : unclipped.deviation] = -np.inf
    width, deviation, outliers = np.unravel_index(int(np.argmax(fits)), fits.shape)
    return NoiseShape(int(width), int(deviation), int(outliers))


@cache
def _log_folded_shapes() -> NDArray[np.float64]:
    """The logarithms of what is seen of each shape of noise without knowing the bits."""
    return np.log(_folded(_noise_shapes()))


def _folded(noise: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities (..., bins / 2) of distances from the nearest point, sent or not."""
    half = _BINS // 2
    return np.asarray(noise[..., :half] + noise[..., half:][..., ::-1])


def find_lost_blocks(
    scaled: Floats,
    noise: NDArray[np.float64],
    classes: NDArray[np.intp],
    odd_shares: NDArray[np.float64],
) -> NDArray[np.float64]:
    """The probability that each block carries nothing, (rows, columns).

    A block that carries bits lies near the lattice, and a good share of its indices is odd. A block
    that was put over it lies anywhere, or it is smooth: then nearly all its indices are 0. The
    blocks around count as well.

    Args:
        scaled: (rows, columns, P), lowest bits unknown.
        noise: (classes, P, bins), of :class:`NoiseShape`.
        classes: (rows, columns, P), which noise each coefficient has.
        odd_shares: (P,), share of odd indices where bits are carried.
    """
    positions = scaled.shape[2]
    half = _BINS // 2
    nearest = np.rint(scaled)
    bins = _bins(np.abs(scaled - nearest)) % half
    surprise = np.log(_folded(noise) * half).astype(np.float32)
    against_texture = surprise[classes, np.arange(positions), bins].sum(2)
    odd = (nearest.astype(np.int32) & 1).astype(np.float32)
    if_even = np.log((1 - odd_shares) / (1 - _ODD_IF_SMOOTH))
    if_odd = np.log(odd_shares / _ODD_IF_SMOOTH)
    against_smooth = odd @ (if_odd - if_even) + if_even.sum()
    evidence = -np.logaddexp(-against_texture, -against_smooth)
    padded = np.pad(evidence.clip(-_LARGEST_EVIDENCE, _LARGEST_EVIDENCE), 1)
    rows, columns = evidence.shape
    around = sum(padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3))
    total = (evidence + around) / 2 - math.log(_LOST_SHARE)
    return np.asarray(1 / (1 + np.exp(total.clip(-50, 50))))


def likelihood_ratios(
    distances: Floats,
    noise: NDArray[np.float64],
    classes: NDArray[np.intp],
    lost: NDArray[np.float64],
) -> Floats:
    """Log of P(0) / P(1) for bits.

    Args:
        distances: any shape, 0 to 1, from the nearest point whose bit is 0; the one whose bit is 1
            is 1 minus that away.
        noise: (classes, bins), of :class:`NoiseShape`.
        classes: which noise each coefficient has.
        lost: the probability that each coefficient carries nothing.
    """
    share = (np.arange(_LOSS_CLASSES) + 0.5) / _LOSS_CLASSES
    share[0] = 0.003
    mixed = noise[:, None] + (share / (1 - share))[:, None] / _BINS
    table = np.log(mixed / mixed[..., ::-1]).astype(np.float32)
    table[:, -1] = 0
    loss_classes = np.minimum((lost * _LOSS_CLASSES).astype(np.intp), _LOSS_CLASSES - 1)
    return table[classes, loss_classes, _bins(distances)]

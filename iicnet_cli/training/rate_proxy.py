"""A differentiable estimate of what errors cost that an enhancement layer corrects afterwards.

The layer is made by a transform codec, which spends no bits on coefficients of little energy and so
leaves their errors as they are. Larger coefficients it corrects down to about the same remaining
error. Their cost is bits: half the binary logarithm of their energy (reverse water-filling; Cover
and Thomas, Elements of Information Theory, 10.3.3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

_BLOCK = 16
"""Side in pixels of the blocks that are transformed."""
_ENERGY_SHARE = 0.05
"""Share of the energy itself in the cost; with logarithms alone, single errors would grow large."""


def rate_proxy(difference: Tensor, threshold: float | None) -> Tensor:
    """Return the mean cost of the DCT coefficients of differences between pictures.

    Above the threshold the cost of a coefficient is about the logarithm of its energy; far below
    it, the energy itself.

    Args:
        difference: (..., C, H, W), of pictures in 0..1.
        threshold: energy of a coefficient, in squared 8-bit sample values. Above it, errors are
            left to the enhancement layer. With ``None`` all energy counts as it is.

    Returns:
        (...), in squared units of 0..1. For small differences it is about the mean squared error.
    """
    if threshold is None:
        return difference.square().mean(dim=(-3, -2, -1))
    unit = threshold / 255**2
    energy = _block_dct(difference).square()
    costs = unit * torch.log1p(energy / unit) + _ENERGY_SHARE * energy
    return costs.sum(dim=(-3, -2, -1)) / math.prod(difference.shape[-3:])


def _block_dct(difference: Tensor) -> Tensor:
    """Orthonormal DCT-II of square blocks; three channels are decorrelated first.

    Args:
        difference: (..., C, H, W). It is padded with zeros to whole blocks.

    Returns:
        (..., C, H', W').
    """
    height, width = difference.shape[-2:]
    x = F.pad(difference, (0, -width % _BLOCK, 0, -height % _BLOCK))
    if x.shape[-3] == 3:
        x = torch.einsum("dc,...chw->...dhw", _colour_transform().to(x), x)
    rows, columns = (length // _BLOCK for length in x.shape[-2:])
    blocks = x.reshape(*x.shape[:-2], rows, _BLOCK, columns, _BLOCK)
    dct = _dct_matrix().to(x)
    return torch.einsum("ui,...yixj,vj->...yuxv", dct, blocks, dct).reshape(x.shape)


def _dct_matrix() -> Tensor:
    k = torch.arange(_BLOCK, dtype=torch.float64)
    matrix = torch.cos(math.pi * (k + 0.5) * k[:, None] / _BLOCK) * math.sqrt(2 / _BLOCK)
    matrix[0] /= math.sqrt(2)
    return matrix


def _colour_transform() -> Tensor:
    """Orthonormal rows that turn RGB into luma, red minus blue, and green minus both."""
    rows = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit

"""What errors cost that an enhancement layer is to mend: its bits, and what it leaves of them.

A transform codec leaves out coefficients of little energy, so these cost what they are. Of each
larger one it leaves no more than of those; what that costs are bits, half the binary logarithm of
its energy (reverse water-filling; Cover and Thomas, Elements of Information Theory, 10.3.3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_SIDE = 16
"""Pixels of the blocks that are transformed."""
_SHARE = 0.05
"""Of the energy itself, that counts as well: logarithms alone would let single errors grow."""


def cost(difference: Tensor, level: float | None) -> Tensor:
    """Mean energy of differences, of each coefficient the logarithm where it is above a level.

    Args:
        difference: (..., C, H, W) in 0..1 units.
        level: squared levels of 0..255, up to which energy counts about as it is; ``None`` counts
            all of it so.

    Returns:
        (...) in squared 0..1 units, about the mean squared error where differences are small.
    """
    if level is None:
        return difference.square().mean(dim=(-3, -2, -1))
    unit = level / 255**2
    energy = _coefficients(difference).square()
    costs = unit * torch.log1p(energy / unit) + _SHARE * energy
    return costs.sum(dim=(-3, -2, -1)) / math.prod(difference.shape[-3:])


def _coefficients(difference: Tensor) -> Tensor:
    """Orthonormal DCT-II of blocks, of luma and chroma where C is 3.

    Args:
        difference: (..., C, H, W), filled up with zeros to whole blocks.

    Returns:
        (..., C, H', W').
    """
    height, width = difference.shape[-2:]
    x = functional.pad(difference, (0, -width % _SIDE, 0, -height % _SIDE))
    if x.shape[-3] == 3:
        x = torch.einsum("dc,...chw->...dhw", _colours().to(x), x)
    rows, columns = (length // _SIDE for length in x.shape[-2:])
    blocks = x.reshape(*x.shape[:-2], rows, _SIDE, columns, _SIDE)
    cosines = _cosines().to(x)
    return torch.einsum("ui,...yixj,vj->...yuxv", cosines, blocks, cosines).reshape(x.shape)


def _cosines() -> Tensor:
    k = torch.arange(_SIDE, dtype=torch.float64)
    cosines = torch.cos(math.pi * (k + 0.5) * k[:, None] / _SIDE) * math.sqrt(2 / _SIDE)
    cosines[0] /= math.sqrt(2)
    return cosines


def _colours() -> Tensor:
    """Grey, red against blue, green against both."""
    rows = torch.tensor([[1, 1, 1], [1, 0, -1], [1, -2, 1]], dtype=torch.float64)
    unit: Tensor = rows / rows.norm(dim=1, keepdim=True)
    return unit

"""How the errors of rounding are to be diffused so that the network restores least of them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.pixels import to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter, UnroundedEmbedding

_DRAWS = 16


def fit_noise_shaping(net: IICNet, images: Tensor, share: float) -> NoiseShapingFilter | None:
    """Weights of an error diffusion after which the network restores the least of the errors.

    To first order, errors n of the embedding come back as J n, with the Jacobian J of the inverse
    pass, equation (9), and W = J^T J is nearly the same everywhere and for all pictures. It is
    measured with white noise; then errors are fed back as in linear prediction, such that n^T W n
    and a share of n^T n become smallest.

    Args:
        net: in evaluation mode.
        images: (1, K, C, H, W) in 0..1.
        share: of an error in the embedding itself, beside what is restored of it on average.

    Returns:
        ``None`` if the pictures are restored better without.
    """
    with torch.no_grad():
        embedding = net(images)
    generator = torch.Generator().manual_seed(0)
    correlation = torch.zeros(())
    for _ in range(_DRAWS):
        noise = torch.rand(embedding.shape, generator=generator) - 0.5
        start = embedding.clone().requires_grad_()
        restored = net.inverse(start)
        with torch.no_grad():
            change = net.inverse(start + noise / 255) - restored
        (back,) = torch.autograd.grad(restored, start, change)
        a, b = torch.fft.fft2(255 * back[0].double()), torch.fft.fft2(noise[0].double())
        both = torch.einsum("ahw,bhw->abhw", a.conj(), b)
        correlation = correlation + torch.fft.ifft2(both).real
    # The variance of the noise is 1/12.
    weights = 12 / (_DRAWS * embedding[0, 0].numel()) * correlation.numpy()
    feedback = _solved(weights, share)
    unrounded = UnroundedEmbedding(to_pixels(embedding)[0], to_rounding_residual(embedding)[0])
    with torch.no_grad():
        exact = net.inverse(embedding)
        plain, diffused = (
            (net.inverse(to_tensor(round_embedding(unrounded, how)[None])) - exact)
            .square()
            .mean()
            .item()
            for how in (None, feedback)
        )
    return feedback if diffused < plain else None


def _solved(weights: NDArray[np.float64], share: float) -> NoiseShapingFilter:
    """From W, (C, C, H, W) by channels and distance, all of a pixel and its later neighbours."""
    channels = len(weights)
    own = share * float(np.mean([weights[c, c, 0, 0] for c in range(channels)]))

    def weight(p: tuple[int, int, int], q: tuple[int, int, int]) -> float:
        (a, ya, xa), (b, yb, xb) = p, q
        there, back = weights[a, b, yb - ya, xb - xa], weights[b, a, ya - yb, xa - xb]
        return float(there + back) / 2 + own * (p == q)

    feedback = np.zeros((len(NEIGHBOURS), channels, channels), np.float32)
    for c in range(channels):
        # An error here is seen by these later samples, which have it as their neighbour.
        later = [
            (i, (k, -y, -x))
            for i, (y, x) in enumerate(NEIGHBOURS)
            for k in range(channels)
            if i or k > c
        ]
        left = np.array([[weight(p, q) for _, q in later] for _, p in later])
        right = np.array([weight(p, (c, 0, 0)) for _, p in later])
        for (i, (k, _, _)), value in zip(later, np.linalg.solve(left, -right), strict=True):
            feedback[i, c, k] = value
    return feedback

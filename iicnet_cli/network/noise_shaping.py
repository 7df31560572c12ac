"""Fit of the noise-shaping filter: rounding errors that the network restores the least of.

The embedding is rounded to 8 bits. To first order its rounding errors n come back as J n, with the
Jacobian J of the inverse pass, equation (9). Their energy n^T J^T J n depends on the spatial and
colour spectrum of n, and J^T J is nearly the same everywhere and for all pictures. So errors are
diffused (error diffusion) by a filter that is fitted to J^T J as in linear prediction.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.pixels import to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter, UnroundedEmbedding

_NOISE_DRAWS = 16
"""The error weights are measured with this many draws of white noise."""

_Sample = tuple[int, int, int]
"""Channel, row and column of a sample, relative to the sample with the error."""


def fit_noise_shaping(
    net: IICNet, images: Tensor, embedding_weight: float
) -> NoiseShapingFilter | None:
    """Fit the filter of an error diffusion to a network.

    Args:
        net: the network in evaluation mode.
        images: (1, K, C, H, W), 0..1, pictures on which the network is measured.
        embedding_weight: weight of an error of the embedding itself, relative to the average
            energy that is restored of it.

    Returns:
        The filter, or ``None`` if the pictures are restored better with plain rounding.
    """
    with torch.no_grad():
        embedding = net(images)
    noise_shaping = _solve_filter(_measure_error_weights(net, embedding), embedding_weight)
    unrounded = UnroundedEmbedding(to_pixels(embedding)[0], to_rounding_residual(embedding)[0])
    with torch.no_grad():
        exact = net.inverse(embedding)
        plain, shaped = (
            (net.inverse(to_tensor(round_embedding(unrounded, how)[None])) - exact)
            .square()
            .mean()
            .item()
            for how in (None, noise_shaping)
        )
    return noise_shaping if shaped < plain else None


def _measure_error_weights(net: IICNet, embedding: Tensor) -> NDArray[np.float64]:
    """Measure J^T J with white noise.

    Args:
        net: the network.
        embedding: (1, C_e, H_e, W_e), unrounded.

    Returns:
        (C_e, C_e, H_e, W_e): for two channels, by the circular distance of their samples.
    """
    generator = torch.Generator().manual_seed(0)
    correlation = torch.zeros(())
    for _ in range(_NOISE_DRAWS):
        noise = torch.rand(embedding.shape, generator=generator) - 0.5
        start = embedding.clone().requires_grad_()
        restored = net.inverse(start)
        with torch.no_grad():
            change = net.inverse(start + noise / 255) - restored
        (pulled_back,) = torch.autograd.grad(restored, start, change)
        a, b = torch.fft.fft2(255 * pulled_back[0].double()), torch.fft.fft2(noise[0].double())
        cross = torch.einsum("ahw,bhw->abhw", a.conj(), b)
        correlation = correlation + torch.fft.ifft2(cross).real
    # The noise has a variance of 1/12.
    return 12 / (_NOISE_DRAWS * embedding[0, 0].numel()) * correlation.numpy()


def _solve_filter(weights: NDArray[np.float64], embedding_weight: float) -> NoiseShapingFilter:
    """Solve the normal equations of linear prediction for the filter.

    Args:
        weights: (C, C, H, W), see :func:`_measure_error_weights`.
        embedding_weight: see :func:`fit_noise_shaping`.
    """
    channels = len(weights)
    own = embedding_weight * float(np.mean([weights[c, c, 0, 0] for c in range(channels)]))

    def weight(p: _Sample, q: _Sample) -> float:
        (a, ya, xa), (b, yb, xb) = p, q
        there, back = weights[a, b, yb - ya, xb - xa], weights[b, a, ya - yb, xa - xb]
        return float(there + back) / 2 + own * (p == q)

    noise_shaping = np.zeros((len(NEIGHBOURS), channels, channels), np.float32)
    for c in range(channels):
        # The later samples to which the error of a sample in this channel is diffused.
        later = [
            (i, (k, -y, -x))
            for i, (y, x) in enumerate(NEIGHBOURS)
            for k in range(channels)
            if i or k > c
        ]
        left = np.array([[weight(p, q) for _, q in later] for _, p in later])
        right = np.array([weight(p, (c, 0, 0)) for _, p in later])
        for (i, (k, _, _)), value in zip(later, np.linalg.solve(left, -right), strict=True):
            noise_shaping[i, c, k] = value
    return noise_shaping

"""The noise-shaping filter: the network restores less of the rounding errors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.invertible import InvertibleConv1x1
from iicnet_cli.network.noise_shaping import fit_noise_shaping
from iicnet_cli.network.pixels import to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.quantize.lattice import NEIGHBOURS, NoiseShapingFilter, UnroundedEmbedding
from iicnet_cli.zoo.golden import golden_images
from tests.conftest import natural
from tests.copying_network import copying_network


@pytest.fixture(scope="module")
def net() -> IICNet:
    """A tiny network that restores smoothed copies of the embedding, without its fine detail."""
    net = copying_network(3)
    mixing = net.coupling.layers[0]
    assert isinstance(mixing, InvertibleConv1x1)
    with torch.no_grad():
        # Three Haar bands of differences follow the mean band, each with three colours.
        mixing.weight.view(-1, 3, 4, 3)[:, :, 1:] *= 2
    return net.requires_grad_(False)


def rounding_errors(
    net: IICNet, images: torch.Tensor, noise_shaping: NoiseShapingFilter | None
) -> tuple[float, float]:
    """Mean squared errors, by rounding, of the restored images and of the embedding."""
    with torch.inference_mode():
        exact = net(images)
        wanted = net.inverse(exact)
        unrounded = UnroundedEmbedding(to_pixels(exact)[0], to_rounding_residual(exact)[0])
        embedding = to_tensor(round_embedding(unrounded, noise_shaping)[None])
        restored_error = (net.inverse(embedding) - wanted).square().mean().item()
        return restored_error, (embedding - exact).square().mean().item()


def test_the_network_restores_less_of_the_rounding(net: IICNet) -> None:
    fitted = fit_noise_shaping(net, to_tensor(golden_images(3)[None]), 0.3)
    assert fitted is not None
    assert fitted.shape == (len(NEIGHBOURS), 3, 3) and fitted.dtype == np.float32
    pictures = np.stack([natural(96, 128, seed) for seed in range(3)])
    images = 0.49 * to_tensor(pictures[None]) + 0.25  # nothing is clipped
    plain, shaped = (rounding_errors(net, images, how) for how in (None, fitted))
    assert shaped[0] < 0.95 * plain[0]
    assert shaped[1] < 3 * plain[1]


def test_the_filter_is_causal(net: IICNet) -> None:
    fitted = fit_noise_shaping(net, to_tensor(golden_images(3)[None]), 0.3)
    assert fitted is not None
    # Within a pixel, errors are fed to later channels only.
    assert not np.tril(fitted[0]).any()


def test_a_large_embedding_weight_shapes_less(net: IICNet) -> None:
    images = to_tensor(golden_images(3)[None])
    small, large = (fit_noise_shaping(net, images, weight) for weight in (0.1, 3.0))
    assert small is not None and large is not None
    assert np.abs(large).sum() < np.abs(small).sum()


def test_a_network_that_restores_all_errors_alike_needs_no_filter() -> None:
    torch.manual_seed(0)
    untrained = IICNet(IICNetConfig.compact(2, blocks=1, width=4)).eval()
    fitted = fit_noise_shaping(untrained, to_tensor(golden_images(2)[None]), 0.3)
    assert fitted is None or np.abs(fitted).max() < 0.1

"""Noise-shaping filters of networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.pixels import to_pixels, to_rounding_residual, to_tensor
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.zoo import find
from iicnet_cli.zoo.golden import golden_noise_shaping
from tests.samples import natural


@pytest.mark.parametrize("name", ["stego-2", "layers-2", "video-5", "video-3-half", "grayscale"])
def test_the_network_restores_less_of_shaped_errors(name: str) -> None:
    checkpoint = find(name)
    net = checkpoint.load()
    images = np.stack([natural(96, 128, seed) for seed in range(net.config.images)])
    with torch.inference_mode():
        values = net(to_tensor(images[None]))
        wanted = net.inverse(values)
        unrounded = UnroundedEmbedding(to_pixels(values)[0], to_rounding_residual(values)[0])
        errors, shown = [], []
        for noise_shaping in (None, checkpoint.feedback):
            embedding = to_tensor(round_embedding(unrounded, noise_shaping)[None])
            errors.append((net.inverse(embedding) - wanted).square().mean().item())
            shown.append((embedding - values).square().mean().item())
    assert errors[1] < 0.75 * errors[0]
    assert shown[1] < 3 * shown[0]


@pytest.mark.parametrize("name", ["stego-3", "rescale"])
def test_bundled_filters_fit_their_weights(name: str) -> None:
    checkpoint = find(name)
    measured = golden_noise_shaping(checkpoint.load(), checkpoint.config.task)
    assert measured is not None and checkpoint.feedback is not None
    np.testing.assert_allclose(checkpoint.feedback, measured, atol=0.01)


def test_an_untrained_network_may_have_no_filter() -> None:
    # It restores errors of all directions alike.
    torch.manual_seed(0)
    net = IICNet(IICNetConfig.compact(2, blocks=1, width=4)).eval()
    noise_shaping = golden_noise_shaping(net, "stego")
    assert noise_shaping is None or noise_shaping.shape == (5, 3, 3)

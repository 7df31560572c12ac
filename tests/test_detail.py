"""Detail layers."""

from __future__ import annotations

import torch

from iicnet_cli.network.detail import DetailLayers
from tests.networks import assert_close, random, randomise


def test_halved_images_come_back_exactly() -> None:
    layers = randomise(DetailLayers(3, blocks=2, width=8))
    halved = random(2, 4, 3, 6, 8)
    images = layers.inverse(halved)
    assert images.shape == (2, 4, 3, 12, 16)
    assert_close(layers(images), halved)


def test_new_layers_average_each_image_by_itself() -> None:
    layers = DetailLayers(3, blocks=2, width=8).double()
    images = random(2, 4, 3, 6, 8)
    expected = torch.nn.functional.avg_pool2d(images.flatten(0, 1), 2).unflatten(0, (2, 4))
    assert_close(layers(images), expected)

"""The check of a network on held-out samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iicnet_cli.network import IICNet
from iicnet_cli.network.pixels import to_pixels, to_tensor
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.training.validation import measure
from tests.samples import natural
from tests.training_helpers import tiny_recipe

CPU = torch.device("cpu")


def tiny_net() -> IICNet:
    """A network whose embeddings differ from the reference, unlike those of a new one."""
    torch.manual_seed(0)
    net = IICNet(tiny_recipe().network).eval().requires_grad_(False)
    for parameter in net.parameters():
        parameter += 0.02 * torch.randn_like(parameter)
    return net


def test_psnrs_are_of_rounded_embeddings_and_of_what_is_restored_from_them() -> None:
    net = tiny_net()
    samples = [np.stack([natural(24, 32, 2 * i), natural(24, 32, 2 * i + 1)]) for i in range(2)]
    embedding_psnrs, restored_psnrs = [], []
    for sample in samples:
        images = to_tensor(sample[None])
        embedding = to_pixels(net(images))
        restored = to_pixels(net.inverse(to_tensor(embedding)))[0]
        embedding_psnrs.append(psnr(embedding[0], sample[0]))
        restored_psnrs += [psnr(a, b) for a, b in zip(restored, sample, strict=True)]
    expected = np.mean(embedding_psnrs), np.mean(restored_psnrs)
    assert 5 < expected[0] < 60 and 5 < expected[1] < 60
    # The embeddings that are measured carry a mark as well.
    assert measure(net, samples, CPU) == pytest.approx(expected, abs=0.1)


def test_noise_shaping_changes_the_embedding() -> None:
    net = tiny_net()
    samples = [np.stack([natural(24, 32, 1), natural(24, 32, 2)])]
    shaping = np.full((5, 3, 3), 0.05, np.float32)
    assert measure(net, samples, CPU, shaping) != measure(net, samples, CPU)


def test_static_pixels_are_copied_from_the_reference() -> None:
    sample = natural(24, 32, 1)[None].repeat(2, axis=0)
    # Only the mark and the map of the region change some low bits.
    assert min(measure(tiny_net(), [sample], CPU)) > 55

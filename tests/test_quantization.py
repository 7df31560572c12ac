"""The quantization layer of the network."""

from __future__ import annotations

import numpy as np
import torch

from iicnet_cli.network.quantization import Quantization
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.zoo import find
from tests.random_arrays import midrange_unrounded


def test_noise_in_training_has_the_correlations_of_rounding_errors() -> None:
    feedback = find("stego-2").feedback
    unrounded = midrange_unrounded(200, 200, 3, 5)
    errors = round_embedding(unrounded, feedback) - unrounded.values()
    values = torch.rand(1, 3, 200, 200) / 2 + 0.25
    noise = 255 * (Quantization(feedback=feedback).train()(values) - values)[0].permute(1, 2, 0)
    for y, x in ((0, 0), (0, 1), (1, 0), (1, 1), (2, 3)):
        made, found = (
            np.einsum("yxa,yxb->ab", n[: 200 - y, : 200 - x], n[y:, x:]) / 200**2
            for n in (noise.numpy(), errors)
        )
        np.testing.assert_allclose(made, found, atol=0.004)
    assert noise.square().mean() > 0.1  # 1/12 where nothing is diffused

"""The losses, equations (10) to (13) and the forms with explicit weights and of PSNRs."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.training.losses import (
    charbonnier,
    embedding_loss,
    explicit_loss,
    frequency_loss,
    restored_loss,
    total_loss,
)
from iicnet_cli.training.recipe import LossConfig


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


def test_embedding_loss_by_hand() -> None:
    e = torch.zeros(2, 1, 2, 2)
    e[0, 0] = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    e[1, 0, 1, 1] = 3.0
    # Sums over the pictures, 5 and 9; mean over the batch.
    assert embedding_loss(e, torch.zeros_like(e)) == 7


def test_frequency_loss_by_hand() -> None:
    e = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]])
    # The transform of a 2x2 picture is 11, -3, -5, 1, and all of it is on one side.
    assert frequency_loss(e, torch.zeros_like(e)) == 11**2 + 3**2 + 5**2 + 1


def test_restored_loss_by_hand() -> None:
    images = torch.zeros(1, 2, 1, 1, 2, dtype=torch.float64)
    restored = images.clone()
    restored[0, 0, 0, 0] = torch.tensor([3.0, -4.0])
    restored[0, 1, 0, 0, 0] = 1.0
    one = math.sqrt(9 + 1e-6) + math.sqrt(16 + 1e-6)
    other = math.sqrt(1 + 1e-6) + math.sqrt(1e-6)
    assert restored_loss(restored, images).item() == pytest.approx((one + other) / 2)


def test_charbonnier_is_a_smooth_l1() -> None:
    x = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    charbonnier(x, torch.zeros_like(x)).sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, torch.zeros_like(x))
    far = charbonnier(torch.tensor(0.7), torch.tensor(0.2))
    assert far.item() == pytest.approx(0.5, abs=1e-5)


def test_total_loss_is_the_weighted_sum() -> None:
    images, restored = random(2, 3, 3, 4, 6), random(2, 3, 3, 4, 6)
    e, reference = random(2, 3, 4, 6), random(2, 3, 4, 6)
    config = LossConfig(form="paper", embedding=1.0, frequency=0.001, restored=3.0)
    expected = (
        embedding_loss(e, reference)
        + 0.001 * frequency_loss(e, reference)
        + 3 * restored_loss(restored, images)
    )
    assert total_loss(e, reference, restored, images, config) == pytest.approx(expected.item())


def test_frequency_loss_obeys_parsevals_theorem() -> None:
    """The energy of the whole transform is H W times that of the picture; one side has half."""
    e, reference = random(2, 3, 8, 10), random(2, 3, 8, 10)
    half = torch.fft.rfft2(e - reference).abs().square()
    # The first and the last column have no counterpart on the other side.
    twice = half[..., 1:-1].sum() + half.sum()
    assert twice.item() / 2 == pytest.approx(80 * embedding_loss(e, reference).item())
    assert frequency_loss(e, reference).item() == pytest.approx(half.sum().item() / 2)

    e, reference = random(1, 3, 144, 144), random(1, 3, 144, 144)
    ratio = frequency_loss(e, reference) / embedding_loss(e, reference)
    assert 0.001 * ratio.item() == pytest.approx(10.4, rel=0.1)


def test_explicit_loss_does_not_depend_on_the_size() -> None:
    config = LossConfig(form="explicit")
    images, restored = random(1, 2, 3, 4, 4), random(1, 2, 3, 4, 4)
    e, reference = random(1, 3, 4, 4), random(1, 3, 4, 4)
    loss = explicit_loss(e, reference, restored, images, config)
    by_hand = 11.4 * np.mean((e - reference).numpy() ** 2)
    by_hand += 3 * np.mean(np.sqrt((restored - images).numpy() ** 2 + 1e-6))
    assert loss.item() == pytest.approx(by_hand)
    assert total_loss(e, reference, restored, images, config) == loss
    e, reference, restored, images = (
        x.repeat(*[1] * (x.dim() - 2), 2, 3) for x in (e, reference, restored, images)
    )
    tiled = total_loss(e, reference, restored, images, config)
    assert tiled.item() == pytest.approx(loss.item())


def test_psnr_loss_is_the_weighted_mean_of_the_measured_psnrs() -> None:
    """The measured pictures are rounded to 8 bits; the loss is of unrounded ones."""
    generator = np.random.default_rng(1)
    images = generator.integers(60, 190, (1, 3, 3, 64, 64)).astype(np.uint8)
    reference = images[:, 0]
    deviations = np.array([2.0, 5.0, 12.0]).reshape(1, 3, 1, 1, 1)
    restored = images + deviations * generator.standard_normal(images.shape)
    embedding = reference + 4 * generator.standard_normal(reference.shape)
    shown = psnr(embedding.round().astype(np.uint8), reference)
    errors = [psnr(restored[:, k].round().astype(np.uint8), images[:, k]) for k in range(3)]
    back = -20 * math.log10(np.mean([10 ** (-dB / 20) for dB in errors]))
    config = LossConfig(form="psnr", embedding=1, restored=3)
    e, r, restored_, images_ = (
        torch.tensor(x) / 255 for x in (embedding, reference, restored, images)
    )
    loss = total_loss(e, r, restored_, images_, config).item()
    assert -20 * math.log10(loss) == pytest.approx((shown + 3 * back) / 4, abs=0.02)


def test_above_the_cap_only_the_restored_pictures_count() -> None:
    config = LossConfig(form="psnr", embedding=3, restored=1, embedding_psnr_cap=40)
    images, reference = random(1, 2, 3, 4, 4), random(1, 3, 4, 4)
    restored = images + 0.1
    for error, counts in ((0.02, True), (0.005, False)):
        e = (reference + error).requires_grad_()
        loss = total_loss(e, reference, restored, images, config)
        loss.backward()
        assert e.grad is not None
        assert bool(e.grad.any()) == counts
    # A quarter of 20 dB, three quarters of the cap of 40 dB.
    assert -20 * math.log10(loss.item()) == pytest.approx(35, abs=0.01)


def test_errors_that_a_layer_corrects_count_less() -> None:
    """The fewer coefficients the energy of the restored pictures' errors is in, the less."""
    reference, images = random(1, 3, 32, 32), random(1, 2, 3, 32, 32)
    tone = torch.full_like(images, 20 / 255)
    grain = tone * torch.randint_like(images, 2).mul(2).sub(1)

    def loss(error: torch.Tensor, threshold: float | None) -> float:
        config = LossConfig(form="psnr", embedding=1, restored=1, layer_threshold=threshold)
        return total_loss(reference + 0.02, reference, images + error, images, config).item()

    assert loss(grain, None) == pytest.approx(loss(tone, None))
    assert loss(tone, 20) < loss(grain, 20) < loss(grain, None)


def test_psnr_loss_averages_errors_or_psnrs() -> None:
    """The mean of 20 and 40 dB is 30 dB, and that of their errors is 25.2 dB."""
    reference, images = random(1, 3, 16, 16), random(1, 2, 3, 16, 16)
    restored = images + torch.tensor([0.1, 0.01]).view(1, 2, 1, 1, 1)
    for mean, decibels in (("error", -20 * math.log10(0.055)), ("psnr", 30.0)):
        config = LossConfig.model_validate({"form": "psnr", "embedding": 0, "restored_mean": mean})
        loss = total_loss(reference, reference, restored, images, config).item()
        assert -20 * math.log10(loss) == pytest.approx(decibels, abs=0.1)


def test_psnr_loss_is_a_mean_over_the_batch() -> None:
    """Processes that share a batch depend on this, as they average their losses."""
    config = LossConfig(form="psnr", embedding=1, restored=1)
    images, restored = random(2, 3, 3, 4, 6), random(2, 3, 3, 4, 6)
    e, reference = random(2, 3, 4, 6), random(2, 3, 4, 6)
    each = [
        total_loss(*(x[i : i + 1] for x in (e, reference, restored, images)), config).item()
        for i in range(2)
    ]
    whole = total_loss(e, reference, restored, images, config).item()
    assert whole == pytest.approx(np.mean(each))

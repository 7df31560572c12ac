"""Losses, recipes and the optimizer, each on its own."""

from __future__ import annotations

import math
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from typer.testing import CliRunner

from iicnet_cli.cli import app
from iicnet_cli.errors import ExitCode, UsageError
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.training.losses import (
    charbonnier,
    embedding_loss,
    explicit_loss,
    frequency_loss,
    restored_loss,
    total_loss,
)
from iicnet_cli.training.optimizer import Muon, build_optimizers, orthogonalise
from iicnet_cli.training.recipe import LossConfig, Recipe, Stage
from iicnet_cli.zoo import available


def random(*shape: int) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64)


# Losses, equations (10) to (13).


def test_embedding_loss_by_hand() -> None:
    e = torch.zeros(2, 1, 2, 2)
    e[0, 0] = torch.tensor([[1.0, 2.0], [0.0, 0.0]])
    e[1, 0, 1, 1] = 3.0
    # Sums over the pictures, 5 and 9; mean over the batch.
    assert embedding_loss(e, torch.zeros_like(e)) == 7


def test_frequency_loss_by_hand() -> None:
    e = torch.tensor([[[[1.0, 2.0], [3.0, 5.0]]]])
    # The transform of a 2x2 picture is sums and differences: 11, -3, -5, 1, all one-sided.
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


def test_parseval() -> None:
    """The whole transform's energy is H W times the picture's; one side holds a good half."""
    e, reference = random(2, 3, 8, 10), random(2, 3, 8, 10)
    half = torch.fft.rfft2(e - reference).abs().square()
    # The first and the last column have no mirror image on the other side.
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


def test_psnr_loss_is_the_weighted_mean_of_what_is_measured() -> None:
    """In dB, of pictures that are rounded to 8 bits before they are measured."""
    generator = np.random.default_rng(1)
    images = generator.integers(60, 190, (1, 3, 3, 64, 64)).astype(np.uint8)
    reference = images[:, 0]
    spread = np.array([2.0, 5.0, 12.0]).reshape(1, 3, 1, 1, 1)
    restored = images + spread * generator.standard_normal(images.shape)
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


def test_an_embedding_may_be_good_enough() -> None:
    """Beyond that, only what is restored counts."""
    config = LossConfig(form="psnr", embedding=3, restored=1, enough=40)
    images, reference = random(1, 2, 3, 4, 4), random(1, 3, 4, 4)
    restored = images + 0.1
    for error, counts in ((0.02, True), (0.005, False)):
        e = (reference + error).requires_grad_()
        loss = total_loss(e, reference, restored, images, config)
        loss.backward()
        assert e.grad is not None
        assert bool(e.grad.any()) == counts
    # A quarter of 20 dB, three quarters of 40.
    assert -20 * math.log10(loss.item()) == pytest.approx(35, abs=0.01)


def test_what_a_layer_mends_counts_less() -> None:
    """Of the restored pictures only, and the less the larger the coefficient."""
    reference, images = random(1, 3, 32, 32), random(1, 2, 3, 32, 32)
    tone = torch.full_like(images, 20 / 255)
    grain = tone * torch.randint_like(images, 2).mul(2).sub(1)

    def loss(error: torch.Tensor, mended: float | None) -> float:
        config = LossConfig(form="psnr", embedding=1, restored=1, mended=mended)
        return total_loss(reference + 0.02, reference, images + error, images, config).item()

    assert loss(grain, None) == pytest.approx(loss(tone, None))
    assert loss(tone, 20) < loss(grain, 20) < loss(grain, None)


def test_psnr_loss_may_be_of_the_mean_psnr() -> None:
    """20 and 40 dB are 30 then, and their errors' mean is 25.2 dB."""
    reference, images = random(1, 3, 16, 16), random(1, 2, 3, 16, 16)
    restored = images + torch.tensor([0.1, 0.01]).view(1, 2, 1, 1, 1)
    for mean_of, decibels in (("errors", -20 * math.log10(0.055)), ("decibels", 30.0)):
        config = LossConfig.model_validate({"form": "psnr", "embedding": 0, "mean_of": mean_of})
        loss = total_loss(reference, reference, restored, images, config).item()
        assert -20 * math.log10(loss) == pytest.approx(decibels, abs=0.1)


def test_psnr_loss_is_a_mean_over_the_batch() -> None:
    """So that processes may share a batch, and average their losses."""
    config = LossConfig(form="psnr", embedding=1, restored=1)
    images, restored = random(2, 3, 3, 4, 6), random(2, 3, 3, 4, 6)
    e, reference = random(2, 3, 4, 6), random(2, 3, 4, 6)
    each = [
        total_loss(*(x[i : i + 1] for x in (e, reference, restored, images)), config).item()
        for i in range(2)
    ]
    whole = total_loss(e, reference, restored, images, config).item()
    assert whole == pytest.approx(np.mean(each))


# Recipes.

PLAIN = """
name = "tiny"
task = "stego"
[network]
images = 2
"""


def read(folder: Path, text: str) -> Recipe:
    path = folder / "recipe.toml"
    path.write_text(text)
    return Recipe.read(path)


def test_a_stage_may_have_a_loss_of_its_own(tmp_path: Path) -> None:
    stages = """
        stages = [
            { until = 0.5, crop = 64, batch = 4 },
            { until = 1.0, crop = 96, batch = 4, loss = { form = "psnr", restored = 2.0 } },
        ]
    """
    recipe = read(tmp_path, stages + PLAIN + "[loss]\nembedding = 7.0")
    assert recipe.loss_at(0.4) == LossConfig(embedding=7)
    assert recipe.loss_at(0.5) == recipe.loss_at(1.0) == LossConfig(form="psnr", restored=2)


def test_recipe(tmp_path: Path) -> None:
    recipe = read(tmp_path, PLAIN)
    assert recipe.network == IICNetConfig.compact(2)
    assert recipe.stage(0.0).crop == 96
    assert recipe.stage(0.7).crop == 144
    assert recipe.stage(1.0).crop == 144
    paper = '[loss]\nform = "paper"\nembedding = 1\nfrequency = 0.001'
    assert read(tmp_path, PLAIN + paper).loss.frequency == 0.001


@pytest.mark.parametrize("path", sorted(Path(__file__).parents[1].glob("recipes/*.toml")))
def test_bundled_recipes_are_valid(path: Path) -> None:
    recipe = Recipe.read(path)
    assert recipe.name == path.stem
    IICNet(recipe.network)


def test_one_makefile_trains_every_bundled_checkpoint() -> None:
    folder = Path(__file__).parents[1] / "recipes"
    done = subprocess.run(
        ["make", "-n", "-C", folder, "OUT=/o", "PHOTOS=/p", "CLIPS=/c", "STEREO=/s", "CUTOUTS=/k"],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = re.findall(r"^iicnet train --recipe (\S+)\.toml (.*)$", done.stdout, re.M)
    made: list[str] = []
    for name, options in lines:
        start = re.search(r"--from /o/(\S+)", options)
        assert "--scratch" in options or (start and start[1] in made), f"{name}: {options}"
        assert f" -o /o/{name}" in options
        made.append(name)
    assert {path.stem for path in folder.glob("*.toml")} == set(made)
    for checkpoint in available():
        recipe = Recipe.read(folder / f"{checkpoint.name}.toml")
        assert recipe.network == checkpoint.config.network, checkpoint.name


WRONG = {
    "unknown field": ("stepz = 3\n" + PLAIN, "stepz"),
    "unknown field inside": (PLAIN + "blokcs = 3", "network.blokcs"),
    "bad task": (PLAIN.replace("stego", "cooking"), "task"),
    "bad name": (PLAIN.replace("tiny", "../tiny"), "name"),
    "stages out of order": (
        "stages = [{until = 0.9, crop = 64, batch = 1}, {until = 0.5, crop = 64, batch = 1}]"
        + PLAIN,
        "in order",
    ),
    "stages end early": ("stages = [{until = 0.9, crop = 64, batch = 1}]" + PLAIN, "until = 1"),
    "no stages": ("stages = []" + PLAIN, "until = 1"),
    "odd crop": ("stages = [{until = 1.0, crop = 65, batch = 1}]" + PLAIN, "multiple of 2"),
    "frequency in psnr form": (
        PLAIN + '[loss]\nform = "psnr"\nfrequency = 0.001',
        "paper's form only",
    ),
    "enough in explicit form": (PLAIN + "[loss]\nenough = 40", "psnr form only"),
    "mended in explicit form": (PLAIN + "[loss]\nmended = 40", "psnr form only"),
    "mean of dB in explicit form": (PLAIN + '[loss]\nmean_of = "decibels"', "psnr form only"),
    "no weight at all": (PLAIN + "[loss]\nembedding = 0\nrestored = 0", "above 0"),
    "frequency in explicit form": (PLAIN + "[loss]\nfrequency = 0.001", "paper's form only"),
    "impossible network": (PLAIN + 'downscaling = "none"\nhalf_size = true', "half_size"),
    "no TOML": ("name = ", "TOML"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_recipes_are_refused(case: str, tmp_path: Path) -> None:
    text, says = WRONG[case]
    with pytest.raises(UsageError, match=says) as caught:
        read(tmp_path, text)
    assert caught.value.exit_code == ExitCode.USAGE
    assert "\n" not in str(caught.value)


def test_wrong_recipe_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(PLAIN + "[loss]\nfrequency = 0.001")
    for recipe in (path, tmp_path / "none.toml"):
        arguments = ["--recipe", str(recipe), "-d", str(tmp_path), "-o", str(tmp_path / "out")]
        result = CliRunner().invoke(app, ["train", *arguments])
        assert result.exit_code == ExitCode.USAGE, result.output
        assert recipe.name in result.stderr


def test_stage_ranges() -> None:
    with pytest.raises(ValueError):
        Stage(until=1.1, crop=64, batch=1)
    with pytest.raises(ValueError):
        Stage(until=1.0, crop=8, batch=1)


# Muon.


@pytest.mark.parametrize("shape", [(3, 16, 16), (2, 12, 40), (2, 40, 12), (1, 1, 9)])
def test_orthogonalise(shape: tuple[int, int, int]) -> None:
    torch.manual_seed(0)
    # Singular values from 0.1 to 1, far from equal and far from zero.
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    spread = torch.linspace(1.0, 0.1, u.shape[-1])
    result = orthogonalise(7 * u * spread @ v)
    assert result.shape == shape
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    # It turns nothing: the singular vectors stay.
    inner = u.mT @ result @ v.mT
    torch.testing.assert_close(inner, torch.diag_embed(inner.diagonal(dim1=-2, dim2=-1)))


def test_orthogonalise_of_nothing_is_nothing() -> None:
    assert torch.equal(orthogonalise(torch.zeros(1, 3, 4)), torch.zeros(1, 3, 4))


def test_muon_reduces_a_quadratic() -> None:
    torch.manual_seed(0)
    kernels = [nn.Parameter(torch.randn(8, 4, 3, 3)), nn.Parameter(torch.randn(8, 4, 3, 3))]
    unused = nn.Parameter(torch.randn(5, 5))
    optimizer = Muon([*kernels, unused], lr=0.05)
    before = unused.detach().clone()

    def loss() -> Tensor:
        return torch.stack([kernel.square().sum() for kernel in kernels]).sum()

    start = loss().item()
    loss().backward()
    optimizer.step()
    assert loss().item() < start
    for _ in range(200):
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    assert loss().item() < 0.1 * start
    assert torch.equal(unused, before)


def test_muon_step_by_hand() -> None:
    torch.manual_seed(0)
    kernel = nn.Parameter(torch.randn(6, 2, 1, 1))
    before, gradient = kernel.detach().clone(), torch.randn(6, 2, 1, 1)
    kernel.grad = gradient.clone()
    Muon([kernel], lr=0.1, weight_decay=0.5).step()
    # The first Nesterov momentum is parallel to the gradient, and length does not count.
    update = orthogonalise(gradient.reshape(1, 6, 2))[0].reshape(6, 2, 1, 1)
    expected = before * (1 - 0.1 * 0.5) - 0.1 * 0.2 * math.sqrt(6) * math.sqrt(3) * update
    torch.testing.assert_close(kernel.detach(), expected, rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="closure"):
        Muon([kernel], lr=0.1).step(lambda: 0.0)


@pytest.mark.parametrize("config", [IICNetConfig.compact(2), IICNetConfig.paper(2, blocks=1)])
def test_every_parameter_has_one_optimizer(config: IICNetConfig) -> None:
    net = IICNet(config)
    muon, adamw = build_optimizers(net, 5e-3, 2e-3, 0.01)
    groups = [
        [id(p) for group in optimizer.param_groups for p in group["params"]]
        for optimizer in (muon, adamw)
    ]
    assert sorted(groups[0] + groups[1]) == sorted(id(p) for p in net.parameters())
    assert {id(p) for name, p in net.named_parameters() if name.endswith("bias")} == set(groups[1])
    assert muon.param_groups[0]["lr"] == 5e-3
    assert adamw.param_groups[0]["lr"] == 2e-3

"""The search for a better embedding: ``--effort`` and its targets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from iicnet_cli.engines.network.enhancement_layer import plan_layer
from iicnet_cli.engines.network.search import Search, Target, refine_embedding, refine_tiles
from iicnet_cli.errors import UsageError
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.options import EmbedOptions
from iicnet_cli.payload.mark import read_mark
from iicnet_cli.pictures.arrays import FRACTION, PixelArray
from iicnet_cli.pictures.metrics import mse, mse_to_psnr, psnr, psnr_to_mse
from iicnet_cli.quantize.error_diffusion import rounded
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from tests.helpers import Run, done, pixels, save
from tests.runners import runner_of
from tests.samples import Pixels, natural

MEDIA = Path(__file__).parents[1] / "examples" / "media"


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """A cover and a photo to hide, 80x64."""
    return [
        save(tmp_path / name, natural(64, 80, seed + 7))
        for seed, name in enumerate(("cover.png", "secret.png"))
    ]


def embed(run: Run, files: list[Path], output: Path, *options: object) -> dict[str, Any]:
    """The report on an embedding without a layer, which shows best what the search does."""
    command = ("embed", *files, "-o", output, "--json", "--no-enhance", *options)
    report: dict[str, Any] = json.loads(done(run(*command)).stdout)
    return report


def restored_psnr(report: dict[str, Any]) -> float:
    """dB of the mean squared error over all pictures, which a target is about."""
    errors = [psnr_to_mse(picture["psnr"]) for picture in report["restored"]]
    return mse_to_psnr(float(np.mean(errors)))


# ------------------------------------------------------------------------- the command line


def test_effort_restores_better_and_shows_no_worse(
    run: Run, pair: list[Path], tmp_path: Path
) -> None:
    plain = embed(run, pair, tmp_path / "plain.png")
    better = embed(run, pair, tmp_path / "better.png", "--effort", 3)
    assert plain["gained_psnr"] is None
    assert better["gained_psnr"] > 0
    assert better["restored_psnr"] > plain["restored_psnr"]
    assert better["embed_psnr"] > plain["embed_psnr"] - 0.1  # the mark changes some pixels


def test_effort_gives_the_same_bytes_again(run: Run, pair: list[Path], tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        embed(run, pair, tmp_path / name, "--effort", 2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_effort_is_the_network_alone(run: Run, pair: list[Path], tmp_path: Path) -> None:
    alone, none, usual, one = (tmp_path / f"{name}.png" for name in ("a", "n", "u", "o"))
    embed(run, pair, alone)
    for out, options in ((none, ("--effort", 0)), (usual, ()), (one, ("--effort", 1))):
        embed(run, pair, out, "--enhance", *options)
    assert none.read_bytes() == alone.read_bytes()
    assert one.read_bytes() == usual.read_bytes() != none.read_bytes()


def test_a_missed_target_is_reported(run: Run, pair: list[Path], tmp_path: Path) -> None:
    report = embed(run, pair, tmp_path / "x.png", "--effort", 2, "--target-embed-psnr", 70)
    note = "target of 70 dB for the embedding was not reached"
    assert any(note in each for each in report["notes"])
    assert report["embed_psnr"] < 69


def test_a_target_of_the_embedding_is_held(run: Run, pair: list[Path], tmp_path: Path) -> None:
    plain = embed(run, pair, tmp_path / "plain.png")
    better = embed(run, pair, tmp_path / "better.png", "--effort", 3)
    lower = plain["embed_psnr"] - 1.5
    free = embed(run, pair, tmp_path / "free.png", "--effort", 3, "--target-embed-psnr", lower)
    assert free["embed_psnr"] > lower - 0.1
    assert free["gained_psnr"] > better["gained_psnr"]


def test_a_target_of_the_restored_pictures_is_held(
    run: Run, pair: list[Path], tmp_path: Path
) -> None:
    plain = embed(run, pair, tmp_path / "plain.png")
    target = restored_psnr(plain) - 0.5
    found = embed(run, pair, tmp_path / "t.png", "--effort", 5, "--target-restored-psnr", target)
    assert found["embed_psnr"] > plain["embed_psnr"]
    assert restored_psnr(found) > target - 0.1


def test_a_target_is_held_with_the_enhancement_layer(
    run: Run, pair: list[Path], tmp_path: Path
) -> None:
    options = ("--enhance", "--effort", 2)
    target = embed(run, pair, tmp_path / "free.png", *options)["embed_psnr"] + 1
    report = embed(run, pair, tmp_path / "t.png", *options, "--target-embed-psnr", target)
    assert report["embed_psnr"] == pytest.approx(target, abs=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--effort", 11], "less than or equal to 10"),
        (["--target-embed-psnr", 38], "--effort"),
        (["--effort", 0, "--target-embed-psnr", 38], "--effort"),
        (["--effort", 2, "--target-embed-psnr", 38, "--target-restored-psnr", 40], "one of"),
    ],
)
def test_wrong_efforts(
    run: Run, pair: list[Path], tmp_path: Path, options: list[object], message: str
) -> None:
    result = run("embed", *pair, "-o", tmp_path / "x.png", *options)
    assert result.exit_code == UsageError.exit_code
    assert message in result.output
    assert not (tmp_path / "x.png").exists()


def test_effort_keeps_the_enhancement_layer(run: Run, pair: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.png"
    report = embed(run, pair, out, "--effort", 2, "--enhance")
    plain = embed(run, pair, tmp_path / "plain.png", "--enhance")
    assert "enhancement_layer" in json.loads(done(run("info", out, "--json")).stdout)
    assert report["restored_psnr"] > plain["restored_psnr"]
    assert report["gained_psnr"] > 0


def layer_size(path: Path) -> int:
    """Bytes of the enhancement layer of a PNG."""
    mark = read_mark(pixels(path))
    assert mark is not None
    return len(mark.enhancement)


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_a_search_wins_back_what_more_bits_cost(run: Run, tmp_path: Path) -> None:
    files = [save(tmp_path / f"{seed}.png", natural(128, 128, seed)) for seed in range(3)]
    usual, richer = tmp_path / "usual.png", tmp_path / "richer.png"
    plain = embed(run, files, usual, "--enhance")
    report = embed(run, files, richer, "--enhance", "--effort", 2)
    assert layer_size(richer) > layer_size(usual)
    assert report["restored_psnr"] > plain["restored_psnr"]
    assert report["embed_psnr"] > plain["embed_psnr"] - 0.05


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_a_layer_may_pay_with_a_search_alone(run: Run, tmp_path: Path) -> None:
    files = []
    for name in ("cup.png", "chelsea.png"):
        picture = Image.open(MEDIA / name)
        x, y = ((side - 80) // 2 for side in picture.size)
        picture.crop((x, y, x + 80, y + 80)).save(tmp_path / name)
        files.append(tmp_path / name)
    usual, searched = tmp_path / "usual.png", tmp_path / "searched.png"
    options = ("--enhance", "--task", "layers", "--effort")
    plain = embed(run, files, usual, *options, 1)
    report = embed(run, files, searched, *options, 2)
    assert layer_size(usual) == 0 < layer_size(searched)
    assert report["hidden_psnr"] > plain["hidden_psnr"]
    assert report["embed_psnr"] > plain["embed_psnr"] - 0.05


@pytest.mark.parametrize("layer", ["--enhance", "--no-enhance"])
def test_a_target_where_nothing_has_to_be_hidden(
    run: Run, pair: list[Path], tmp_path: Path, layer: str
) -> None:
    options = ("--effort", 2, "--target-embed-psnr", 40, layer)
    report = embed(run, [pair[0], pair[0]], tmp_path / "same.png", *options)
    assert report["embed_psnr"] > 60 and report["restored_psnr"] > 60


# ------------------------------------------------------------------------------ the options


def test_efforts_from_two_on_search_longer_and_longer() -> None:
    searches = [Search.of(EmbedOptions(effort=effort)) for effort in range(11)]
    assert searches[:2] == [None, None]
    steps = [search.steps for search in searches[2:] if search is not None]
    assert len(steps) == 9 and steps == sorted(set(steps))


@pytest.mark.parametrize(
    ("target", "shortfall"),
    [(Target(), 0.0), (Target(embed_psnr=40), 1.5), (Target(restored_psnr=40), -2.0)],
)
def test_what_a_target_lacks(target: Target, shortfall: float) -> None:
    assert target.is_default == (shortfall == 0)
    assert target.shortfall(38.5, 42.0) == shortfall
    assert target.raised(shortfall).shortfall(38.5 + shortfall, 42.0 + shortfall) == shortfall


# ---------------------------------------------------------------------------- the optimiser


def start_of(net: IICNet, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures in 0..1, and their embedding in 0..255."""
    pictures = [natural(side, side, seed + 1) for seed in range(net.config.images)]
    images = to_tensor(np.stack(pictures)[None])
    with torch.no_grad():
        return images, (255 * net(images)).clamp(0, 255)


def restored_error(net: IICNet, images: torch.Tensor, embedding: torch.Tensor) -> float:
    with torch.no_grad():
        return float((net.inverse(embedding / 255) - images).square().mean())


def test_no_steps_and_fixed_areas_change_nothing() -> None:
    net = runner_of("stego-2").net
    images, start = start_of(net)
    assert refine_embedding(net, images, start, Search(0)).equal(start)
    free = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    free[..., :16] = True
    found = refine_embedding(net, images, start, Search(20), free=free)
    assert found[..., 16:].equal(start[..., 16:])
    assert not found[..., :16].equal(start[..., :16])


def test_an_impossible_target_of_the_embedding_gives_the_nearest() -> None:
    net = runner_of("stego-2").net
    images, start = start_of(net)
    found = refine_embedding(net, images, start, Search(20, Target(embed_psnr=60)))
    reference = 255 * images[:, 0]
    assert (found - reference).square().mean() < (start - reference).square().mean()


def test_an_impossible_target_of_the_restored_does_not_ruin_the_embedding() -> None:
    net = runner_of("stego-3").net
    images, start = start_of(net)
    found = refine_embedding(net, images, start, Search(60, Target(restored_psnr=90)))
    reference = (255 * images[:, 0]).round()
    distances = [(each - reference).square().mean().item() for each in (start, found)]
    assert distances[1] <= 4.001 * distances[0]  # 6 dB, no more
    assert restored_error(net, images, found) < restored_error(net, images, start)


def test_the_search_leaves_the_network_as_it_was() -> None:
    net = runner_of("stego-2").net.requires_grad_(True)
    try:
        before = {name: value.clone() for name, value in net.state_dict().items()}
        images, start = start_of(net)
        found = refine_embedding(net, images, start, Search(3))
        assert all(p.requires_grad and p.grad is None for p in net.parameters())
        assert all(value.equal(before[name]) for name, value in net.state_dict().items())
        assert refine_embedding(net, images, start, Search(3)).equal(found)
    finally:
        net.requires_grad_(False)


def test_what_a_layer_corrects_is_left_to_it() -> None:
    """A layer that corrects one picture wholly leaves the search to the others."""
    net = runner_of("stego-3").net
    images, start = start_of(net)

    def layer(pictures: torch.Tensor) -> torch.Tensor:
        missing = images - pictures
        missing[:, :2] = 0
        return missing

    def errors(embedding: torch.Tensor) -> list[float]:
        with torch.no_grad():
            pictures = net.inverse(embedding / 255)
        left = pictures - images
        return [each.square().mean().item() for each in (left, left + layer(pictures))]

    before, plain, corrected = (
        errors(start),
        errors(refine_embedding(net, images, start, Search(30))),
        errors(refine_embedding(net, images, start, Search(30), layer=layer)),
    )
    assert corrected[1] < plain[1] < before[1]
    assert corrected[0] > plain[0]


def test_a_layer_that_corrects_nothing_changes_nothing() -> None:
    net = runner_of("stego-2").net
    images, start = start_of(net)
    with_layer = refine_embedding(net, images, start, Search(5), layer=torch.zeros_like)
    assert with_layer.equal(refine_embedding(net, images, start, Search(5)))


# -------------------------------------------------------------------------------- all tiles


def pictures_of(count: int, height: int, width: int) -> Pixels:
    return np.stack([natural(height, width, seed + 3) for seed in range(count)])


def error(runner: Runner, found: UnroundedEmbedding, images: PixelArray) -> float:
    """Mean squared error of what is restored after rounding."""
    shown = rounded(found.pixels, found.residual, runner.noise_shaping)
    return mse(runner.restore(shown), images)


@pytest.mark.usefixtures("bundled_weights")
def test_a_reference_of_half_size_is_held_as_it_is_rounded() -> None:
    """Its values lie between those of 8 bits; the search holds the distance from the rounded."""
    runner = runner_of.__wrapped__("rescale")  # the bundled one, which is not kept
    images = pictures_of(1, 64, 64)
    start = runner.embed(images)
    found = refine_tiles(runner, images, start, Search(60))
    reference = runner.reference(images)
    before, after = (
        rounded(each.pixels, each.residual, runner.noise_shaping) for each in (start, found)
    )
    assert psnr(after, reference) > psnr(before, reference) - 0.1
    assert error(runner, found, images) < error(runner, start, images)


def test_the_search_is_for_what_the_layer_leaves() -> None:
    runner = runner_of("stego-3")
    images = pictures_of(3, 96, 96)
    layer_bytes = 96 * 96 // 4
    start = runner.embed(images)
    errors = []
    for size in (0, layer_bytes):
        found = refine_tiles(runner, images, start, Search(32), layer_bytes=size)
        restored = runner.restore_fixed_point(found)
        plan = plan_layer(images, restored, layer_bytes)
        assert plan is not None
        restored += plan.correction(restored, layer_bytes)
        errors.append(np.square(restored / FRACTION - images).mean())
    assert errors[1] < errors[0]


def test_tiles_are_searched_one_by_one() -> None:
    images = pictures_of(2, 32, 480)
    whole = runner_of("stego-2")
    tiled = Runner(whole.net, noise_shaping=whole.noise_shaping, memory=1)
    start = whole.embed(images)
    told: list[tuple[float, float]] = []
    found = refine_tiles(tiled, images, start, Search(20), progress=lambda *each: told.append(each))
    shares = [share for share, _ in told]
    assert len(shares) == 20 * len(tiled.tiles(32, 480, searching=True)) > 20
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert told[-1][1] > 0
    assert error(tiled, found, images) < error(tiled, start, images)


def test_the_static_region_does_not_change() -> None:
    runner = runner_of("stego-2")
    images = pictures_of(2, 48, 64)
    start = runner.embed(images)
    static = np.zeros((48, 64), bool)
    static[8:24, 16:40] = True
    found = refine_tiles(runner, images, start, Search(40), static=static)
    assert np.array_equal(start.pixels[static], found.pixels[static])
    assert np.array_equal(start.residual[static], found.residual[static])
    assert not np.array_equal(start.pixels[~static], found.pixels[~static])
    for each in (start, found):
        each.pixels[static], each.residual[static] = 0, 0  # nobody looks at it
    assert error(runner, found, images) < error(runner, start, images)

"""The search for a better embedding: ``--effort`` and its targets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from iicnet_cli.engines.network.enhancement_layer import planned
from iicnet_cli.engines.network.search import Target, improve
from iicnet_cli.errors import UsageError
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.payload.mark import read_mark
from iicnet_cli.pictures.arrays import FRACTION
from iicnet_cli.pictures.metrics import psnr
from iicnet_cli.quantize.error_diffusion import rounded
from iicnet_cli.zoo import find
from tests.conftest import Run, natural

MEDIA = Path(__file__).parents[1] / "examples" / "media"


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    """A cover and a photo to hide, 128x96."""
    paths = []
    for i, name in enumerate(("cover.png", "secret.png")):
        Image.fromarray(natural(96, 128, seed=i + 7)).save(tmp_path / name)
        paths.append(tmp_path / name)
    return paths


def embedded(run: Run, pair: list[Path], output: Path, *options: object) -> dict[str, float]:
    """Of the search alone, which is told apart best without a layer."""
    done = run("embed", *pair, "-o", output, "--json", "--no-enhance", *options)
    assert done.exit_code == 0, done.output
    record: dict[str, float] = json.loads(done.stdout)
    return record


def test_effort_restores_better_and_shows_no_worse(
    run: Run, pair: list[Path], tmp_path: Path
) -> None:
    plain = embedded(run, pair, tmp_path / "plain.png")
    better = embedded(run, pair, tmp_path / "better.png", "--effort", 3)
    assert plain["gained_psnr"] is None
    assert better["gained_psnr"] > 0.2
    assert better["restored_psnr"] > plain["restored_psnr"] + 0.1
    assert better["embed_psnr"] > plain["embed_psnr"] - 0.05  # the mark takes a few levels


def test_effort_gives_the_same_bytes_again(run: Run, pair: list[Path], tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        embedded(run, pair, tmp_path / name, "--effort", 2)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_no_effort_is_the_network_alone(run: Run, pair: list[Path], tmp_path: Path) -> None:
    alone, none, usual, one = (tmp_path / f"{name}.png" for name in ("a", "n", "u", "o"))
    embedded(run, pair, alone)
    for out, options in ((none, ("--effort", 0)), (usual, ()), (one, ("--effort", 1))):
        embedded(run, pair, out, "--enhance", *options)
    assert none.read_bytes() == alone.read_bytes()
    assert one.read_bytes() == usual.read_bytes() != none.read_bytes()


def test_a_missed_target_is_said(run: Run, pair: list[Path], tmp_path: Path) -> None:
    record = embedded(run, pair, tmp_path / "x.png", "--effort", 2, "--target-embed-psnr", 70)
    assert any("target of 70 dB for the embedding was not reached" in n for n in record["notes"])  # type: ignore[attr-defined]
    assert record["embed_psnr"] < 69


def test_target_of_the_embedding_is_held(run: Run, pair: list[Path], tmp_path: Path) -> None:
    plain = embedded(run, pair, tmp_path / "plain.png")
    better = embedded(run, pair, tmp_path / "better.png", "--effort", 3)
    lower = plain["embed_psnr"] - 1.5
    free = embedded(run, pair, tmp_path / "free.png", "--effort", 3, "--target-embed-psnr", lower)
    assert free["embed_psnr"] > lower - 0.1
    assert free["gained_psnr"] > better["gained_psnr"]


def test_target_of_the_restored_is_held(run: Run, pair: list[Path], tmp_path: Path) -> None:
    plain = embedded(run, pair, tmp_path / "plain.png")
    # The target is of the mean squared error over all pictures.
    errors = [10 ** (-picture["psnr"] / 10) for picture in plain["restored"]]  # type: ignore[attr-defined]
    target = -10 * np.log10(np.mean(errors)) - 0.5
    found = embedded(run, pair, tmp_path / "t.png", "--effort", 5, "--target-restored-psnr", target)
    assert found["embed_psnr"] > plain["embed_psnr"] + 0.3
    kept = [10 ** (-picture["psnr"] / 10) for picture in found["restored"]]  # type: ignore[attr-defined]
    assert -10 * np.log10(np.mean(kept)) > target - 0.1


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
    done = run("embed", *pair, "-o", tmp_path / "x.png", *options)
    assert done.exit_code == UsageError.exit_code
    assert message in done.output
    assert not (tmp_path / "x.png").exists()


def test_a_reference_between_levels_is_held_as_rounded() -> None:
    # Half the size, the reference is no whole levels; the closeness to hold is to those of the PNG.
    checkpoint = find("rescale")
    runner = Runner(checkpoint.load(), torch.device("cpu"), feedback=checkpoint.noise_shaping)
    images = natural(64, 64, 12)[None]
    start = runner.embed_unrounded(images)
    found = runner.improve(images, *start, 60, Target())
    before, after = (rounded(*each, runner.feedback) for each in (start, found))
    reference = runner.reference(images)
    assert psnr(after, reference) > psnr(before, reference) - 0.05
    assert psnr(runner.restore(after), images) > psnr(runner.restore(before), images) + 0.1


def start_of(net: IICNet, side: int = 32) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures and their embedding, in levels."""
    images = to_tensor(np.stack([natural(side, side, 1), natural(side, side, 2)])[None])
    with torch.no_grad():
        return images, (255 * net(images)).clamp(0, 255)


def test_no_steps_and_frozen_areas_change_nothing() -> None:
    net = find("stego-2").load()
    images, start = start_of(net)
    assert improve(net, images, start, 0).equal(start)
    free = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    free[..., :16] = True
    found = improve(net, images, start, 20, free=free)
    assert found[..., 16:].equal(start[..., 16:])
    assert not found[..., :16].equal(start[..., :16])


def test_an_impossible_target_gives_the_nearest() -> None:
    net = find("stego-2").load()
    images, start = start_of(net)
    found = improve(net, images, start, 20, target=Target(embed_psnr=60))
    reference = 255 * images[:, 0]
    assert (found - reference).square().mean() < (start - reference).square().mean()


def test_an_impossible_target_does_not_ruin_the_embedding() -> None:
    # 6 dB are given for it, no more.
    net = find("stego-2").load()
    images, start = start_of(net)
    reference = (255 * images[:, 0]).round()
    found = improve(net, images, start, 60, target=Target(restored_psnr=90))
    distances = [(each - reference).square().mean().item() for each in (start, found)]
    assert distances[1] <= 4.001 * distances[0]
    with torch.no_grad():
        errors = [(net.inverse(e / 255) - images).square().mean() for e in (start, found)]
    assert errors[1] < errors[0]


def test_the_search_leaves_the_network_as_it_was() -> None:
    net = find("stego-2").load().requires_grad_(True)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images, start = start_of(net)
    found = improve(net, images, start, 3)
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert improve(net, images, start, 3).equal(found)


def test_what_a_layer_mends_is_left_to_it() -> None:
    # Of one picture all, say; then the search is for the others.
    net = find("stego-3").load()
    images = to_tensor(np.stack([natural(64, 64, seed) for seed in range(3)])[None])
    with torch.no_grad():
        start = (255 * net(images)).clamp(0, 255)

    def layer(pictures: torch.Tensor) -> torch.Tensor:
        missing = images - pictures
        missing[:, :2] = 0
        return missing

    def errors(embedding: torch.Tensor) -> list[float]:
        with torch.no_grad():
            pictures = net.inverse(embedding / 255)
        left = pictures - images
        return [each.square().mean().item() for each in (left, left + layer(pictures))]

    before, plain, mended = (
        errors(start),
        errors(improve(net, images, start, 30)),
        errors(improve(net, images, start, 30, layer=layer)),
    )
    assert mended[1] < 0.97 * plain[1] < 0.97 * before[1]
    assert mended[0] > plain[0]


def test_a_layer_that_mends_nothing_changes_nothing() -> None:
    net = find("stego-2").load()
    images, start = start_of(net)
    with_layer = improve(net, images, start, 5, layer=torch.zeros_like)
    assert with_layer.equal(improve(net, images, start, 5))


def test_the_search_is_for_what_the_layer_leaves() -> None:
    checkpoint = find("stego-2")
    runner = Runner(checkpoint.load(), torch.device("cpu"), feedback=checkpoint.noise_shaping)
    images = np.stack([natural(96, 96, 1), natural(96, 96, 2)])
    room = 96 * 96 // 4
    start = runner.embed_unrounded(images)
    errors = []
    for each in (0, room):
        embedding, remainder = runner.improve(images, *start, 32, Target(), room=each)
        restored = runner.restore_fixed_point(embedding, remainder=remainder)
        plan = planned(images, restored, room)
        assert plan is not None
        restored += plan.told(restored, room)
        errors.append(np.square(restored / FRACTION - images).mean())
    assert errors[1] < 0.95 * errors[0]


@pytest.mark.parametrize(
    ("target", "lacking"),
    [(Target(), 0.0), (Target(embed_psnr=40), 1.5), (Target(restored_psnr=40), -2.0)],
)
def test_what_a_target_lacks(target: Target, lacking: float) -> None:
    assert target.free == (lacking == 0)
    assert target.lacking(38.5, 42.0) == lacking
    assert target.raised(lacking).lacking(38.5 + lacking, 42.0 + lacking) == lacking


def quickly_trained(steps: int = 150) -> IICNet:
    """Two pictures in one; of one block, so that its tiles are small."""
    torch.manual_seed(0)
    net = IICNet(IICNetConfig.compact(2, blocks=1, width=8))
    optimizer = torch.optim.Adam(net.parameters(), 5e-3)
    pictures = np.stack([[natural(48, 48, 2 * i), natural(48, 48, 2 * i + 1)] for i in range(4)])
    images = to_tensor(pictures)
    for _ in range(steps):
        embedding = net(images)
        noisy = embedding + (torch.rand_like(embedding) - 0.5) / 255
        loss = (embedding - images[:, 0]).square().mean()
        loss = loss + (net.inverse(noisy) - images).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval().requires_grad_(False)


def error(runner: Runner, found: tuple[np.ndarray, np.ndarray], images: np.ndarray) -> float:  # type: ignore[type-arg]
    """Of what is restored, when it was rounded."""
    restored = runner.restore(rounded(*found, runner.feedback))
    return float(np.square(restored.astype(float) - images).mean())


def test_effort_in_tiles() -> None:
    net = quickly_trained()  # tiles of bundled networks are too large for a test
    images = np.stack([natural(32, 480, 3), natural(32, 480, 4)])
    start = Runner(net, torch.device("cpu"), memory=None).embed_unrounded(images)
    tiled = Runner(net, torch.device("cpu"), memory=1)
    told: list[tuple[float, float]] = []
    found = tiled.improve(images, *start, 20, Target(), lambda *each: told.append(each))
    shares = [share for share, _ in told]
    assert len(shares) > 20  # more than one tile
    assert shares == sorted(shares)
    assert shares[-1] == pytest.approx(1)
    assert told[-1][1] > 0
    assert error(tiled, found, images) < error(tiled, start, images)


def test_effort_leaves_what_is_known() -> None:
    net = quickly_trained()
    runner = Runner(net, torch.device("cpu"))
    images = np.stack([natural(48, 64, 5), natural(48, 64, 6)])
    start = runner.embed_unrounded(images)
    known = np.zeros((48, 64), bool)
    known[8:24, 16:40] = True
    found = runner.improve(images, *start, 40, Target(), known=known)
    for before, after in zip(start, found, strict=True):
        assert np.array_equal(before[known], after[known])
    assert not np.array_equal(start[0][~known], found[0][~known])
    for each in (start, found):
        each[0][known], each[1][known] = 0, 0  # it is not looked at
    assert error(runner, found, images) < error(runner, start, images)


def test_effort_keeps_the_enhancement_layer(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for seed, file in enumerate(files):
        Image.fromarray(natural(96, 96, seed)).save(file)
    out = tmp_path / "out.png"
    options = ("--task", "stego", "--model", "stego-2", "--min-psnr", 20, "--enhance")
    record = embedded(run, files, out, "--effort", 2, *options)
    plain = embedded(run, files, tmp_path / "plain.png", *options)
    told = json.loads(run("info", out, "--json").stdout)
    assert "enhancement_layer" in told
    assert record["restored_psnr"] > plain["restored_psnr"] + 0.1
    assert record["gained_psnr"] > 0.05


def test_a_target_is_held_with_the_enhancement_layer(
    run: Run, pair: list[Path], tmp_path: Path
) -> None:
    layer = ("--enhance", "--effort", 2)
    record = embedded(run, pair, tmp_path / "out.png", *layer, "--target-embed-psnr", 37.5)
    assert record["embed_psnr"] == pytest.approx(37.5, abs=0.15)


def test_a_search_wins_back_what_more_bits_cost(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / f"{seed}.png" for seed in range(3)]
    for seed, file in enumerate(files):
        Image.fromarray(natural(128, 128, seed)).save(file)
    usual, richer = tmp_path / "usual.png", tmp_path / "richer.png"
    plain = embedded(run, files, usual, "--enhance")
    record = embedded(run, files, richer, "--enhance", "--effort", 2)
    marks = [read_mark(np.asarray(Image.open(path))) for path in (usual, richer)]
    assert marks[0] is not None and marks[1] is not None
    assert marks[1].depth > marks[0].depth
    assert record["restored_psnr"] > plain["restored_psnr"] + 0.5
    assert record["embed_psnr"] > plain["embed_psnr"] - 0.05


def test_a_layer_may_pay_with_a_search_alone(run: Run, tmp_path: Path) -> None:
    files = [tmp_path / "front.png", tmp_path / "back.png"]
    for name, file in zip(("cup.png", "chelsea.png"), files, strict=True):
        with Image.open(MEDIA / name) as image:
            x, y = ((side - 80) // 2 for side in image.size)
            image.crop((x, y, x + 80, y + 80)).save(file)
    out = tmp_path / "out.png"
    records, layers = [], []
    for effort in (1, 2):
        options = ("--enhance", "--task", "layers", "--effort", effort, "-y")
        records.append(embedded(run, files, out, *options))
        mark = read_mark(np.asarray(Image.open(out)))
        assert mark is not None
        layers.append(mark.enhancement != b"")
    assert layers == [False, True]
    usual, searched = records
    assert searched["hidden_psnr"] > usual["hidden_psnr"] + 0.5
    assert searched["embed_psnr"] > usual["embed_psnr"] - 0.05


@pytest.mark.parametrize("layer", ["--enhance", "--no-enhance"])
def test_a_target_where_nothing_is_to_be_hidden(
    run: Run, pair: list[Path], tmp_path: Path, layer: str
) -> None:
    options = ("--effort", 2, "--target-embed-psnr", 40, layer)
    record = embedded(run, [pair[0], pair[0]], tmp_path / "same.png", *options)
    assert record["embed_psnr"] > 60 and record["restored_psnr"] > 60

"""Latent refinement: the search for an embedding that restores better."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from iicnet_cli.engines.network.layer_planner import plan_layer
from iicnet_cli.engines.network.search import (
    STEPS_OF_EFFORT,
    Search,
    Target,
    refine_embedding,
    refine_tiles,
)
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.options import MAX_EFFORT, EmbedOptions
from iicnet_cli.pictures.arrays import FRACTION, Pixels
from iicnet_cli.pictures.metrics import mse
from iicnet_cli.quantize.error_diffusion import round_embedding
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from tests.engine_helpers import group_of, small_network, small_runner


def start_of(net: IICNet) -> tuple[Tensor, Tensor]:
    """Pictures and their embedding in 0..255."""
    images = to_tensor(group_of(net.config.images, 32, 32)[None])
    with torch.no_grad():
        return images, (255 * net(images)).clamp(0, 255)


def rounded(runner: Runner, embedding: UnroundedEmbedding) -> Pixels:
    return round_embedding(embedding, runner.noise_shaping)


def restored_error(runner: Runner, embedding: UnroundedEmbedding, images: Pixels) -> float:
    """Mean squared error of what is restored after the embedding was rounded."""
    return mse(runner.restore(rounded(runner, embedding)), images)


# ----------------------------------------------------------------------------- targets and steps


@pytest.mark.parametrize(
    ("target", "shortfall"),
    [(Target(), 0.0), (Target(embed_psnr=40), 1.5), (Target(restored_psnr=40), -2.0)],
)
def test_the_shortfall_of_a_target(target: Target, shortfall: float) -> None:
    assert target.is_default == (shortfall == 0)
    assert target.shortfall(38.5, 42.0) == shortfall
    assert target.raised(shortfall).shortfall(38.5 + shortfall, 42.0 + shortfall) == shortfall


def test_each_effort_takes_more_steps_from_2_on() -> None:
    searches = [Search.of(EmbedOptions(effort=effort)) for effort in range(MAX_EFFORT + 1)]
    assert searches[:2] == [None, None]
    steps = [search.steps for search in searches if search is not None]
    assert steps == list(STEPS_OF_EFFORT[2:])
    assert all(a < b for a, b in pairwise(steps))


def test_the_options_give_the_target() -> None:
    search = Search.of(EmbedOptions(effort=3, target_restored_psnr=41))
    assert search is not None
    assert search.target == Target(restored_psnr=41)


# ------------------------------------------------------------------------------ one embedding


def test_without_steps_nothing_changes() -> None:
    net = small_network()
    images, start = start_of(net)
    assert refine_embedding(net, images, start, Search(0)).equal(start)


def test_only_free_samples_change() -> None:
    net = small_network()
    images, start = start_of(net)
    free = torch.zeros(1, 1, 32, 32, dtype=torch.bool)
    free[..., :16] = True
    found = refine_embedding(net, images, start, Search(20), optimise_mask=free)
    assert found[..., 16:].equal(start[..., 16:])
    assert not found[..., :16].equal(start[..., :16])


@pytest.mark.parametrize("half_size", [False, True])
def test_the_distance_from_the_reference_is_kept_and_the_error_reduced(half_size: bool) -> None:
    net = small_network(half_size=half_size)
    images, start = start_of(net)
    found = refine_embedding(net, images, start, Search(20))
    # At half size the reference is a mean of pixels, but what counts is what a PNG can show.
    reference = (255 * net.reference(images)).round()
    distances = [(each - reference).square().mean().item() for each in (start, found)]
    assert distances[1] < 1.001 * distances[0]
    with torch.no_grad():
        errors = [(net.inverse(each / 255) - images).square().mean() for each in (start, found)]
    assert errors[1] < errors[0]


def test_a_target_beyond_reach_brings_the_embedding_as_near_as_possible() -> None:
    net = small_network()
    images, start = start_of(net)
    found = refine_embedding(net, images, start, Search(20, Target(embed_psnr=60)))
    reference = 255 * images[:, 0]
    assert (found - reference).square().mean() < (start - reference).square().mean()


def test_a_restored_target_beyond_reach_costs_the_embedding_6_db_at_most() -> None:
    net = small_network()
    images, start = start_of(net)
    reference = (255 * images[:, 0]).round()
    found = refine_embedding(net, images, start, Search(60, Target(restored_psnr=90)))
    distances = [(each - reference).square().mean().item() for each in (start, found)]
    assert distances[1] <= 4.001 * distances[0]
    with torch.no_grad():
        errors = [(net.inverse(each / 255) - images).square().mean() for each in (start, found)]
    assert errors[1] < errors[0]


def test_a_search_leaves_the_network_as_it_was_and_can_be_repeated() -> None:
    shared = small_network()
    net = IICNet(shared.config).eval()
    net.load_state_dict(shared.state_dict())
    before = {name: value.clone() for name, value in net.state_dict().items()}
    images, start = start_of(net)
    found = refine_embedding(net, images, start, Search(3))
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert all(value.equal(before[name]) for name, value in net.state_dict().items())
    assert refine_embedding(net, images, start, Search(3)).equal(found)


def test_what_a_layer_corrects_is_left_to_it() -> None:
    net = small_network(3)
    images, start = start_of(net)

    def layer(pictures: Tensor) -> Tensor:
        """A layer that corrects all of the last picture and nothing else."""
        missing = images - pictures
        missing[:, :2] = 0
        return missing

    def errors(embedding: Tensor) -> tuple[float, float]:
        """Without and with the layer."""
        with torch.no_grad():
            pictures = net.inverse(embedding / 255)
        bare, layered = (pictures - images), (pictures + layer(pictures) - images)
        return bare.square().mean().item(), layered.square().mean().item()

    before = errors(start)
    plain = errors(refine_embedding(net, images, start, Search(20)))
    aware = errors(refine_embedding(net, images, start, Search(20), layer=layer))
    assert aware[1] < 0.97 * plain[1] < 0.97 * before[1]
    assert aware[0] > plain[0]


def test_a_layer_that_adds_nothing_changes_nothing() -> None:
    net = small_network()
    images, start = start_of(net)
    with_layer = refine_embedding(net, images, start, Search(5), layer=torch.zeros_like)
    assert with_layer.equal(refine_embedding(net, images, start, Search(5)))


# -------------------------------------------------------------------------------------- tiles


def test_a_search_is_for_what_the_layer_leaves() -> None:
    runner = small_runner()
    images = group_of(2, 64, 64)
    layer_bytes = 64 * 64 // 4
    start = runner.embed(images)
    errors = []
    for size in (0, layer_bytes):
        found = refine_tiles(runner, images, start, Search(24), layer_bytes=size)
        restored = runner.restore_fixed_point(found)
        plan = plan_layer(images, restored, layer_bytes)
        assert plan is not None
        restored += plan.correction(restored, layer_bytes)
        errors.append(float(np.square(restored / FRACTION - images).mean()))
    assert errors[1] < 0.95 * errors[0]


def test_tiles_are_refined_one_by_one() -> None:
    images = group_of(2, 32, 240)
    start = small_runner().embed(images)
    tiled = Runner(small_network(), memory=1)
    count = len(tiled.tiles(32, 240, searching=True))
    assert count > 1
    reports: list[tuple[float, float]] = []
    found = refine_tiles(
        tiled, images, start, Search(12), progress=lambda *each: reports.append(each)
    )
    shares = [share for share, _ in reports]
    assert len(shares) == 12 * count
    assert shares == sorted(shares) and shares[-1] == pytest.approx(1)
    assert reports[-1][1] > 0
    assert restored_error(tiled, found, images) < restored_error(tiled, start, images)


def test_the_static_region_is_neither_changed_nor_looked_at() -> None:
    runner = small_runner()
    images = group_of(2, 48, 64)
    start = runner.embed(images)
    static = np.zeros((48, 64), np.bool_)
    static[8:24, 16:40] = True
    found = refine_tiles(runner, images, start, Search(20), static=static)
    assert np.array_equal(start.pixels[static], found.pixels[static])
    assert np.array_equal(start.residual[static], found.residual[static])
    assert not np.array_equal(start.pixels[~static], found.pixels[~static])
    restored = [runner.restore(rounded(runner, each)) for each in (start, found)]
    before, after = (mse(r[:, ~static], images[:, ~static]) for r in restored)
    assert after < before

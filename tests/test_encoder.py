"""Encoding a group of pictures, with and without a search."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from iicnet_cli.engines.network.encoder import (
    EncoderSettings,
    MarkedEmbedding,
    encode_group,
    encode_group_with_search,
)
from iicnet_cli.engines.network.search import Search, Target
from iicnet_cli.engines.network.sliced_encoder import restored_pictures
from iicnet_cli.inference.runner import Runner
from iicnet_cli.payload.mark_pixels import read_mark
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.metrics import mse, mse_to_psnr, psnr
from iicnet_cli.reports import Stage
from iicnet_cli.zoo import find
from tests.engine_helpers import (
    group_of,
    layer_bits,
    mark_of,
    small_runner,
    static_region_of,
)

MEDIA = Path(__file__).parents[1] / "examples" / "media"
WITHOUT_LAYER = EncoderSettings(adds_layer=False)


class Encoded:
    """An encoded group, and what it is worth in dB."""

    def __init__(self, runner: Runner, images: Pixels, encoded: MarkedEmbedding) -> None:
        self.mark, self.pixels = encoded.mark, encoded.pixels
        self.gained_psnr = encoded.gained_psnr
        restored = restored_pictures(runner, encoded.mark, encoded.pixels, images)
        self.embed_psnr = psnr(encoded.pixels, runner.reference(images))
        self.restored_psnr = mse_to_psnr(mse(restored, images))

    @property
    def has_layer(self) -> bool:
        return self.mark.enhancement != b""


def encode(
    runner: Runner,
    images: Pixels,
    search: Search | None = None,
    settings: EncoderSettings = EncoderSettings(),
) -> Encoded:
    mark = mark_of(len(images))
    if search is None:
        return Encoded(runner, images, encode_group(runner, images, mark, settings))
    encoded = encode_group_with_search(runner, images, mark, search, settings)
    return Encoded(runner, images, encoded)


@cache
def sample(search: Search | None = None, *, adds_layer: bool = True) -> Encoded:
    """The same two pictures encoded by the same network."""
    settings = EncoderSettings(adds_layer=adds_layer)
    return encode(small_runner(), group_of(2, 64, 64), search, settings)


# --------------------------------------------------------------------------- without a search


def test_the_pixels_carry_the_mark_and_a_layer_that_gains() -> None:
    plain, layered = sample(adds_layer=False), sample()
    assert read_mark(layered.pixels) == layered.mark
    assert read_mark(plain.pixels) == plain.mark == mark_of(2)
    assert layered.has_layer
    assert layered.restored_psnr > plain.restored_psnr + 3
    assert plain.embed_psnr - layered.embed_psnr < 1
    assert plain.gained_psnr is None and layered.gained_psnr is None


def test_pictures_are_padded_as_the_mark_says() -> None:
    images = group_of(2, 33, 47)
    encoded = encode_group(small_runner(), images, mark_of(2, padding=(1, 1)), WITHOUT_LAYER)
    assert encoded.pixels.shape == (34, 48, 3)
    assert encoded.mark.padding == (1, 1)


def test_motion_is_carried() -> None:
    motion = bytes(range(100))
    encoded = encode_group(small_runner(), group_of(2, 48, 64), mark_of(2, motion=motion))
    mark = read_mark(encoded.pixels)
    assert mark == encoded.mark
    assert mark is not None and mark.motion == motion


def test_the_static_region_shows_the_pictures_unchanged() -> None:
    images = group_of(2, 64, 96)
    images[1, :, :64] = images[0, :, :64]
    encoded = encode(small_runner(), images)
    region = static_region_of(encoded.mark)
    assert region is not None
    assert np.array_equal(region.mask(64, 96), np.arange(96) < 64 + np.zeros((64, 1)))
    # Only the beginning of the mark is carried there, by the lowest bits.
    changes = np.abs(encoded.pixels.astype(int) - images[0])[:, :64]
    assert changes.max() <= 1
    assert np.count_nonzero(changes) < 8 * 80


def test_a_group_of_equal_pictures_is_shown_unchanged() -> None:
    images = group_of(1, 64, 96).repeat(2, axis=0)
    encoded = encode(small_runner(), images)
    changes = np.abs(encoded.pixels.astype(int) - images[0])
    assert changes.max() <= 1
    assert np.count_nonzero(changes) < 400


@pytest.mark.parametrize("search", [None, Search(3)])
def test_progress_tells_the_stages_in_order(search: Search | None) -> None:
    reports: list[tuple[Stage, float, float | None]] = []

    def progress(stage: Stage, share: float, gained_psnr: float | None = None) -> None:
        reports.append((stage, share, gained_psnr))

    runner, images, mark = small_runner(), group_of(2, 48, 48), mark_of(2)
    if search is None:
        encode_group(runner, images, mark, progress=progress)
    else:
        encode_group_with_search(runner, images, mark, search, progress=progress)
    stages = [stage for stage, _ in groupby(stage for stage, _, _ in reports)]
    assert stages[:2] == [Stage.EMBEDDING, Stage.ENHANCING]
    assert stages[2:] == ([] if search is None else [Stage.SEARCHING, Stage.ENHANCING])
    assert all(0 <= share <= 1 for _, share, _ in reports)
    assert reports[-1][1] == 1
    for stage, _, gained in reports:
        assert (gained is not None) == (stage is Stage.SEARCHING)


# ------------------------------------------------------------------------------ with a search


def test_a_search_restores_better_and_shows_no_worse() -> None:
    plain, better = sample(adds_layer=False), sample(Search(12), adds_layer=False)
    assert not better.has_layer
    assert better.gained_psnr is not None
    assert better.gained_psnr == pytest.approx(better.restored_psnr - plain.restored_psnr, abs=0.01)
    assert better.restored_psnr > plain.restored_psnr + 0.1
    assert better.embed_psnr > plain.embed_psnr - 0.1


def test_a_search_wins_back_what_more_bits_for_the_layer_cost() -> None:
    plain, better = sample(), sample(Search(12))
    assert better.has_layer
    assert read_mark(better.pixels) == better.mark
    assert layer_bits(better.mark) > layer_bits(plain.mark)
    assert better.restored_psnr > plain.restored_psnr + 0.5
    assert better.embed_psnr > plain.embed_psnr - 0.1


def test_a_search_gives_the_same_pixels_again() -> None:
    again = encode(small_runner(), group_of(2, 64, 64), Search(12), WITHOUT_LAYER)
    assert np.array_equal(again.pixels, sample(Search(12), adds_layer=False).pixels)


def test_a_lower_target_for_the_embedding_leaves_more_for_the_restored_pictures() -> None:
    better = sample(Search(12), adds_layer=False)
    lower = better.embed_psnr - 1.5
    free = sample(Search(12, Target(embed_psnr=lower)), adds_layer=False)
    assert lower - 0.1 < free.embed_psnr < better.embed_psnr - 0.5
    assert free.restored_psnr > better.restored_psnr + 0.1


def test_a_target_for_the_embedding_is_held_with_a_layer() -> None:
    images = group_of(2, 48, 48)
    target = encode(small_runner(), images).embed_psnr + 0.5
    found = encode(small_runner(), images, Search(8, Target(embed_psnr=target)))
    assert found.has_layer
    assert found.embed_psnr == pytest.approx(target, abs=0.15)


def test_a_target_for_the_restored_pictures_is_held_while_the_embedding_gains() -> None:
    plain = sample(adds_layer=False)
    target = plain.restored_psnr - 0.5
    found = sample(Search(48, Target(restored_psnr=target)), adds_layer=False)
    assert found.restored_psnr > target - 0.1
    assert found.embed_psnr > plain.embed_psnr + 0.3
    assert found.gained_psnr == pytest.approx(found.embed_psnr - plain.embed_psnr, abs=0.01)


@pytest.mark.parametrize("adds_layer", [False, True])
def test_a_target_where_nothing_has_to_be_hidden_costs_nothing(adds_layer: bool) -> None:
    images = group_of(1, 64, 64).repeat(2, axis=0)
    search = Search(4, Target(embed_psnr=40))
    found = encode(small_runner(), images, search, EncoderSettings(adds_layer=adds_layer))
    assert found.embed_psnr > 60 and found.restored_psnr > 60


# --------------------------------------------------------------------------- bundled weights


def bundled_runner(name: str) -> Runner:
    checkpoint = find(name)
    return Runner(checkpoint.load(), noise_shaping=checkpoint.noise_shaping)


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_bundled_weights_gain_by_a_layer_at_little_cost() -> None:
    runner, images = bundled_runner("stego-3"), group_of(3, 96, 128, seed=0)
    layered, plain = encode(runner, images), encode(runner, images, settings=WITHOUT_LAYER)
    cost = plain.embed_psnr - layered.embed_psnr
    assert layered.has_layer
    assert cost < 0.3
    assert layered.restored_psnr > plain.restored_psnr + max(0.5, 5 * cost)


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_bundled_weights_gain_by_a_search() -> None:
    runner, images = bundled_runner("stego-2"), group_of(2, 96, 128, seed=7)
    plain = encode(runner, images, settings=WITHOUT_LAYER)
    better = encode(runner, images, Search(20), WITHOUT_LAYER)
    assert better.gained_psnr is not None and better.gained_psnr > 0.2
    assert better.embed_psnr > plain.embed_psnr - 0.05


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_bundled_weights_pay_more_bits_by_a_search() -> None:
    runner, images = bundled_runner("stego-3"), group_of(3, 128, 128, seed=0)
    usual, richer = encode(runner, images), encode(runner, images, Search(12))
    assert layer_bits(richer.mark) > layer_bits(usual.mark)
    assert richer.restored_psnr > usual.restored_psnr + 0.5
    assert richer.embed_psnr > usual.embed_psnr - 0.05


@pytest.mark.slow
@pytest.mark.usefixtures("bundled_weights")
def test_with_bundled_weights_a_layer_may_pay_by_a_search_only() -> None:
    """The base layer of these two pictures is too good for a layer without a search."""
    pictures = []
    for name in ("cup.png", "chelsea.png"):
        with Image.open(MEDIA / name) as image:
            x, y = ((side - 80) // 2 for side in image.size)
            pictures.append(image.crop((x, y, x + 80, y + 80)).convert("RGBA"))
    front, back = pictures
    composed = Image.alpha_composite(back, front)
    white = Image.alpha_composite(Image.new("RGBA", (80, 80), "white"), front)
    images = np.stack([np.asarray(p.convert("RGB")) for p in (composed, back, white)])
    runner = bundled_runner("layers-3")
    usual, searched = encode(runner, images), encode(runner, images, Search(12))
    assert not usual.has_layer and searched.has_layer
    assert searched.restored_psnr > usual.restored_psnr + 0.5
    assert searched.embed_psnr > usual.embed_psnr - 0.05

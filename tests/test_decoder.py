"""Restoring the pictures of an embedding with all that it carries."""

from __future__ import annotations

import numpy as np
import pytest

from iicnet_cli.engines.base import SideInfo
from iicnet_cli.engines.network.decoder import (
    Carried,
    decode_group,
    restore_before_prediction,
    with_channels,
)
from iicnet_cli.engines.network.encoder import encode_group
from iicnet_cli.engines.network.enhancement_layer import add_layer
from iicnet_cli.errors import DamagedError
from iicnet_cli.inference.runner import Runner
from iicnet_cli.motion.estimation import estimate_motion
from iicnet_cli.motion.lifting import subtract_prediction
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import FRACTION, from_fixed_point
from iicnet_cli.pictures.metrics import mse, psnr
from tests.copying_network import copying_network
from tests.engine_helpers import (
    group_of,
    mark_of,
    mark_with_region,
    small_runner,
)
from tests.samples import pan

LEFT_HALF = StaticRegion(np.arange(8)[None] < 4 + np.zeros((6, 1)))
"""The left half of an embedding of 64x48."""
TOP_HALF = StaticRegion(np.arange(6)[:, None] < 3 + np.zeros((1, 8)))
SHAPE = 48, 64, 3


def equal_regions(a: StaticRegion | None, b: StaticRegion | None) -> bool:
    return a is not None and b is not None and np.array_equal(a.cells, b.cells)


# --------------------------------------------------------------------------- what is carried


def test_the_header_goes_before_the_mark() -> None:
    mark = mark_with_region(2, LEFT_HALF, motion=b"by the mark")
    header = SideInfo(motion=b"by the header", static_region=TOP_HALF.to_bytes())
    carried = Carried.from_mark_and_header(mark, header, SHAPE)
    assert carried.motion == b"by the header"
    assert equal_regions(carried.region, TOP_HALF)


def test_what_the_header_lacks_comes_from_the_mark() -> None:
    carried = Carried.from_mark_and_header(
        mark_with_region(2, LEFT_HALF, motion=b"moves"), SideInfo(), SHAPE
    )
    assert carried.motion == b"moves"
    assert equal_regions(carried.region, LEFT_HALF)


def test_without_mark_and_header_nothing_is_carried() -> None:
    assert Carried.from_mark_and_header(None, SideInfo(), SHAPE) == Carried()


def test_the_header_serves_where_the_mark_is_lost() -> None:
    header = SideInfo(motion=b"moves", static_region=TOP_HALF.to_bytes())
    carried = Carried.from_mark_and_header(None, header, SHAPE)
    assert (carried.layer, carried.motion) == (b"", b"moves")
    assert equal_regions(carried.region, TOP_HALF)


@pytest.mark.parametrize(
    ("region", "shape"),
    [
        pytest.param(TOP_HALF.to_bytes(), (56, 64, 3), id="another size"),
        pytest.param(TOP_HALF.to_bytes(), None, id="embedding of half size"),
        pytest.param(b"nonsense", SHAPE, id="no region"),
    ],
)
def test_a_region_that_does_not_fit_is_ignored(
    region: bytes, shape: tuple[int, ...] | None
) -> None:
    assert Carried.from_mark_and_header(None, SideInfo(static_region=region), shape).region is None


# ------------------------------------------------------------------------------------ restoring


def test_the_layer_is_added() -> None:
    runner, images = small_runner(), group_of(2, 64, 64)
    encoded = encode_group(runner, images, mark_of(2))
    layer = encoded.mark.enhancement
    bare = decode_group(runner, encoded.pixels, Carried(), (64, 64))
    better = decode_group(runner, encoded.pixels, Carried(layer), (64, 64))
    assert np.array_equal(bare, runner.restore(encoded.pixels))
    by_hand = runner.restore_fixed_point(encoded.pixels)
    add_layer(layer, by_hand)
    assert np.array_equal(better, from_fixed_point(by_hand, np.uint8))
    assert mse(better, images) < mse(bare, images)


def test_the_static_region_is_what_the_embedding_shows() -> None:
    runner = small_runner()
    embedding = group_of(1, 48, 64)[0]
    restored = decode_group(runner, embedding, Carried(region=LEFT_HALF), (64, 48))
    assert (restored[:, :, :32] == embedding[:, :32]).all()
    assert np.array_equal(restored[:, :, 32:], runner.restore(embedding)[:, :, 32:])


def test_motion_predicts_the_pictures() -> None:
    runner = Runner(copying_network(3))
    images = pan(3, 64, 96, 6)[[1, 0, 2]]
    motion = estimate_motion(images)
    assert motion is not None
    embedding = runner.embed(subtract_prediction(images, motion)).pixels
    still = decode_group(runner, embedding, Carried(), (96, 64))
    moved = decode_group(runner, embedding, Carried(motion=motion.to_bytes()), (96, 64))
    for k in (1, 2):
        inside = slice(8, -8), slice(16, -16)
        assert (
            psnr(moved[k][inside], images[k][inside])
            > psnr(still[k][inside], images[k][inside]) + 10
        )


def test_broken_motion_is_ignored() -> None:
    runner = small_runner()
    embedding = group_of(1, 48, 64)[0]
    restored = decode_group(runner, embedding, Carried(motion=b"nonsense"), (64, 48))
    assert restored.shape == (2, 48, 64, 3)
    difference = np.abs(restored.astype(int) - runner.restore(embedding))
    assert difference.max() <= 1


def test_padding_is_cut_off_and_odd_sizes_are_padded() -> None:
    runner = small_runner()
    embedding = group_of(1, 48, 64)[0]
    restored = decode_group(runner, embedding, Carried(), (63, 47))
    assert np.array_equal(restored, runner.restore(embedding)[:, :47, :63])
    # Of a cropped PNG.
    assert decode_group(runner, embedding[:33, :41], Carried(), (41, 33)).shape == (2, 33, 41, 3)


def test_ticks_tell_the_share_that_is_done() -> None:
    shares: list[float] = []
    tiled = Runner(small_runner().net, memory=1)
    decode_group(tiled, group_of(1, 48, 160)[0], Carried(), (160, 48), shares.append)
    assert len(shares) > 1
    assert shares == sorted(shares) and shares[-1] == 1


def test_a_grey_embedding_is_refused_where_colour_is_needed() -> None:
    with pytest.raises(DamagedError, match="grey"):
        decode_group(small_runner(), np.zeros((48, 64), np.uint8), Carried(), (64, 48))


def test_a_grey_network_restores_from_grey_and_from_colour() -> None:
    config = IICNetConfig.compact(2, blocks=1, width=8, embedding_channels=1)
    runner = Runner(IICNet(config).eval())
    grey = group_of(1, 48, 64)[0, ..., 1]
    colour = grey[..., None].repeat(3, axis=2)
    restored = decode_group(runner, grey, Carried(), (64, 48))
    assert restored.shape == (2, 48, 64, 3)
    assert np.array_equal(restored, decode_group(runner, colour, Carried(), (64, 48)))


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_of_an_embedding(channels: int) -> None:
    colour = group_of(1, 16, 24)[0]
    found = with_channels(colour, channels)
    assert np.array_equal(found, colour if channels == 3 else colour[..., 1:2])


def test_some_rows_are_restored_with_their_static_region() -> None:
    runner, images = small_runner(), group_of(2, 96, 64)
    region = StaticRegion(np.arange(12)[:, None] > 8 + np.zeros((1, 8)))
    embedding = runner.embed(images).pixels
    rows = slice(64, 90)
    some = restore_before_prediction(runner, embedding, images, region, rows)
    whole = restore_before_prediction(runner, embedding, images, region)
    assert some.shape == (2, 26, 64, 3)
    assert (some[:, 8:] == FRACTION * embedding[72:90].astype(np.int16)).all()
    assert np.abs(some[:, :8] - whole[:, 64:72]).max() <= FRACTION

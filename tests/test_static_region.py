"""The static region: where all pictures of a group are equal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli.engines.network.static_region import (
    MIN_STATIC_SHARE,
    copy_static_region,
    find_static_region,
)
from iicnet_cli.payload.mark import ClipPlace
from iicnet_cli.payload.mark_pixels import headers_fit, payload_capacity, read_mark, write_mark
from iicnet_cli.payload.static_map import StaticRegion
from iicnet_cli.pictures.arrays import PixelArray, Pixels
from iicnet_cli.quantize.lattice import UnroundedEmbedding
from iicnet_cli.training.loop import static_pixels
from tests.engine_helpers import mark_of
from tests.samples import natural

sides = st.integers(16, 90)


def equal_but_for_some_pixels(height: int, width: int, seed: int) -> Pixels:
    """Three pictures that differ in one to four pixels."""
    rng = np.random.default_rng(seed)
    pictures = natural(height, width, seed)[None].repeat(3, axis=0)
    for y, x in rng.integers(0, (height, width), (4, 2)):
        pictures[rng.integers(1, 3), y, x, rng.integers(3)] ^= 1
    return pictures


def equal_cells(pictures: Pixels) -> np.ndarray:
    """(rows, columns), by a simple loop over cells of 8x8 pixels."""
    height, width = pictures.shape[1:3]
    differs = (pictures != pictures[0]).any(axis=(0, 3))
    return np.array(
        [
            [not differs[y : y + 8, x : x + 8].any() for x in range(0, width, 8)]
            for y in range(0, height, 8)
        ]
    )


@settings(max_examples=30, deadline=None)
@given(height=sides, width=sides, seed=st.integers(0, 99))
def test_cells_without_any_difference_are_found(height: int, width: int, seed: int) -> None:
    pictures = equal_but_for_some_pixels(height, width, seed)
    cells = equal_cells(pictures)
    region = find_static_region(pictures, pictures.shape[1:])
    if np.mean(cells) < MIN_STATIC_SHARE:
        assert region is None
    else:
        assert region is not None and np.array_equal(region.cells, cells)


@settings(max_examples=15, deadline=None)
@given(height=sides, width=sides, seed=st.integers(0, 99))
def test_training_finds_the_same_pixels(height: int, width: int, seed: int) -> None:
    pictures = equal_but_for_some_pixels(height, width, seed)
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2)[None] / 255
    static = static_pixels(images, images[:, 0].shape)
    assert static is not None
    expected = StaticRegion(equal_cells(pictures)).mask(height, width)
    assert np.array_equal(static[0, 0].numpy(), expected)


def equal_pictures() -> Pixels:
    return natural(64, 80, 0)[None].repeat(2, axis=0)


@pytest.mark.parametrize(
    ("pictures", "shape"),
    [
        pytest.param(
            np.stack([natural(64, 80, 0), natural(64, 80, 1)]), (64, 80, 3), id="all differs"
        ),
        pytest.param(equal_pictures()[:1], (64, 80, 3), id="one picture"),
        pytest.param(equal_pictures(), (32, 40, 3), id="embedding of half size"),
        pytest.param(equal_pictures(), (64, 80, 1), id="grey embedding"),
        pytest.param(
            equal_pictures() + np.array([0, 256], np.int16)[:, None, None, None],
            (64, 80, 3),
            id="equal in the low byte only",
        ),
    ],
)
def test_there_is_no_region(pictures: PixelArray, shape: tuple[int, ...]) -> None:
    assert find_static_region(pictures, shape) is None


def test_the_embedding_becomes_the_reference_in_the_region() -> None:
    pictures = equal_pictures()
    pictures[1, :, 40:] ^= 1
    embedding = UnroundedEmbedding(natural(64, 80, 1), np.ones((64, 80, 3), np.int8))
    before = embedding.pixels.copy()
    region = copy_static_region(pictures, embedding)
    assert region is not None
    assert np.array_equal(region.mask(64, 80), np.arange(80) < 40 + np.zeros((64, 1)))
    assert np.array_equal(embedding.pixels[:, :40], pictures[0, :, :40])
    assert np.array_equal(embedding.pixels[:, 40:], before[:, 40:])
    assert not embedding.residual[:, :40].any() and embedding.residual[:, 40:].all()


def test_a_region_that_leaves_no_room_for_the_payload_is_not_used() -> None:
    pictures = equal_pictures()
    pictures[1, :, 40:] ^= 1
    region = find_static_region(pictures, (64, 80, 3))
    assert region is not None
    capacity = payload_capacity((64, 80, 3), region.to_bytes())
    embedding = UnroundedEmbedding(natural(64, 80, 1), np.ones((64, 80, 3), np.int8))
    before = embedding.copy()
    assert copy_static_region(pictures, embedding, payload=capacity + 1) is None
    assert np.array_equal(embedding.pixels, before.pixels) and embedding.residual.all()
    assert copy_static_region(pictures, embedding, payload=capacity) is not None


@pytest.mark.parametrize("place", [None, ClipPlace(3, is_last=False)])
@pytest.mark.parametrize("side", range(6, 20))
def test_the_mark_of_a_tiny_picture_can_be_written_and_read(
    side: int, place: ClipPlace | None
) -> None:
    """8x8 pixels hold the fixed header of a mark, but not its region."""
    pictures = natural(side, side, 0)[None].repeat(2, axis=0)
    embedding = UnroundedEmbedding(pictures[0].copy(), np.zeros(pictures.shape[1:], np.int8))
    if not headers_fit(pictures.shape[1:], place=place):
        place = None  # as the engine does
    region = copy_static_region(pictures, embedding, place=place)
    mark = replace(
        mark_of(2), static_region_bytes=region.to_bytes() if region else b"", place=place
    )
    found = read_mark(write_mark(embedding, mark))
    assert found == mark
    assert (region is None) == (side < 12)

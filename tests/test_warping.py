"""Sampling of pictures along vectors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from iicnet_cli.motion.field import VECTOR_UNITS_PER_PIXEL
from iicnet_cli.motion.warping import displace, interpolate_cells, row_strips, warp
from tests.conftest import natural


@pytest.mark.parametrize(("y", "x"), [(3, -5), (-40, 700), (0, 1), (300, 0)])
def test_whole_pixels_are_taken_from_where_the_vector_points(y: int, x: int) -> None:
    picture = natural(330, 150, 3)
    vectors = np.full((4, 2, 2), (VECTOR_UNITS_PER_PIXEL * y, VECTOR_UNITS_PER_PIXEL * x), np.int16)
    rows = (np.arange(330) + y).clip(0, 329)
    columns = (np.arange(150) + x).clip(0, 149)
    assert np.array_equal(warp(picture, vectors), picture[np.ix_(rows, columns)])


def test_vectors_are_interpolated_between_the_centres_of_their_cells() -> None:
    ramp = np.broadcast_to(np.arange(200, dtype=np.uint8)[:, None, None], (200, 40, 3)).copy()
    vectors = np.zeros((2, 1, 2), np.int16)
    vectors[1, 0, 0] = 10 * VECTOR_UNITS_PER_PIXEL
    moved = warp(ramp, vectors)[:, 0, 0].astype(float) - np.arange(200)
    expected = (10 * (np.arange(200) + 0.5 - 50) / 100).clip(0, 10)
    assert np.abs(moved - expected)[:185].max() <= 0.51


def test_zero_vectors_give_the_picture_itself() -> None:
    picture = natural(20, 30, 0)
    assert warp(picture, np.zeros((2, 3, 2), np.int16)) is picture


@pytest.mark.parametrize("height", [1, 255, 256, 257, 700])
def test_strips_cover_each_row_once(height: int) -> None:
    rows = [row for strip in row_strips(height) for row in range(strip.start, strip.stop)]
    assert rows == list(range(height))


def test_cells_are_interpolated_alike_in_strips_and_at_once() -> None:
    cells = torch.rand(1, 2, 3, 4)
    whole = interpolate_cells(cells, slice(0, 50), 50, 60)
    assert whole.shape == (1, 2, 50, 60)
    for rows in (slice(0, 7), slice(20, 50)):
        torch.testing.assert_close(interpolate_cells(cells, rows, 50, 60), whole[:, :, rows])


def test_displace_takes_one_picture_for_many_flows() -> None:
    planes = torch.arange(30.0).reshape(1, 1, 5, 6)
    flow = torch.zeros(2, 2, 5, 6)
    flow[1, 1] = 1
    left, right = displace(planes, flow)
    torch.testing.assert_close(left, planes[0])
    torch.testing.assert_close(right[..., :-1], planes[0, ..., 1:])
    torch.testing.assert_close(right[..., -1], planes[0, ..., -1])

"""Tiles: their grid, halo and memory."""

from __future__ import annotations

import math
import os

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from iicnet_cli.inference.tiling import bytes_per_pixel, default_memory, plan_tiles
from iicnet_cli.network import IICNetConfig
from tests.runners import random_net

SMALL = IICNetConfig.compact(2, blocks=2, width=8)


@given(height=st.integers(1, 300), width=st.integers(1, 300), memory=st.integers(1, 1 << 26))
def test_tiles_cover_every_pixel_once_and_carry_their_halo(
    height: int, width: int, memory: int
) -> None:
    height, width = 2 * height, 2 * width
    seen = np.zeros((height, width), int)
    tiles = plan_tiles(height, width, SMALL, memory)
    shapes = {tuple(side.stop - side.start for side in tile.compute) for tile in tiles}
    ((tall, wide),) = shapes
    # An odd halo is rounded up to whole cells.
    assert tall * wide <= max(memory // bytes_per_pixel(SMALL), (4 * (SMALL.halo + 1)) ** 2)
    for tile in tiles:
        seen[tile.keep] += 1
        for keep, compute, size in zip(tile.keep, tile.compute, (height, width), strict=True):
            assert compute.start == 0 or keep.start - compute.start >= SMALL.halo
            assert compute.stop == size or compute.stop - keep.stop >= SMALL.halo
            assert keep.start % 2 == compute.start % 2 == keep.stop % 2 == compute.stop % 2 == 0
    assert (seen == 1).all()


@given(
    height=st.integers(40, 600),
    width=st.integers(40, 600),
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
)
def test_no_other_grid_that_fits_computes_less(
    height: int, width: int, rows: int, columns: int
) -> None:
    height, width, halo = 2 * height, 2 * width, SMALL.halo + 1
    memory = 200 * 200 * bytes_per_pixel(SMALL)
    tall, wide = (
        2 * math.ceil((length + 2 * halo * (count - 1)) / count / 2)
        for length, count in ((height, rows), (width, columns))
    )
    assume(tall * wide <= 200 * 200 and rows <= height // halo)
    tiles = plan_tiles(height, width, SMALL, memory)
    computed = sum(math.prod(side.stop - side.start for side in tile.compute) for tile in tiles)
    assert computed <= rows * columns * tall * wide


@settings(max_examples=8, deadline=None)
@given(
    height=st.integers(60, 130),
    width=st.integers(60, 130),
    half_size=st.booleans(),
    seed=st.integers(0, 99),
)
def test_tiled_equals_whole_in_float64(height: int, width: int, half_size: bool, seed: int) -> None:
    config = SMALL.model_copy(update={"half_size": half_size, "downscaling_conv": half_size})
    net = random_net(config, seed).double()
    images = torch.rand(1, 2, 3, 2 * height, 2 * width, dtype=torch.float64)
    scale = 2 if half_size else 1
    with torch.inference_mode():
        whole = net(images)
        back = net.inverse(whole)
        tiles = plan_tiles(2 * height, 2 * width, config, 1)
        assert len(tiles) > 1
        for tile in tiles:
            cy, cx = ([s.start // scale, s.stop // scale] for s in tile.compute)
            ky, kx = ([s.start // scale, s.stop // scale] for s in tile.keep)
            inner = [(s.start // scale, s.stop // scale) for s in tile.inner]
            part = net(images[..., tile.compute[0], tile.compute[1]])
            part = part[..., slice(*inner[0]), slice(*inner[1])]
            assert (part - whole[..., slice(*ky), slice(*kx)]).abs().max() < 1e-9
            restored = net.inverse(whole[..., slice(*cy), slice(*cx)])
            restored = restored[..., tile.inner[0], tile.inner[1]]
            assert (restored - back[..., tile.keep[0], tile.keep[1]]).abs().max() < 1e-9


def test_tiles_get_half_of_the_free_memory_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 << 30, 90 << 30))
    assert default_memory(torch.device("cpu")) == 500 * 4096
    assert default_memory(torch.device("cuda", 0)) == 40 << 30


def test_bytes_per_pixel_grows_with_the_network() -> None:
    assert bytes_per_pixel(IICNetConfig.compact(9)) > bytes_per_pixel(IICNetConfig.compact(2))
    assert bytes_per_pixel(IICNetConfig.paper(5)) > bytes_per_pixel(IICNetConfig.compact(5))

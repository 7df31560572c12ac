"""Tiles, devices and memory."""

from __future__ import annotations

import math
import os
import platform
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from iicnet_cli.errors import UsageError
from iicnet_cli.inference.device import choose_device
from iicnet_cli.inference.runner import Runner, bytes_per_pixel, default_memory, plan_tiles
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.zoo import find
from tests.conftest import natural

SMALL = IICNetConfig.compact(2, blocks=2, width=8)


def random_net(config: IICNetConfig, seed: int = 0) -> IICNet:
    torch.manual_seed(seed)
    net = IICNet(config).eval()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p) * 0.02)
    return net


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


def test_tiled_equals_whole_after_rounding_on_a_bundled_model() -> None:
    net = find("rescale").load()
    images = natural(768, 832, 1)[None]
    shares: list[float] = []
    tiled = Runner(net, memory=1)
    whole = Runner(net, memory=1 << 40)
    assert len(plan_tiles(768, 832, net.config, 1)) == 4
    for a, b in (
        (tiled.embed_unrounded(images, shares.append).pixels, embedding := whole.embed(images)),
        (tiled.restore(embedding, tick=shares.append), whole.restore(embedding)),
    ):
        difference = np.abs(a.astype(int) - b.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 1e-5
    assert shares == sorted(shares[: len(shares) // 2]) * 2
    assert shares[-1] == 1


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_is_bounded_by_the_budget() -> None:
    """The peak above the loaded network stays near the budget, and far below the whole's."""
    program = """
import re, sys, numpy as np
from pathlib import Path
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
runner = Runner(IICNet(IICNetConfig(images=2, blocks=8)), memory=int(sys.argv[1]))
images = np.zeros((2, 1024, 1024, 3), np.uint8)
def peak():  # of this process alone: ru_maxrss would start with that of the process above
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
runner.embed(images[:, :64, :64])
before = peak()
runner.restore(runner.embed(images))
print(peak() - before)
"""

    def peak(memory: int) -> int:
        result = subprocess.run(
            [sys.executable, "-c", program, str(memory)],
            capture_output=True,
            text=True,
            check=True,
        )
        return int(result.stdout)

    budget = 64 << 20
    pictures = 1024 * 1024 * 3 * 5
    assert peak(budget) < 1.3 * budget + pictures
    assert peak(1 << 40) > 2.5 * budget


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_later_passes_take_the_memory_of_the_first() -> None:
    program = """
import resource, numpy as np
from iicnet_cli.inference.runner import Runner
from iicnet_cli.zoo import find
runner = Runner(find("stego-2").load(), memory=1 << 40)
images = np.zeros((2, 1024, 1024, 3), np.uint8)
for _ in range(8):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    runner.embed(images)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    inside = 512 * 512 * 4 * 32  # one of the larger tensors, of which there are dozens
    # The heap still grows a little in some passes, in which ones depends on the threads.
    new = [int(line) for line in result.stdout.split()]
    assert np.median(new[3:]) < inside


def test_tiles_get_half_of_the_free_memory_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_AVPHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (80 << 30, 90 << 30))
    assert default_memory(torch.device("cpu")) == 500 * 4096
    assert default_memory(torch.device("cuda", 0)) == 40 << 30


def test_bf16_takes_less_memory_so_tiles_are_larger() -> None:
    memory = 1 << 30
    paper = IICNetConfig.paper(5)
    exact, short = (plan_tiles(480, 856, paper, memory, each) for each in ("fp32", "bf16"))
    assert len(exact) > 1
    assert len(short) == 1
    net = IICNet(SMALL).eval()
    runners = [Runner(net, memory=1 << 24, precision=each) for each in ("fp32", "bf16")]
    counts = [len(runner.tiles(512, 512)) for runner in runners]
    assert counts[1] < counts[0]
    assert len(runners[0].tiles(512, 512, searching=True)) > counts[0]


def test_bytes_per_pixel_grows_with_the_network() -> None:
    assert bytes_per_pixel(IICNetConfig.compact(9)) > bytes_per_pixel(IICNetConfig.compact(2))
    assert bytes_per_pixel(IICNetConfig.paper(5)) > bytes_per_pixel(IICNetConfig.compact(5))


def test_device_choice() -> None:
    assert choose_device("cpu").device.type == "cpu"
    assert choose_device("auto").reason
    for wrong in ("gpu", "meta", "cuda:99"):
        with pytest.raises(UsageError):
            choose_device(wrong)

"""Networks on pictures of any size, in bounded memory."""

from __future__ import annotations

import platform
import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch

from iicnet_cli.engines.parallel import share_cores
from iicnet_cli.inference.runner import MAX_GROUPS_AT_ONCE, Runner
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.pictures.arrays import FRACTION, from_fixed_point
from tests.engine_helpers import group_of, small_network, small_runner


@pytest.mark.parametrize("half_size", [False, True])
def test_tiles_together_equal_the_whole_after_rounding(half_size: bool) -> None:
    net = small_network(half_size=half_size)
    images = group_of(2, 128, 144)
    shares: list[float] = []
    tiled, whole = Runner(net, memory=1), Runner(net, memory=1 << 40)
    count = len(tiled.tiles(128, 144))
    assert count > 3 and len(whole.tiles(128, 144)) == 1
    embedding = whole.embed(images).pixels
    for a, b in (
        (tiled.embed(images, shares.append).pixels, embedding),
        (tiled.restore(embedding, tick=shares.append), whole.restore(embedding)),
    ):
        difference = np.abs(a.astype(int) - b.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 1e-4
    assert shares == [(i + 1) / count for i in range(count)] * 2


def test_embedding_keeps_what_rounding_took() -> None:
    runner, images = small_runner(), group_of(2, 48, 64)
    embedding = runner.embed(images)
    assert embedding.pixels.shape == embedding.residual.shape == (48, 64, 3)
    assert embedding.residual.any()
    restored = runner.restore_fixed_point(embedding)
    rounded = runner.restore_fixed_point(embedding.pixels)
    errors = [
        np.square(each / FRACTION - images, dtype=np.float64).mean() for each in (restored, rounded)
    ]
    assert errors[0] < errors[1]


def test_pictures_are_restored_in_fixed_point_or_rounded() -> None:
    runner = small_runner()
    embedding = group_of(1, 48, 64)[0]
    for dtype in (np.uint8, np.int16):
        pictures = runner.restore(embedding, dtype)
        assert pictures.dtype == dtype
        fixed = runner.restore_fixed_point(embedding, dtype)
        assert np.array_equal(from_fixed_point(fixed, dtype), pictures)


@pytest.mark.parametrize("half_size", [False, True])
def test_some_rows_are_nearly_those_of_the_whole(half_size: bool) -> None:
    runner, images = small_runner(half_size=half_size), group_of(2, 160, 64)
    embedding = runner.embed(images)
    whole = runner.restore_fixed_point(embedding)
    for rows in (slice(0, 30), slice(64, 96), slice(120, 160)):
        some = runner.restore_fixed_point(embedding, rows=rows)
        # The margin is wider than the receptive field of this small network.
        assert np.abs(some - whole[:, rows]).max() <= 1


@pytest.mark.parametrize("memory", [None, 1 << 20])
@pytest.mark.parametrize("half_size", [False, True])
def test_areas_are_restored_as_each_by_itself(half_size: bool, memory: int | None) -> None:
    runner, images = small_runner(half_size=half_size), group_of(2, 160, 64)
    if memory is not None:
        runner.memory = memory  # a batch does not fit
    embedding = runner.embed(images)
    for areas in ([slice(48, 64), slice(80, 96)], [slice(0, 16), slice(80, 96), slice(150, 160)]):
        restored = runner.restore_areas(embedding, np.uint8, areas)
        for rows, some in zip(areas, restored, strict=True):
            alone = runner.restore_fixed_point(embedding, rows=rows)
            assert some.shape == alone.shape
            assert np.abs(some - alone).max() <= 1


def test_the_reference_is_the_first_picture_or_its_half() -> None:
    images = group_of(2, 48, 64)
    assert np.array_equal(small_runner().reference(images), images[0])
    half = small_runner(half_size=True).reference(images)
    means = images[0].reshape(24, 2, 32, 2, 3).mean(axis=(1, 3))
    assert half.shape == (24, 32, 3)
    assert np.abs(half - means).max() <= 0.51


def test_sizes_that_are_no_multiple_are_refused() -> None:
    with pytest.raises(ValueError):
        small_runner().embed(group_of(2, 33, 48))


def test_searching_takes_smaller_tiles() -> None:
    runner = Runner(small_network(), memory=1 << 22)
    assert len(runner.tiles(512, 512, searching=True)) > len(runner.tiles(512, 512))


def test_bf16_takes_fewer_tiles() -> None:
    net = IICNet(IICNetConfig.compact(2, blocks=2, width=8)).eval()
    exact, short = (
        len(Runner(net, memory=1 << 24, precision=each).tiles(512, 512))
        for each in ("fp32", "bf16")
    )
    assert short < exact


def test_as_many_groups_at_once_as_cores_and_memory_allow() -> None:
    net = IICNet(IICNetConfig.compact(5)).eval()
    with share_cores(1):
        torch.set_num_threads(8)
        ample = Runner(net, memory=1 << 36)
        assert ample.groups_at_once(480, 848) == MAX_GROUPS_AT_ONCE
        assert ample.groups_at_once(20_000, 20_000) < MAX_GROUPS_AT_ONCE
        assert Runner(net, memory=1 << 20).groups_at_once(480, 848) == 1
        usual = Runner(net)
        assert usual.groups_at_once(2160, 3840) == 1
        counts = [usual.groups_at_once(height, 2 * height) for height in range(64, 1500, 100)]
        assert all(a >= b for a, b in pairwise(counts))
        assert Runner(net, memory=1 << 36, compiled=True).groups_at_once(480, 848) == 1
        torch.set_num_threads(2)
        assert ample.groups_at_once(480, 848) == 2


def run_python(program: str, *arguments: object) -> str:
    """What a program prints in a process of its own."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak from /proc")
def test_memory_is_bounded_by_the_budget() -> None:
    """The peak above the loaded network stays near the budget, and far below that of the whole."""
    program = """
import re, sys, numpy as np
from pathlib import Path
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
runner = Runner(IICNet(IICNetConfig(images=2, blocks=1)), memory=int(sys.argv[1]))
images = np.zeros((2, 768, 768, 3), np.uint8)
def peak():  # of this process alone: ru_maxrss would start with that of the process above
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])
runner.embed(images[:, :256, :256])  # large enough that its compiled loops are loaded
before = peak()
runner.restore(runner.embed(images).pixels)
print(peak() - before)
"""
    budget = 32 << 20
    pictures = 768 * 768 * 3 * 5
    assert int(run_python(program, budget)) < 1.3 * budget + pictures
    assert int(run_python(program, 1 << 40)) > 2.5 * budget


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_later_passes_use_the_memory_of_the_first() -> None:
    program = """
import resource, numpy as np
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
runner = Runner(IICNet(IICNetConfig(images=2, blocks=1)), memory=1 << 40)
images = np.zeros((2, 1024, 1024, 3), np.uint8)
for _ in range(6):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    runner.embed(images)
    print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) * resource.getpagesize())
"""
    larger_tensor = 512 * 512 * 4 * 32  # bytes; every block has several of these
    # The heap still grows a little in some passes, in which ones depends on the threads.
    new = [int(line) for line in run_python(program).split()]
    assert np.median(new[2:]) < larger_tensor

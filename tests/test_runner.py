"""Networks on pictures of any size, in bounded memory."""

from __future__ import annotations

import platform
import subprocess
import sys

import numpy as np
import pytest

from iicnet_cli.inference.runner import Runner
from iicnet_cli.inference.tiling import plan_tiles
from iicnet_cli.network import IICNet, IICNetConfig
from tests.runners import runner_of
from tests.samples import natural

SMALL = IICNetConfig.compact(2, blocks=2, width=8)


def test_tiled_equals_whole_after_rounding() -> None:
    net = runner_of("rescale").net
    images = natural(192, 224, 1)[None]
    shares: list[float] = []
    tiled = Runner(net, memory=1)
    whole = Runner(net, memory=1 << 40)
    assert len(plan_tiles(192, 224, net.config, 1)) > 4
    embedding = whole.embed(images).pixels
    for a, b in (
        (tiled.embed(images, shares.append).pixels, embedding),
        (tiled.restore(embedding, tick=shares.append), whole.restore(embedding)),
    ):
        difference = np.abs(a.astype(int) - b.astype(int))
        assert difference.max() <= 1
        assert (difference > 0).mean() <= 1e-4
    assert shares == sorted(shares[: len(shares) // 2]) * 2
    assert shares[-1] == 1


@pytest.mark.slow
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
runner.restore(runner.embed(images).pixels)
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


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the setting")
def test_later_passes_take_the_memory_of_the_first() -> None:
    program = """
import resource, numpy as np
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
runner = Runner(IICNet(IICNetConfig(images=2, blocks=2)), memory=1 << 40)
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

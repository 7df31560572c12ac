"""Compiled networks: the same pictures, and a clear error where there is no compiler."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from iicnet_cli.errors import ExitCode
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network.compiling import compile_blocks
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.pictures.arrays import PixelArray
from tests.conftest import Run, natural

pytestmark = pytest.mark.slow

HAS_COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++"))


def small_net(blocks: int) -> IICNet:
    """Build a network whose subnets do something, unlike those of a new network."""
    torch.manual_seed(0)
    net = IICNet(IICNetConfig.compact(2, blocks=blocks, width=8))
    for parameter in net.parameters():
        if parameter.dim() == 4:
            torch.nn.init.normal_(parameter.data, std=0.02)
    return net


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_compiled_passes_give_the_same_pictures() -> None:
    net = small_net(blocks=1)
    images = np.stack([natural(32, 48, 1), natural(32, 48, 2)])
    plain, compiled = Runner(net), Runner(net, compiled=True)
    embedding = plain.embed(images).pixels

    def largest_difference(a: PixelArray, b: PixelArray) -> int:
        return int(np.abs(a.astype(int) - b).max())

    assert largest_difference(embedding, images[0]) > 1  # the subnets do something
    assert largest_difference(compiled.embed(images).pixels, embedding) <= 1
    assert largest_difference(compiled.restore(embedding), plain.restore(embedding)) <= 1


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_compiled_blocks_have_the_same_gradients() -> None:
    net = small_net(blocks=2)
    x = torch.rand(1, 2, 3, 16, 24)
    found = []
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    for compiled in (False, True):
        if compiled:
            compile_blocks(net)
        net.zero_grad()
        embedding = net(x)
        restored = net.inverse(embedding + 0.01)
        (embedding.square().mean() + restored.square().mean()).backward()
        found.append([embedding, restored, *(p.grad for p in net.parameters())])
    # One graph for each direction serves all blocks.
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 2
    for plain, fast in zip(*found, strict=True):
        torch.testing.assert_close(fast, plain, rtol=1e-3, atol=1e-5)


def test_without_a_compiler_the_error_says_what_to_do(
    run: Run,
    photos: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    torch._dynamo.reset()
    done = run("embed", *photos[:2], "-o", tmp_path / "x.png", "--compile")
    assert done.exit_code == ExitCode.FAILURE
    assert "install a C++ compiler" in done.output
    assert done.output.count("\n") <= 3
    assert not (tmp_path / "x.png").exists()

"""``--compile``: the same pictures, and a clear error where there is no compiler."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from iicnet_cli.errors import ExitCode
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig
from tests.conftest import Run, natural

HAS_COMPILER = any(shutil.which(name) for name in ("c++", "g++", "clang++"))


@pytest.mark.skipif(not HAS_COMPILER, reason="no C++ compiler")
def test_compiled_is_as_not_compiled() -> None:
    torch.manual_seed(0)
    net = IICNet(IICNetConfig.compact(2, blocks=1, width=8))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter.data, std=0.02) if parameter.dim() == 4 else None
    images = np.stack([natural(32, 48, 1), natural(32, 48, 2)])
    plain, compiled = Runner(net), Runner(net, compiled=True)
    embedding = plain.embed(images)

    def largest_difference(a: np.ndarray, b: np.ndarray) -> int:  # type: ignore[type-arg]
        return int(np.abs(a.astype(int) - b).max())

    assert largest_difference(embedding, images[0]) > 1  # it does something
    assert largest_difference(compiled.embed(images), embedding) <= 1
    assert largest_difference(compiled.restore(embedding), plain.restore(embedding)) <= 1


def test_without_a_compiler(
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

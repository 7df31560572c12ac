"""When networks compute with the fast couplings."""

from __future__ import annotations

import pytest
import torch

from iicnet_cli.inference import acceleration
from iicnet_cli.inference.acceleration import accelerate
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network import IICNet, IICNetConfig


class Recorder:
    """Stands in for the fast couplings."""

    def __init__(self, layers: object) -> None:
        self.calls = calls

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls.append("forward")
        return x

    def inverse(self, y: torch.Tensor) -> torch.Tensor:
        self.calls.append("inverse")
        return y


calls: list[str] = []


def test_large_tensors_are_accelerated_in_inference_mode_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("iicnet_cli.inference.fast_coupling.FastCoupling", Recorder)
    monkeypatch.setattr(acceleration, "MIN_PIXELS", 64)
    net = IICNet(IICNetConfig.compact(2, blocks=1))
    accelerate(net)
    calls.clear()
    net(torch.rand(1, 2, 3, 16, 16))
    with torch.inference_mode():
        net(torch.rand(1, 2, 3, 14, 14))
        assert calls == []
        net(torch.rand(1, 2, 3, 16, 16))
        net.inverse(torch.rand(1, 3, 16, 16))
    assert calls == ["forward", "inverse"]


def test_other_networks_stay_as_they_are() -> None:
    paper = IICNet(IICNetConfig.paper(2, blocks=1, relation=False))
    accelerate(paper)
    assert paper.coupling.accelerator is None


def test_each_runner_decides_for_itself() -> None:
    net = IICNet(IICNetConfig.compact(2, blocks=1))
    Runner(net)
    assert net.coupling.accelerator is not None
    Runner(net, precision="bf16")
    assert net.coupling.accelerator is None

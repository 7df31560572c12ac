"""Lower precision: nearly the same pictures, and couplings that still invert."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from iicnet_cli.container.embedding_file import read_header
from iicnet_cli.errors import UsageError
from iicnet_cli.inference.runner import Runner
from iicnet_cli.network.config import IICNetConfig
from iicnet_cli.network.coupling import CouplingBlock
from iicnet_cli.network.iicnet import IICNet
from iicnet_cli.network.pixels import to_tensor
from iicnet_cli.training.data import TrainingData
from iicnet_cli.training.loop import train
from iicnet_cli.training.plan import Budget, Compute, Hooks, TrainingPlan
from iicnet_cli.training.recipe import Recipe, Stage
from iicnet_cli.training.samplers import StegoSampler
from iicnet_cli.zoo import find
from tests.conftest import Run, natural
from tests.copying_network import copying_network


def psnr_of(a: Tensor, b: Tensor) -> float:
    """Peak signal-to-noise ratio of tensors, dB."""
    return float(-10 * (a - b).square().mean().log10())


@pytest.fixture
def net() -> IICNet:
    """A tiny network that embeds and restores much as a trained one does."""
    torch.manual_seed(0)
    net = copying_network(2)
    with torch.no_grad():
        for block in net.coupling.layers:
            if isinstance(block, CouplingBlock):
                for subnet in (block.h2, *block.affine.children()):
                    torch.nn.init.normal_(subnet.last.weight, std=0.03)
    return net.requires_grad_(False)


@pytest.fixture
def images() -> Tensor:
    """Two pictures, (1, 2, 3, 24, 24)."""
    return to_tensor(np.stack([natural(24, 24, seed) for seed in range(2)])[None])


@torch.inference_mode()
def test_bf16_subnets_give_nearly_the_same(net: IICNet, images: Tensor) -> None:
    embedding, keys = net(images), list(net.state_dict())
    restored = net.inverse(embedding)
    coarse = net.set_subnet_dtype(torch.bfloat16)(images)
    assert coarse.dtype == torch.float32
    assert 40 < psnr_of(coarse, embedding) < 100
    assert 30 < psnr_of(net.inverse(embedding), restored) < 100
    assert list(net.state_dict()) == keys
    net.set_subnet_dtype(None)
    assert torch.equal(net(images), embedding)


@torch.inference_mode()
def test_couplings_with_bf16_subnets_still_invert(net: IICNet, images: Tensor) -> None:
    block = next(m for m in net.modules() if isinstance(m, CouplingBlock))
    assert net.downscaling is not None
    x = net.downscaling(torch.cat(images.unbind(1), dim=1))
    net.set_subnet_dtype(torch.bfloat16)
    back = block.inverse(block(x))
    # h1 and g see exactly the same values in both passes. h2 sees the restored bottom part, whose
    # last bits may change a rounding to bf16.
    top, bottom = back.split(block.parts, dim=1)
    torch.testing.assert_close(bottom, x[:, block.parts[0] :])
    assert (top - x[:, : block.parts[0]]).abs().median() < 1e-6
    assert psnr_of(net.coupling.inverse(net.coupling(x)), x) > 70


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_training_in_this_precision(precision: str, tmp_path: Path) -> None:
    recipe = Recipe(
        name="tiny",
        task="stego",
        network=IICNetConfig.compact(2, blocks=1, width=4),
        stages=(Stage(until=1, crop=16, batch=2),),
    )
    sampler = StegoSampler([natural(20, 20, i) for i in range(3)], 2)
    losses: list[float] = []
    outcome = train(
        TrainingPlan(recipe),
        TrainingData(sampler, []),
        tmp_path,
        Budget(steps=3),
        Compute(torch.device("cpu"), precision),  # type: ignore[arg-type]
        Hooks(report=lambda report: losses.append(report.loss)),
    )
    assert all(p.dtype == torch.float32 for p in outcome.net.parameters())
    assert len(losses) == 3 and np.isfinite(losses).all()


def test_tf32_is_refused_on_the_cpu(tmp_path: Path) -> None:
    recipe = Recipe(name="tiny", task="stego", network=IICNetConfig.compact(2, blocks=1))
    sampler = StegoSampler([natural(20, 20, i) for i in range(3)], 2)
    with pytest.raises(UsageError, match="CUDA only"):
        train(
            TrainingPlan(recipe),
            TrainingData(sampler, []),
            tmp_path,
            Budget(steps=1),
            Compute(torch.device("cpu"), "tf32"),
        )


def test_embedding_in_bf16_is_recorded_and_restores_nearly_as_well(
    run: Run, photos: list[Path], tmp_path: Path
) -> None:
    reports = {}
    for precision in ("fp32", "bf16"):
        out = tmp_path / f"{precision}.png"
        done = run("embed", *photos[:2], "-o", out, "--precision", precision, "--json")
        assert done.exit_code == 0, done.output
        reports[precision] = json.loads(done.stdout)
        header = read_header(out)
        assert header is not None and header.precision == precision
    assert reports["bf16"]["restored_psnr"] == pytest.approx(
        reports["fp32"]["restored_psnr"], abs=0.5
    )
    assert (tmp_path / "bf16.png").read_bytes() != (tmp_path / "fp32.png").read_bytes()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_tf32_needs_cuda(run: Run, photos: list[Path], tmp_path: Path) -> None:
    done = run("embed", *photos[:2], "-o", tmp_path / "x.png", "--precision", "tf32")
    assert done.exit_code == UsageError.exit_code
    assert "CUDA" in done.output


@torch.inference_mode()
def test_bf16_covers_the_relation_module() -> None:
    torch.manual_seed(0)
    net = IICNet(IICNetConfig.paper(2, blocks=1)).eval()
    assert net.relation is not None
    for p in net.relation.parameters():
        torch.nn.init.normal_(p, std=0.1)  # the last layers start at zero
    x = torch.rand(1, 6, 12, 12)
    full = net.relation(x)
    net.set_subnet_dtype(torch.bfloat16)
    coarse = net.relation(x)
    assert coarse.dtype == torch.float32
    assert 0 < (coarse - full).abs().max() < 0.1 * (full - x).abs().max()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
@pytest.mark.usefixtures("bundled_weights")
@pytest.mark.parametrize("model", ["stego-3", "video-5", "layers-2"])
def test_cuda_computes_what_a_cpu_does(model: str) -> None:
    checkpoint = find(model)
    images = np.stack([natural(256, 320, i) for i in range(checkpoint.config.network.images)])
    cpu, cuda = (Runner(checkpoint.load(), torch.device(kind)) for kind in ("cpu", "cuda"))
    embedding = cpu.embed(images).pixels
    for found, expected in (
        (cuda.embed(images).pixels, embedding),
        (cuda.restore(embedding), cpu.restore(embedding)),
    ):
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 1e-3

"""Several processes take the same steps as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from itertools import count
from pathlib import Path
from weakref import ref

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import nn

from iicnet_cli.cli import app
from iicnet_cli.errors import UsageError
from iicnet_cli.network import Quantization
from iicnet_cli.training import distributed
from iicnet_cli.training.distributed import Team, join_team
from iicnet_cli.training.plan import Budget, Compute, Hooks
from iicnet_cli.training.run import ModelFolder, TrainingSource, run_training
from tests.training_helpers import tiny_recipe, write_photos, write_recipe

CPU = torch.device("cpu")
STEPS = 5


def train_some(
    folder: Path, output: Path, team: Team, stop: Callable[[], bool] = lambda: False
) -> list[float]:
    """Train until ``stop`` or the end, and return the losses that this process reports."""
    losses: list[float] = []
    run_training(
        TrainingSource(folder / "stego.toml", [folder / "photos"]),
        ModelFolder(output),
        Budget(STEPS),
        Compute(CPU, team=team),
        Hooks(report=lambda report: losses.append(report.loss), stop=stop),
    )
    return losses


def worker(folder: Path, output: Path) -> None:
    """Be one of two processes: the second stops the run after three steps, then both go on."""
    asked = count(1)
    with join_team(CPU) as team:
        losses = train_some(folder, output, team, lambda: not team.first and next(asked) == 3)
        assert len(losses) == (3 if team.first else 0)
        losses += train_some(folder, output, team)
        (folder / f"{team.rank}.json").write_text(json.dumps(losses))
        # Now the command itself, with a budget of time. A team cannot be joined twice.
        distributed.join_team = lambda device: nullcontext(team)  # type: ignore[assignment]
        arguments = ["--recipe", folder / "stego.toml", "-d", folder / "photos"]
        arguments += ["-o", folder / "timed", "--device", "cpu", "--minutes", 0.01]
        app(["train", *map(str, arguments)], standalone_mode=False)
        group = ref(dist.group.WORLD)
    # A group that is still alive when Python ends has threads that may abort the process.
    assert group() is None


@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", 6)
    write_recipe(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    expected = train_some(tmp_path, one, Team())

    root = Path(__file__).parents[1]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "tests.test_distributed", str(tmp_path), str(two)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            errors = process.communicate(timeout=150)[1]
        finally:
            process.terminate()  # killing it would leave its two children behind
    assert process.returncode == 0, errors

    losses = json.loads((tmp_path / "0.json").read_text())
    assert len(losses) == STEPS
    np.testing.assert_allclose(losses, expected, rtol=1e-4)
    assert json.loads((tmp_path / "1.json").read_text()) == []
    a, b = load_file(one / "model.safetensors"), load_file(two / "model.safetensors")
    # AdamW takes steps of full length along gradients that are nearly zero, hence atol.
    torch.testing.assert_close(b, a, rtol=1e-3, atol=5e-4)

    assert errors.count("in 2 processes") == 1
    assert errors.count("held out") == 1
    config = json.loads((tmp_path / "timed" / "config.json").read_text())
    assert config["training"]["machine"].startswith("2 x CPU")
    assert not (tmp_path / "timed" / "training.pt").exists()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_noise_is_drawn_for_the_whole_batch(size: int) -> None:
    batch = torch.rand(6, 3, 4, 4).to(memory_format=torch.channels_last)
    quantization = Quantization().train()

    def quantized(team: Team) -> torch.Tensor:
        rows = team.rows(6)
        torch.manual_seed(5)
        return team.on_whole_batch(quantization, batch[rows.start : rows.stop])

    parts = torch.cat([quantized(Team(rank, size)) for rank in range(size)])
    torch.manual_seed(5)
    assert torch.equal(parts, quantization(batch))


def test_gradients_pass_through_the_whole_batch() -> None:
    own = torch.rand(2, 3, 4, 4, requires_grad=True)
    Team(1, 3).on_whole_batch(lambda x: 2 * x, own).sum().backward()
    assert own.grad is not None
    assert torch.equal(own.grad, torch.full_like(own, 2))


def test_rows_cover_the_batch_once() -> None:
    rows = [row for rank in range(4) for row in Team(rank, 4).rows(8)]
    assert rows == list(range(8))


def test_a_batch_must_be_divisible() -> None:
    recipe = tiny_recipe()
    Team(0, 2).check(recipe)
    with pytest.raises(UsageError, match="batch of 2 cannot be divided over 3"):
        Team(0, 3).check(recipe)


def test_a_single_process_sends_nothing() -> None:
    net = nn.Linear(2, 1)
    net(torch.ones(1, 2)).sum().backward()
    before = [p.grad.clone() for p in net.parameters() if p.grad is not None]
    alone = Team()
    alone.average_gradients(net)
    assert all(
        torch.equal(p.grad, g)
        for p, g in zip(net.parameters(), before, strict=True)
        if p.grad is not None
    )
    assert alone.first and alone.anyone(True) and not alone.anyone(False)
    assert alone.once(lambda: 3) == 3


if __name__ == "__main__":
    worker(Path(sys.argv[1]), Path(sys.argv[2]))

"""The training loop, on a tiny network and generated photos."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch

from iicnet_cli.errors import DeviceError, ExitCode, TrainingError
from iicnet_cli.network.quantization import Quantization
from iicnet_cli.quantize.lattice import NoiseShapingFilter
from iicnet_cli.training import loop
from iicnet_cli.training.loop import LOG_FILE, Outcome, static_pixels, train
from iicnet_cli.training.losses import total_loss
from iicnet_cli.training.plan import Budget, Compute, Hooks, StepReport, TrainingPlan
from iicnet_cli.training.recipe import Recipe, Stage
from iicnet_cli.training.state import STATE_FILE
from tests.training_helpers import CPU, tiny_data, tiny_recipe


def run(folder: Path, recipe: Recipe, steps: int, hooks: Hooks = Hooks()) -> Outcome:
    folder.mkdir(exist_ok=True)
    return train(TrainingPlan(recipe), tiny_data(), folder, Budget(steps), CPU, hooks)


def test_training_lowers_the_loss(tmp_path: Path) -> None:
    losses: list[float] = []
    outcome = run(tmp_path, tiny_recipe(), 60, Hooks(report=lambda r: losses.append(r.loss)))
    assert outcome.finished and outcome.steps == len(losses) == 60
    assert np.mean(losses[-10:]) < 0.7 * np.mean(losses[:10])


@pytest.mark.parametrize("interrupted_at", [1, 4])
def test_an_interrupted_run_gives_the_same_weights(tmp_path: Path, interrupted_at: int) -> None:
    # The stages and the start of rounding lie on both sides of the interruptions.
    stages = (Stage(until=0.5, crop=16, batch=2), Stage(until=1, crop=24, batch=2))
    recipe = tiny_recipe(stages=stages, straight_through=0.8)
    whole = run(tmp_path / "whole", recipe, 6)
    asked = count(1)
    stop = Hooks(stop=lambda: next(asked) == interrupted_at)
    part = run(tmp_path / "parts", recipe, 6, stop)
    assert (part.finished, part.steps) == (False, interrupted_at)
    rest = run(tmp_path / "parts", recipe, 6)
    assert rest.finished and rest.steps == 6
    expected, found = whole.net.state_dict(), rest.net.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_state_is_saved_while_the_run_goes_on(tmp_path: Path) -> None:
    saved_steps = []

    def look(report: StepReport) -> None:
        path = tmp_path / STATE_FILE
        saved_steps.append(torch.load(path)["step"] if path.exists() else None)

    run(tmp_path, tiny_recipe(), 3, Hooks(report=look, save_seconds=0))
    assert saved_steps == [None, 1, 2]


def test_held_out_samples_are_measured_and_logged(tmp_path: Path) -> None:
    reports: list[StepReport] = []
    run(tmp_path, tiny_recipe(), 4, Hooks(report=reports.append, evaluate_every=2))
    assert [report.step for report in reports] == [1, 2, 3, 4]
    assert [report.progress for report in reports] == [0.25, 0.5, 0.75, 1.0]
    assert [report.embed_psnr is not None for report in reports] == [False, True] * 2
    lines = (tmp_path / LOG_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [vars(reports[1]), vars(reports[3])]


def test_a_budget_in_minutes_ends_the_run(tmp_path: Path) -> None:
    plan, budget = TrainingPlan(tiny_recipe()), Budget(minutes=0.002)
    outcome = train(plan, tiny_data(), tmp_path, budget, CPU)
    assert outcome.finished and outcome.steps > 0
    assert outcome.seconds >= 0.12


def test_a_run_that_keeps_diverging_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="shot up 21 times") as caught:
        run(tmp_path, tiny_recipe(learning_rate=1e6), 60)
    assert caught.value.exit_code == ExitCode.FAILURE


def test_a_loss_that_is_not_finite_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(
        loop, "total_loss", lambda *arguments: torch.tensor(torch.nan) * total_loss(*arguments)
    )
    with pytest.raises(TrainingError, match="not finite at step 0"):
        run(tmp_path, tiny_recipe(), 2)


def test_after_a_spike_the_run_continues_from_the_average(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    losses = []

    def spiky(*arguments: object) -> torch.Tensor:
        losses.append(total_loss(*arguments))  # type: ignore[arg-type]
        return losses[-1] * (100 if len(losses) == 4 else 1)

    monkeypatch.setattr(loop, "total_loss", spiky)
    assert run(tmp_path, tiny_recipe(), 4).steps == 4
    state = torch.load(tmp_path / STATE_FILE, weights_only=True)
    for name, tensor in state["net"].items():
        assert torch.equal(tensor, state["average"][f"module.{name}"])
    assert state["optimizers"][0]["state"] == {}


@pytest.mark.parametrize("shaped", [False, True])
def test_noise_is_shaped_by_the_filter_of_the_plan(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, shaped: bool
) -> None:
    filters: list[NoiseShapingFilter | None] = []

    class Spy(Quantization):
        def __init__(self, *, noise_shaping: NoiseShapingFilter | None) -> None:
            filters.append(noise_shaping)
            super().__init__(noise_shaping=noise_shaping)

    monkeypatch.setattr(loop, "Quantization", Spy)
    given = np.full((5, 3, 3), 0.1, np.float32) if shaped else None
    train(TrainingPlan(tiny_recipe(), noise_shaping=given), tiny_data(), tmp_path, Budget(1), CPU)
    assert len(filters) == 1 and filters[0] is given


def test_a_network_that_cannot_be_compiled_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from torch._dynamo.exc import TorchDynamoException

    def fail_later(function: object, **options: object) -> Callable[..., None]:
        def fail(x: torch.Tensor) -> None:
            raise TorchDynamoException("no compiler")

        return fail

    monkeypatch.setattr(torch, "compile", fail_later)
    compute = Compute(torch.device("cpu"), compiled=True)
    with pytest.raises(DeviceError, match="cannot be compiled"):
        train(TrainingPlan(tiny_recipe()), tiny_data(), tmp_path, Budget(2), compute)


def test_static_pixels_are_cells_in_which_all_pictures_agree() -> None:
    images = torch.rand(2, 1, 3, 20, 24).repeat(1, 3, 1, 1, 1)
    images[0, 2, 1, 9, 0] += 0.5
    static = static_pixels(images, (2, 3, 20, 24))
    assert static is not None and static.shape == (2, 1, 20, 24)
    assert not static[0, 0, 8:16, :8].any()
    assert static.sum() == 2 * 20 * 24 - 8 * 8
    assert static_pixels(images, (2, 1, 20, 24)) is None
    assert static_pixels(images, (2, 3, 10, 12)) is None
    assert static_pixels(images[:, :1], (2, 3, 20, 24)) is None

"""The state of a training run: saved and loaded as a whole, and rewound after a divergence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from iicnet_cli.errors import TrainingError
from iicnet_cli.training.distributed import Team
from iicnet_cli.training.plan import TrainingPlan
from iicnet_cli.training.recipe import Recipe
from iicnet_cli.training.state import STATE_FILE, TrainingState
from tests.training_helpers import CPU, tiny_recipe


def take_step(state: TrainingState, loss: float = 1.0) -> None:
    """Take one step along random gradients."""
    for parameter in state.net.parameters():
        parameter.grad = torch.randn_like(parameter)
    state.update(loss)


def started(recipe: Recipe, steps: int = 0) -> TrainingState:
    state = TrainingState(TrainingPlan(recipe), CPU)
    for _ in range(steps):
        take_step(state)
    return state


def assert_same_weights(a: torch.nn.Module, b: torch.nn.Module) -> None:
    pairs = zip(a.state_dict().items(), b.state_dict().items(), strict=True)
    for (name, x), (other_name, y) in pairs:
        assert name == other_name and torch.equal(x, y), name


def test_a_saved_state_is_resumed_exactly(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    state = started(recipe, 3)
    state.save(tmp_path, recipe)
    resumed = started(recipe)
    resumed.resume(tmp_path, recipe, Team())
    assert (resumed.step, resumed.running_loss) == (3, 1.0)
    assert resumed.seconds > 0
    for one in (state, resumed):
        torch.manual_seed(5)
        take_step(one, 2.0)
    assert resumed.running_loss == state.running_loss == pytest.approx(1.02)
    assert_same_weights(resumed.net, state.net)
    assert_same_weights(resumed.average, state.average)
    assert [p.name for p in tmp_path.iterdir()] == [STATE_FILE]


def test_without_a_saved_state_the_run_is_new(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    state = started(recipe)
    state.resume(tmp_path, recipe, Team())
    assert state.step == 0
    assert_same_weights(state.net, started(recipe).net)


def test_a_state_of_another_recipe_is_refused(tmp_path: Path) -> None:
    recipe, other = tiny_recipe(), tiny_recipe(seed=4)
    started(recipe).save(tmp_path, recipe)
    with pytest.raises(TrainingError, match="another recipe"):
        started(other).resume(tmp_path, other, Team())


def test_a_state_from_before_a_recipe_key_existed_is_resumed(tmp_path: Path) -> None:
    recipe = tiny_recipe()
    started(recipe, 2).save(tmp_path, recipe)
    saved = torch.load(tmp_path / STATE_FILE)
    fields = json.loads(saved["recipe"])
    del fields["scenes"]
    torch.save({**saved, "recipe": json.dumps(fields)}, tmp_path / STATE_FILE)
    resumed = started(recipe)
    resumed.resume(tmp_path, recipe, Team())
    assert resumed.step == 2
    torch.save({**saved, "recipe": json.dumps({**fields, "unknown": 1})}, tmp_path / STATE_FILE)
    with pytest.raises(TrainingError, match="another recipe"):
        resumed.resume(tmp_path, recipe, Team())


def test_a_run_may_start_from_a_network() -> None:
    start = started(tiny_recipe(seed=7), 1).net
    state = TrainingState(TrainingPlan(tiny_recipe(), start), CPU)
    assert_same_weights(state.net, start)
    assert_same_weights(state.average, start)
    state.set_learning_rates(0.5)
    # The rates of a fine-tuning are a fifth of those of a new run.
    rates = [optimizer.param_groups[0]["lr"] for optimizer in state.optimizers]
    assert rates == pytest.approx([0.5 * 0.2 * 5e-3, 0.5 * 0.2 * 2e-3])


def test_the_average_follows_the_weights_slowly() -> None:
    state = started(tiny_recipe(), 1)
    first = [p.clone() for p in state.average.parameters()]
    take_step(state)
    for before, average, p in zip(
        first, state.average.parameters(), state.net.parameters(), strict=True
    ):
        # After the second step the new weights count nine elevenths.
        torch.testing.assert_close(average, before + 9 / 11 * (p - before))


def test_a_rewind_returns_to_the_average() -> None:
    state = started(tiny_recipe(), 3)
    state.rewind()
    assert state.step == 4
    assert_same_weights(state.net, state.average)
    assert all(not optimizer.state for optimizer in state.optimizers)

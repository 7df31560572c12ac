"""The budget of a training run."""

from __future__ import annotations

import pytest

from iicnet_cli.training.plan import Budget


@pytest.mark.parametrize(
    ("budget", "step", "seconds", "progress"),
    [
        (Budget(steps=10), 4, 999.0, 0.4),
        (Budget(steps=10), 12, 0.0, 1.0),
        (Budget(minutes=2), 99, 30.0, 0.25),
        (Budget(minutes=2), 99, 130.0, 1.0),
        (Budget(10, 2), 4, 30.0, 0.4),
        (Budget(10, 2), 1, 30.0, 0.25),
        (Budget(), 5, 5.0, 0.0),
    ],
)
def test_the_limit_that_is_nearer_counts(
    budget: Budget, step: int, seconds: float, progress: float
) -> None:
    assert budget.progress(step, seconds) == progress

"""What the console script does before any command."""

from __future__ import annotations

import os

import pytest

from iicnet_cli.cli import let_idle_threads_sleep

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")


@pytest.mark.parametrize("chosen", [None, *VARIABLES])
def test_idle_threads_sleep_unless_the_user_decided(
    chosen: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "to be removed again")
        monkeypatch.delenv(name)
    if chosen is not None:
        monkeypatch.setenv(chosen, "7")
    let_idle_threads_sleep()
    found = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    assert found == ({"OMP_WAIT_POLICY": "PASSIVE"} if chosen is None else {chosen: "7"})

"""What the console script does before any command."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize(("chosen", "expected"), [(None, "1"), ("2", "2")])
def test_products_of_numpy_use_one_thread_unless_the_user_decided(
    chosen: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", chosen or "to be removed again")
    if chosen is None:
        monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    let_idle_threads_sleep()
    assert os.environ["OPENBLAS_NUM_THREADS"] == expected


def test_nothing_loads_numpy_before_the_threads_are_decided() -> None:
    imports = "import sys, iicnet_cli.__main__, iicnet_cli.cli"
    code = imports + "; print(*{'numpy', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"

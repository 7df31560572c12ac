"""Trellises of the rounding in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from iicnet_cli.quantize.error_diffusion import Rounding
from iicnet_cli.quantize.viterbi import Quantizer, viterbi_quantize
from iicnet_cli.quantize.viterbi_workers import ViterbiWorkers
from tests.test_codes import message
from tests.test_rounding import exact, some_feedback

Processes = list["subprocess.Popen[bytes]"]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """Those that are started."""
    started: Processes = []
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


def rounded_twice(seed: int, along: Quantizer = viterbi_quantize) -> tuple[np.ndarray, np.ndarray]:
    """Rows after rows, so that the errors of the first show in the others."""
    levels, rest = exact(10, 40, 3, seed)
    _, depths, residues = message(levels.shape, 4, 0.8, seed)
    rounding = Rounding(levels, rest, some_feedback(3, seed), None, along)
    for rows in (slice(0, 6), slice(6, 10)):
        rounding.rows(rows, depths[rows], residues[rows])
    return rounding.levels, levels


def as_without(helpers: ViterbiWorkers, seed: int) -> bool:
    found, before = rounded_twice(seed, helpers.viterbi_quantize)
    wanted, _ = rounded_twice(seed)
    return np.array_equal(found, wanted) and not np.array_equal(found, before)


def test_one_helps_again_and_again_and_ends(processes: Processes) -> None:
    with ViterbiWorkers() as helpers:
        assert as_without(helpers, 1) and as_without(helpers, 2)
        (helper,) = processes
        assert helper.poll() is None
    assert helper.poll() is not None


def test_each_thread_has_its_own(processes: Processes) -> None:
    together = threading.Barrier(3)

    def work(seed: int) -> bool:
        together.wait(timeout=30)
        return as_without(helpers, seed)

    with ViterbiWorkers() as helpers, ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(3)))
    assert 1 <= len(processes) <= 3
    assert all(helper.poll() is not None for helper in processes)


@pytest.mark.parametrize("executable", ["", None, "/no/python"])
def test_without_python_it_is_done_here(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with ViterbiWorkers() as helpers:
        assert as_without(helpers, 3)


def test_a_program_that_is_all_in_one_is_not_started_again(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with ViterbiWorkers() as helpers:
        assert as_without(helpers, 4)
    assert not processes


def test_what_a_killed_one_had_to_do_is_done_here(processes: Processes) -> None:
    with ViterbiWorkers() as helpers:
        assert as_without(helpers, 5)
        processes[0].kill()
        assert as_without(helpers, 6)
    assert all(helper.poll() is not None for helper in processes)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_is_not_for_helpers(processes: Processes) -> None:
    with ViterbiWorkers() as helpers:
        assert as_without(helpers, 7)
        processes[0].send_signal(signal.SIGINT)
        assert as_without(helpers, 8)
        assert len(processes) == 1 and processes[0].poll() is None


def test_one_that_is_late_ends_as_well(processes: Processes) -> None:
    """A thread that is still at work when the context is left."""
    with ViterbiWorkers() as helpers:
        pass
    assert as_without(helpers, 9)
    assert all(helper.poll() is not None for helper in processes)

"""Worker processes of the Viterbi search."""

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

from iicnet_cli.quantize.error_diffusion import RowQuantizer
from iicnet_cli.quantize.viterbi import TrellisQuantizer, viterbi_quantize
from iicnet_cli.quantize.viterbi_workers import ViterbiWorkers
from tests.random_arrays import random_filter, random_trellis_constraints, random_unrounded

Processes = list["subprocess.Popen[bytes]"]


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    """The processes that are started."""
    started: Processes = []
    popen = subprocess.Popen

    def start(*args: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*args, **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", start)
    return started


def quantize_twice(seed: int, quantizer: TrellisQuantizer) -> np.ndarray:
    """Rows after rows, so that the errors of the first show in the others."""
    unrounded = random_unrounded(10, 40, 3, seed)
    constraints = random_trellis_constraints(unrounded.pixels.shape, 4, 0.8, seed)
    rows_quantizer = RowQuantizer(unrounded, random_filter(3, seed), None, quantizer)
    for rows in (slice(0, 6), slice(6, 10)):
        rows_quantizer.quantize(rows, constraints[rows])
    assert not np.array_equal(rows_quantizer.pixels, unrounded.pixels)
    return rows_quantizer.pixels


def give_the_same(workers: ViterbiWorkers, seed: int) -> bool:
    """Whether workers give what this process gives."""
    found = quantize_twice(seed, workers.viterbi_quantize)
    return np.array_equal(found, quantize_twice(seed, viterbi_quantize))


def test_a_worker_is_used_again_and_ends(processes: Processes) -> None:
    with ViterbiWorkers() as workers:
        assert give_the_same(workers, 1) and give_the_same(workers, 2)
        (process,) = processes
        assert process.poll() is None
    assert process.poll() is not None


def test_each_thread_has_its_own_worker(processes: Processes) -> None:
    together = threading.Barrier(3)

    def work(seed: int) -> bool:
        together.wait(timeout=30)
        return give_the_same(workers, seed)

    with ViterbiWorkers() as workers, ThreadPoolExecutor(3) as pool:
        assert all(pool.map(work, range(3)))
    assert 1 <= len(processes) <= 3
    assert all(process.poll() is not None for process in processes)


@pytest.mark.parametrize("executable", ["", None, "/no/python"])
def test_without_a_python_executable_this_process_works(
    executable: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with ViterbiWorkers() as workers:
        assert give_the_same(workers, 3)


def test_a_frozen_program_is_not_started_again(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with ViterbiWorkers() as workers:
        assert give_the_same(workers, 4)
    assert not processes


def test_this_process_takes_over_from_a_killed_worker(processes: Processes) -> None:
    with ViterbiWorkers() as workers:
        assert give_the_same(workers, 5)
        processes[0].kill()
        assert give_the_same(workers, 6)
    assert all(process.poll() is not None for process in processes)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_workers_ignore_ctrl_c(processes: Processes) -> None:
    with ViterbiWorkers() as workers:
        assert give_the_same(workers, 7)
        processes[0].send_signal(signal.SIGINT)
        assert give_the_same(workers, 8)
        assert len(processes) == 1 and processes[0].poll() is None


def test_a_worker_that_is_late_ends_too(processes: Processes) -> None:
    """A thread may still be at work when the context is left."""
    with ViterbiWorkers() as workers:
        pass
    assert give_the_same(workers, 9)
    assert all(process.poll() is not None for process in processes)

"""Encoding several groups of a clip at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from iicnet_cli import Converter
from iicnet_cli.engines.parallel import GroupScheduler, share_cores
from iicnet_cli.inference.runner import MAX_GROUPS_AT_ONCE, Runner
from iicnet_cli.reports import Progress, Stage, ignore_progress
from tests.helpers import Run


@settings(max_examples=30, deadline=None)
@given(count=st.integers(0, 9), at_once=st.integers(1, MAX_GROUPS_AT_ONCE))
def test_results_come_in_order_and_groups_are_not_read_far_ahead(count: int, at_once: int) -> None:
    read = running = most_running = 0
    lock = threading.Lock()

    def groups() -> Iterator[str]:
        nonlocal read
        for i in range(count):
            read += 1
            yield f"group {i}"

    def work(number: int, group: str) -> tuple[int, str]:
        nonlocal running, most_running
        with lock:
            running += 1
            most_running = max(most_running, running)
        time.sleep(0.001 * (number % 2))
        with lock:
            running -= 1
        return number, group

    results = []
    for result in GroupScheduler(at_once, count, ignore_progress).map(work, groups()):
        results.append(result)
        assert read <= len(results) + at_once
    assert results == [(i, f"group {i}") for i in range(count)]
    assert most_running <= at_once


def test_groups_run_at_the_same_time_and_share_the_cores() -> None:
    together = threading.Barrier(2)
    before = torch.get_num_threads()

    def work(number: int, group: None) -> int:
        together.wait(timeout=30)
        return torch.get_num_threads()

    with share_cores(1):
        torch.set_num_threads(5)
        scheduler = GroupScheduler(2, 4, ignore_progress)
        assert list(scheduler.map(work, [None] * 4)) == [2] * 4
        assert torch.get_num_threads() == 5
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("at_once", [1, 3])
def test_progress_is_that_of_the_first_unfinished_group(at_once: int) -> None:
    reports: list[Progress] = []
    scheduler = GroupScheduler(at_once, 5, reports.append)

    def work(number: int, group: None) -> None:
        for i in range(1, 5):
            scheduler.progress_of(number)(Stage.SEARCHING, i / 4, 0.5)

    assert len(list(scheduler.map(work, [None] * 5))) == 5
    shares = [report.done for report in reports]
    assert shares == sorted(shares)
    assert 0 < shares[0] <= 1
    assert at_once > 1 or shares[-1] == 5
    first = reports[0]
    assert first == Progress(Stage.SEARCHING, first.done, total=5, gained_psnr=0.5)


@pytest.mark.parametrize("end", ["an error", "the caller"])
def test_work_that_nobody_waits_for_is_abandoned(end: str) -> None:
    scheduler = GroupScheduler(2, None, ignore_progress)
    ended = []
    others_run = threading.Event()

    def work(number: int, group: int) -> int:
        if number == 0:
            others_run.wait(30)
            if end == "an error":
                raise MemoryError("no more")
            return 0
        others_run.set()
        try:
            while True:
                scheduler.progress_of(number)(Stage.EMBEDDING, 0.5, None)
                time.sleep(0.001)
        finally:
            ended.append(number)

    results = scheduler.map(work, range(100))
    if end == "an error":
        with pytest.raises(MemoryError, match="no more"):
            next(results)
    else:
        assert next(results) == 0
        results.close()
    assert 1 in ended and len(ended) <= 3


def test_work_that_reports_no_progress_is_abandoned_too() -> None:
    ended = threading.Event()
    begun = threading.Event()

    def work(number: int, group: int) -> int:
        if number == 0:
            return 0
        begun.set()
        try:
            while True:
                time.sleep(0.001)
        finally:
            ended.set()

    results = GroupScheduler(2, None, ignore_progress).map(work, range(100))
    assert next(results) == 0
    assert begun.wait(30)
    results.close()
    assert ended.is_set()


def test_a_clip_is_the_same_however_many_groups_run_at_once(
    panning: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    for at_once in (2, 1):
        monkeypatch.setattr(Runner, "groups_at_once", lambda self, h, w, n=at_once: n)
        output = tmp_path / f"{at_once}.png"
        # The last bits may depend on the number of threads.
        with share_cores(torch.get_num_threads()):
            report = Converter(device="cpu").embed([panning], output)
        reports.append((report.embeddings, report.bytes, report.embedding, report.restored))
    assert reports[0] == reports[1] and reports[0][0] == 2
    assert (tmp_path / "2.png").read_bytes() == (tmp_path / "1.png").read_bytes()


def test_a_failing_group_is_reported_and_leaves_no_file(
    run: Run, panning: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "groups_at_once", lambda self, height, width: 2)

    def fail(self: Runner, *_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Runner, "embed", fail)
    result = run("embed", panning, "-o", tmp_path / "out.png", "-q")
    assert result.exit_code == 1
    assert result.stderr.strip() == "iicnet: not enough memory"
    assert not list(tmp_path.glob("out*"))

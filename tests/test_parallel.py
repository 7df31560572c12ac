"""Several groups of a clip at once."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iicnet_cli.engines.network.parallel import GroupScheduler, share_cores
from iicnet_cli.inference.runner import MAX_GROUPS_AT_ONCE, Runner
from iicnet_cli.network import IICNet, IICNetConfig
from iicnet_cli.reports import Progress, Stage
from tests.helpers import Run, done, frames_of


def silent(progress: Progress) -> None:
    pass


@given(count=st.integers(0, 9), at_once=st.integers(1, MAX_GROUPS_AT_ONCE))
def test_results_come_in_order_and_groups_are_not_taken_far_ahead(count: int, at_once: int) -> None:
    taken = 0
    running = 0
    most = 0
    lock = threading.Lock()

    def groups() -> Iterator[str]:
        nonlocal taken
        for i in range(count):
            taken += 1
            yield f"group {i}"

    def work(number: int, group: str) -> tuple[int, str]:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.001 * (number % 2))
        with lock:
            running -= 1
        return number, group

    found = []
    for result in GroupScheduler(at_once, count, silent).map(work, groups()):
        found.append(result)
        assert taken <= len(found) + at_once
    assert found == [(i, f"group {i}") for i in range(count)]
    assert most <= at_once


def test_they_are_at_once_and_share_the_cores() -> None:
    together = threading.Barrier(2)
    before = torch.get_num_threads()

    def work(number: int, group: None) -> int:
        together.wait(timeout=30)
        return torch.get_num_threads()

    with share_cores(1):
        torch.set_num_threads(5)
        assert list(GroupScheduler(2, 4, silent).map(work, [None] * 4)) == [2] * 4
        assert torch.get_num_threads() == 5
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("at_once", [1, 3])
def test_progress_is_that_of_the_first_that_is_not_done(at_once: int) -> None:
    told: list[float] = []
    groups = GroupScheduler(at_once, 5, lambda progress: told.append(progress.done))

    def work(number: int, group: None) -> None:
        for i in range(1, 5):
            groups.progress_of(number)(Stage.EMBEDDING, i / 4)

    assert len(list(groups.map(work, [None] * 5))) == 5
    assert told == sorted(told)
    assert 0 < told[0] <= 1
    assert at_once > 1 or told[-1] == 5


@pytest.mark.parametrize("left", ["by an error", "by the reader"])
def test_what_nobody_waits_for_is_given_up(left: str) -> None:
    groups = GroupScheduler(2, None, silent)
    ended = []
    others_run = threading.Event()

    def work(number: int, group: int) -> int:
        if number == 0:
            others_run.wait(30)
            if left == "by an error":
                raise MemoryError("no more")
            return 0
        others_run.set()
        try:
            while True:
                groups.progress_of(number)(Stage.EMBEDDING, 0.5)
                time.sleep(0.001)
        finally:
            ended.append(number)

    results = groups.map(work, range(100))
    if left == "by an error":
        with pytest.raises(MemoryError, match="no more"):
            next(results)
    else:
        assert next(results) == 0
        results.close()
    assert 1 in ended and len(ended) <= 3


def test_a_clip_is_the_same_one_after_the_other(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = []
    for at_once in (3, 1):
        monkeypatch.setattr(Runner, "groups_at_once", lambda self, height, width, n=at_once: n)
        png, back = tmp_path / f"{at_once}.png", tmp_path / f"{at_once}.mkv"
        with share_cores(torch.get_num_threads()):  # the last bits may depend on their number
            report = json.loads(done(run("embed", clip, "-o", png, "--json")).stdout)
            done(run("restore", png, "-o", back))
        reports.append({k: v for k, v in report.items() if k not in ("output", "seconds")})
    assert reports[0] == reports[1] and reports[0]["embeddings"] == 3
    assert (tmp_path / "3.png").read_bytes() == (tmp_path / "1.png").read_bytes()
    assert np.array_equal(frames_of(tmp_path / "3.mkv"), frames_of(tmp_path / "1.mkv"))


def test_as_many_as_cores_and_memory_allow() -> None:
    net = IICNet(IICNetConfig.compact(5, blocks=12))
    with share_cores(1):
        torch.set_num_threads(8)
        ample = Runner(net, memory=1 << 36)
        assert ample.groups_at_once(480, 848) == MAX_GROUPS_AT_ONCE
        assert ample.groups_at_once(20_000, 20_000) < MAX_GROUPS_AT_ONCE
        assert Runner(net, memory=1 << 20).groups_at_once(480, 848) == 1
        usual = Runner(net)
        assert usual.groups_at_once(2160, 3840) == 1
        wanted = [usual.groups_at_once(height, 2 * height) for height in range(64, 1500, 100)]
        assert wanted == sorted(wanted, reverse=True)
        assert Runner(net, memory=1 << 36, compiled=True).groups_at_once(480, 848) == 1
        torch.set_num_threads(2)
        assert ample.groups_at_once(480, 848) == 2


def test_a_failing_group_is_told_and_leaves_nothing(
    run: Run, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Runner, "groups_at_once", lambda self, height, width: 2)

    def failing(self: Runner, *_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Runner, "embed", failing)
    result = run("embed", clip, "-o", tmp_path / "out.png")
    assert result.exit_code == 1
    assert result.stderr.strip() == "iicnet: not enough memory"
    assert not list(tmp_path.glob("out*"))

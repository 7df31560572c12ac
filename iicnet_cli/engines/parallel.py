"""Encoding several groups of one clip at the same time.

Most of the time that embedding takes is spent on one core: motion, the codec of the enhancement
layer, and the Viterbi algorithm. So each core works on a group of its own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from threading import Event
from typing import TypeVar

import torch

from iicnet_cli.engines.base import EncodingProgress
from iicnet_cli.reports import Progress, ProgressListener, Stage

T = TypeVar("T")
R = TypeVar("R")


class GroupScheduler:
    """Works on groups in order, several at a time, and reports the progress.

    Args:
        at_once: how many groups are worked on at the same time, each by its share of the cores.
        total: number of groups, if it is known.
        listener: receives the progress of the first group that is not finished.
    """

    def __init__(self, at_once: int, total: int | None, listener: ProgressListener) -> None:
        self._at_once = at_once
        self._total = total
        self._listener = listener
        self._finished = 0
        self._abandoned = Event()

    def progress_of(self, group: int) -> EncodingProgress:
        """The progress to give to the work on one group; it ends that work if it is abandoned."""

        def report(stage: Stage, share: float, gained_psnr: float | None = None) -> None:
            if self._abandoned.is_set():
                raise _AbandonedError
            if group == self._finished:
                done = group + share
                self._listener(Progress(stage, done, self._total, gained_psnr, group=group))

        return report

    def _finish_before(self, group: int) -> None:
        """Report that all groups before this one are done; then it may report itself."""
        self._listener(Progress(Stage.EMBEDDING, group, self._total, group=group))
        self._finished = group

    def map(self, work: Callable[[int, T], R], groups: Iterable[T]) -> Generator[R, None, None]:
        """The results of ``work`` for each group and its number from 0 on, in order.

        The calling thread reads the groups, one more than are worked on. If the generator is closed
        early, the work that is under way ends at its next progress report.
        """
        if self._at_once == 1:
            for number, group in zip(count(), groups):
                if number:
                    self._finish_before(number)
                yield work(number, group)
            return
        under_way: deque[Future[R]] = deque()

        def first() -> R:
            result = under_way.popleft().result()
            if under_way:
                self._finish_before(self._finished + 1)
            return result

        with share_cores(self._at_once), ThreadPoolExecutor(self._at_once) as pool:
            try:
                for number, group in zip(count(), groups):
                    under_way.append(pool.submit(work, number, group))
                    if len(under_way) > self._at_once:
                        yield first()
                while under_way:
                    yield first()
            finally:
                self._abandoned.set()
                pool.shutdown(cancel_futures=True)


class _AbandonedError(Exception):
    """Nobody wants the result any more."""


@contextmanager
def share_cores(workers: int) -> Iterator[None]:
    """Give each of ``workers`` threads an equal share of the cores that torch uses."""
    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores // workers))
    try:
        yield
    finally:
        torch.set_num_threads(cores)

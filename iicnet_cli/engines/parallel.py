"""Working on several groups of one clip at the same time.

Much of the work on a group runs on one core: motion, the codec of the enhancement layer, the
Viterbi algorithm, PNGs. So each core works on a group of its own, while the calling thread reads
the next group and uses the last result::

    calling thread   read 3          use 1           read 4          use 2
    worker 1         ... group 1 |   group 3 ...                |
    worker 2         ... group 2             |   group 4 ...
"""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from itertools import count
from threading import Event, Lock, get_ident
from typing import TypeVar

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
        stage: is reported when a group is done and the next becomes the first unfinished one.
        overlaps: work in other threads than the caller's, so that reading, work, and the use of
            results overlap. Without it, and where there is one group only, all of it happens in the
            calling thread if ``at_once`` is 1.
        threads_per_core: of all groups together.
    """

    def __init__(
        self,
        at_once: int,
        total: int | None,
        listener: ProgressListener,
        *,
        stage: Stage = Stage.EMBEDDING,
        overlaps: bool = True,
        threads_per_core: int = 1,
    ) -> None:
        self._stage = stage
        self._at_once = at_once
        self._sharers = max(1, at_once // threads_per_core)
        self._total = total
        self._listener = listener
        self._in_threads = at_once > 1 or (overlaps and total != 1)
        self._first_unfinished = 0
        self._finished_later: set[int] = set()
        self._lock = Lock()
        self._workers: set[int] = set()
        self._abandoned = Event()

    def progress_of(self, group: int) -> EncodingProgress:
        """The progress to give to the work on one group; it ends that work if it is abandoned."""

        def report(stage: Stage, share: float, gained_psnr: float | None = None) -> None:
            if self._abandoned.is_set():
                raise _AbandonedError
            if group == self._first_unfinished:
                done = group + share
                self._listener(Progress(stage, done, self._total, gained_psnr, group=group))

        return report

    def map(self, work: Callable[[int, T], R], groups: Iterable[T]) -> Generator[R, None, None]:
        """The results of ``work`` for each group and its number from 0 on, in order.

        The calling thread reads the groups, one more than are worked on. If the generator is closed
        early, or a group fails, the work that is under way ends at its next step in Python.
        """
        if not self._in_threads:
            for number, group in zip(count(), groups):
                result = work(number, group)
                self._finish(number)
                yield result
            return
        under_way: deque[Future[R]] = deque()

        def run(number: int, group: T) -> R:
            with self._lock:
                if self._abandoned.is_set():
                    raise _AbandonedError
                self._workers.add(get_ident())
            try:
                result = work(number, group)
                self._finish(number)
                return result
            finally:
                with self._lock:
                    self._workers.discard(get_ident())

        sharing = share_cores(self._sharers) if self._sharers > 1 else nullcontext()
        with sharing, ThreadPoolExecutor(self._at_once) as pool:
            try:
                for number, group in zip(count(), groups):
                    under_way.append(pool.submit(run, number, group))
                    if len(under_way) > self._at_once:
                        yield under_way.popleft().result()
                while under_way:
                    yield under_way.popleft().result()
            finally:
                self._abandon()
                pool.shutdown(cancel_futures=True)

    def _finish(self, number: int) -> None:
        with self._lock:
            self._finished_later.add(number)
            while self._first_unfinished in self._finished_later:
                self._finished_later.remove(self._first_unfinished)
                following = self._first_unfinished + 1
                if following != self._total:
                    self._listener(Progress(self._stage, following, self._total, group=following))
                self._first_unfinished = following  # only now it may report itself

    def _abandon(self) -> None:
        """End all work, as Ctrl-C ends that of the main thread: a pass may take many seconds."""
        with self._lock:
            self._abandoned.set()
            for thread in self._workers:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(_AbandonedError)
                )


def with_last(groups: Iterable[T]) -> Iterator[tuple[T, bool]]:
    """Each group, and whether it is the last one; one group is read ahead."""
    previous: list[T] = []
    for group in groups:
        if previous:
            yield previous.pop(), False
        previous.append(group)
    if previous:
        yield previous.pop(), True


class _AbandonedError(BaseException):
    """Nobody wants the result any more. No work may take it for an error of its own."""


@contextmanager
def share_cores(workers: int) -> Iterator[None]:
    """Give each of ``workers`` threads an equal share of the cores that torch uses."""
    import torch  # slow, and not every engine needs it

    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores // workers))
    try:
        yield
    finally:
        torch.set_num_threads(cores)

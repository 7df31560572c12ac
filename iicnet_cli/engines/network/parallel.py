"""Groups of pictures of one clip, some of them worked on at once.

Most of what embedding takes is a matter for one core: motion, the codec of the enhancement layer
and the trellis of the rounding. So each core does its own group.
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

MOST = 4
"""Groups at once, at most: Python itself runs for one of them at a time."""

T = TypeVar("T")
R = TypeVar("R")


class Groups:
    """Work on groups, with its progress.

    Args:
        at_once: how many are worked on together, each by its share of the cores.
        total: how many there are, if known.
        progress: called with what is being done, how many groups are done, and the total; what it
            is told is that of the first group that is not done yet.
    """

    def __init__(
        self,
        at_once: int,
        total: int | None,
        progress: Callable[[str, float, int | None], None],
    ) -> None:
        self._at_once = at_once
        self._total = total
        self._progress = progress
        self._done = 0
        self._given_up = Event()

    def tick(self, what: str, group: int, share: float) -> None:
        """Tell that so much, 0..1, of a group is done; ends its work if that is given up."""
        if self._given_up.is_set():
            raise _GivenUpError
        if group == self._done:
            self._progress(what, group + share, self._total)

    def each(self, work: Callable[[int, T], R], groups: Iterable[T]) -> Generator[R, None, None]:
        """What ``work`` makes of each group and its number from 0 on, in their order.

        The groups are taken by this thread, one more than are worked on. If it is left early, those
        under way are ended at their next tick.
        """
        if self._at_once == 1:
            for group in groups:
                yield work(self._done, group)
                self._done += 1
            return
        under_way: deque[Future[R]] = deque()

        def first() -> R:
            result = under_way.popleft().result()
            self._done += 1
            return result

        with cores_for(self._at_once), ThreadPoolExecutor(self._at_once) as pool:
            try:
                for number, group in zip(count(), groups):
                    under_way.append(pool.submit(work, number, group))
                    if len(under_way) > self._at_once:
                        yield first()
                while under_way:
                    yield first()
            finally:
                self._given_up.set()
                pool.shutdown(cancel_futures=True)


class _GivenUpError(Exception):
    """Nobody wants the result any more."""


@contextmanager
def cores_for(at_once: int) -> Iterator[None]:
    """Let what runs so many times at once have its share of the cores that torch uses."""
    cores = torch.get_num_threads()
    torch.set_num_threads(max(1, cores // at_once))
    try:
        yield
    finally:
        torch.set_num_threads(cores)

"""Restoring the groups of one PNG, several at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import TypeVar

from iicnet_cli.container.header import Header
from iicnet_cli.engines.base import Engine
from iicnet_cli.engines.parallel import GroupScheduler
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group
from iicnet_cli.reports import ProgressListener, Stage

T = TypeVar("T")

_THREADS_PER_CORE = 2
"""A pass of a network uses all cores and the rest of the work on a group one: with twice as many
threads as cores, no core waits. It also suits clips whose groups are no multiple of those that are
restored at once."""


class GroupDecoder:
    """Restores groups in order, while the caller reads the next ones and uses the last.

    Args:
        engine: restores them.
        header: of the PNG; made up from the mark when the chunk was lost.
        total: number of groups, if it is known.
        stage: for the progress.
        listener: receives the progress of the first group that is not finished.
        overlaps: as for :class:`GroupScheduler`; without it one group is restored after the other.
    """

    def __init__(
        self,
        engine: Engine,
        header: Header,
        total: int | None,
        stage: Stage,
        listener: ProgressListener,
        *,
        overlaps: bool = True,
    ) -> None:
        at_once = 1
        if overlaps and total != 1:
            at_once = engine.groups_decoded_at_once(header.height, header.width)
        self._engine = engine
        self._header = header
        self._stage = stage
        self._scheduler = GroupScheduler(
            at_once if total is None else min(at_once, total),
            total,
            listener,
            stage=stage,
            overlaps=overlaps,
            threads_per_core=_THREADS_PER_CORE,
        )

    def decode(
        self, embeddings: Iterable[tuple[T, Pixels]]
    ) -> Generator[tuple[T, Pixels, Group], None, None]:
        """Restore the groups of all embeddings of the PNG, in order.

        Args:
            embeddings: each with what belongs to it for the caller; read in the calling thread.

        Yields:
            What belongs to an embedding, the embedding, and its group. If the generator is closed
            early, the work that is under way is abandoned.

        Raises:
            DamagedError: as :meth:`Engine.decode_group`.
        """

        def work(number: int, item: tuple[T, Pixels]) -> tuple[T, Pixels, Group]:
            report = self._scheduler.progress_of(number)
            group = self._engine.decode_group(
                item[1], self._header, number, lambda share: report(self._stage, share, None)
            )
            return *item, group

        return self._scheduler.map(work, embeddings)

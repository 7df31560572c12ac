"""Writing many pictures at the same time."""

from __future__ import annotations

import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

from iicnet_cli.media.stills import write_still
from iicnet_cli.pictures.arrays import Pixels

_MAX_THREADS = 8
_PENDING_PER_THREAD = 2
"""So many pictures for each thread are kept in memory at most."""


class StillPool:
    """Context manager that writes pictures in threads: compression needs no interpreter lock.

    All pictures are complete when the context is left without an error. With an error, those that
    have not been begun are not written.
    """

    def __init__(self) -> None:
        threads = min(_MAX_THREADS, os.cpu_count() or 1)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="still")
        self._max_pending = _PENDING_PER_THREAD * threads
        self._pending: deque[Future[None]] = deque()

    def write(self, target: Path, pixels: Pixels, *, overwrite: bool = False) -> None:
        """Write a picture, or wait for room to do so; see :func:`write_still`.

        The pixels may not be changed afterwards.

        Raises:
            OutputExistsError, MediaError: as :func:`write_still`, for this picture or an earlier
                one.
        """
        if len(self._pending) >= self._max_pending:
            self._pending.popleft().result()
        self._pending.append(self._pool.submit(write_still, target, pixels, overwrite=overwrite))

    def finish(self) -> None:
        """Wait until all pictures are written.

        Raises:
            OutputExistsError, MediaError: as :meth:`write`.
        """
        while self._pending:
            self._pending.popleft().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self.finish()
        finally:
            self._pool.shutdown(cancel_futures=True)

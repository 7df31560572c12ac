"""Frames of a part of a clip on disk, so that they can be encoded several times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from typing import Self

import numpy as np

from iicnet_cli.pictures.arrays import Pixels


class FrameSpool:
    """Frames of one size in a temporary file; a context manager that removes it."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="iicnet-")
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, frame: Pixels) -> None:
        """Append a frame (H, W, 3) uint8; all have the size of the first one."""
        self._shape = frame.shape
        self._file.seek(self._count * frame.nbytes)
        self._file.write(np.ascontiguousarray(frame).data)
        self._count += 1

    def select(self, indices: Iterable[int]) -> FrameSpool:
        """A copy of some of the frames."""
        chosen = FrameSpool()
        for index in indices:
            chosen.add(self[index])
        return chosen

    def drop(self, count: int) -> None:
        """Remove the first frames."""
        rest = range(count, self._count)
        for index in rest:
            frame = self[index]
            self._file.seek((index - count) * frame.nbytes)
            self._file.write(frame.data)
        self._count = len(rest)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Pixels:
        if not 0 <= index < self._count:
            raise IndexError(index)
        size = int(np.prod(self._shape))
        self._file.seek(index * size)
        return np.frombuffer(self._file.read(size), np.uint8).reshape(self._shape)

    def __iter__(self) -> Iterator[Pixels]:
        for index in range(self._count):
            yield self[index]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

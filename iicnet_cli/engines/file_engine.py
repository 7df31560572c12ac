"""The contract of engines that carry bytes instead of pictures.

::

    bytes --FileWriter.write--> embedding --container--> PNG or JPEG
    PNG, JPEG or WebP --container--> embedding --FileEngine.read--> bytes

What the bytes are, and how the pictures of a task become them, is decided in ``contents/``, the
same for all these engines. Reading needs nothing but the pixels. Writing depends on where the
picture will go: an engine makes a :class:`FileWriter` for each destination, which says how many
bytes a cover holds on the way there.

An engine is a package beside this file and one row in ``engines.FILE_ENGINES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar, Generic, Protocol, TypeVar

import numpy as np

from iicnet_cli.engines.base import Alteration
from iicnet_cli.errors import UsageError
from iicnet_cli.pictures.arrays import Pixels

T = TypeVar("T")


class Channel(Protocol):
    """Something that may happen to a picture on its way, simulated.

    Attributes:
        name: for tables and notes.
    """

    @property
    def name(self) -> str: ...

    def apply(self, pixels: Pixels) -> Pixels:
        """The picture (H, W) or (H, W, 3) uint8 as it arrives, (H, W, 3)."""


class LastPicture(Generic[T]):
    """What was found out about the picture that was asked for last, for finding it out takes long.

    Args:
        find_out: does so for a picture (H, W, 3) or (H, W) uint8, which nobody changes afterwards.
    """

    def __init__(self, find_out: Callable[[Pixels], T]) -> None:
        self._find_out = find_out
        self._last: tuple[Pixels, T] | None = None

    def __call__(self, picture: Pixels) -> T:
        """What is known of a picture."""
        last = self._last  # read once, for another thread may replace it
        if last is None or not np.array_equal(last[0], picture):
            last = self._last = picture, self._find_out(picture)
        return last[1]


class FileWriter(ABC):
    """Hides bytes in covers that go to one destination.

    It is asked about one cover after the other, about each several times: it remembers the last
    one (:class:`LastPicture`).

    Attributes:
        embed_psnr: PSNR in dB that embeddings are held at, or that is to be expected of them.
        limit: what limits the capacity, in words that follow "more than the picture holds".
        arrives_exact: whether the file arrives as it is written. If not, it can only be one still,
            and whoever restores it sees the cover only about as it was.
        longest_side: pixels of the longer side that the destination leaves; ``None`` if any.
        suffixes: of the files that carry an embedding there, the usual one first.
        channels: what is simulated to check an embedding, which has to survive all of it.
        losses: what takes a part of the picture away, simulated: an embedding of at most
            ``spared_capacity`` bytes should survive it.
    """

    embed_psnr: float
    limit: str
    arrives_exact: bool = True
    longest_side: int | None = None
    suffixes: tuple[str, ...] = (".png",)
    channels: tuple[Channel, ...] = ()
    losses: tuple[Channel, ...] = ()

    @abstractmethod
    def capacity(self, cover: Pixels) -> int:
        """How many bytes a cover, (H, W) or (H, W, 3) uint8, holds.

        Raises:
            UsageError: the cover is too large.
        """

    def spared_capacity(self, cover: Pixels) -> int:
        """How many bytes contents take whose size can be chosen.

        If it is less than the capacity, the rest is a reserve: a part of the picture restores them.
        """
        return self.capacity(cover)

    def small_version_capacity(self, cover: Pixels) -> int:
        """How many bytes of a small version, which survives more, a cover holds beside those of
        ``spared_capacity``."""
        return 0

    @abstractmethod
    def write(self, cover: Pixels, data: bytes, small_version: bytes | None = None) -> Pixels:
        """Hide bytes in a cover; the fewer there are, the less it changes or the more it survives.

        Args:
            cover: (H, W) or (H, W, 3) uint8.
            data: what is hidden.
            small_version: what is hidden so that it survives more, for writers that have room for
                it.

        Returns:
            The embedding, of the shape of the cover.

        Raises:
            UsageError: there are more bytes than the cover can hold.
        """

    def encode_jpeg(self, embedding: Pixels) -> bytes:
        """An embedding as a JPEG file from which it can still be read.

        Raises:
            UsageError: this writer's embeddings do not survive JPEG.
        """
        raise UsageError("a JPEG would destroy what it holds", hint="use -o NAME.png")


class FileEngine(ABC):
    """Hides bytes in pictures, and finds them again.

    Attributes:
        name: of the engine, a key of ``engines.FILE_ENGINES``.
    """

    name: ClassVar[str]

    @abstractmethod
    def survives(self) -> frozenset[Alteration]:
        """Alterations of the file after which what it carries can still be read."""

    @abstractmethod
    def writer_for(self, destination: str, embed_psnr: float | None) -> FileWriter:
        """What writes pictures that go to a destination.

        Args:
            destination: in the words of ``--for``.
            embed_psnr: PSNR in dB that was asked for; ``None`` leaves it to the engine.

        Raises:
            UsageError: the engine knows no such destination, or cannot hold that PSNR.
        """

    @abstractmethod
    def recognises(self, embedding: Pixels) -> bool:
        """Whether an embedding has the mark of this engine; what it carries may be damaged."""

    def likely_change(self, picture: Pixels) -> str:
        """What may have destroyed the mark of a picture that has none, in words.

        They continue a sentence; empty if there is no sign.
        """
        return ""

    @abstractmethod
    def read(self, embedding: Pixels) -> bytes:
        """Find the bytes that :meth:`FileWriter.write` hid.

        Raises:
            NotAnEmbeddingError: there are none.
            DamagedError: the embedding was altered.
            UnsupportedVersionError: a newer program wrote it.
        """

    def read_small_version(self, embedding: Pixels) -> bytes | None:
        """Find the small version that :meth:`FileWriter.write` hid; ``None`` if there is none."""
        return None

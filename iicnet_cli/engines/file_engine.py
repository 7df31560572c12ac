"""The contract of engines that carry bytes instead of pictures.

::

    bytes --write--> embedding --container--> PNG
    PNG --container--> embedding --read--> bytes

What the bytes are, and how the pictures of a task become them, is decided in ``contents/``, the
same for all these engines. An engine says how many bytes a reference holds at which PSNR.

An engine is a package beside this file and one row in ``engines.FILE_ENGINES``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from iicnet_cli.engines.base import Alteration
from iicnet_cli.pictures.arrays import Pixels


class FileEngine(ABC):
    """Hides bytes in a picture, and finds them again.

    Attributes:
        name: of the engine, a key of ``engines.FILE_ENGINES``.
        default_psnr: PSNR in dB that embeddings are held at, unless another is asked for.
    """

    name: ClassVar[str]
    default_psnr: ClassVar[float] = 40.0

    @abstractmethod
    def survives(self) -> frozenset[Alteration]:
        """Alterations of the PNG after which what it carries can still be read."""

    @abstractmethod
    def capacity(self, reference: Pixels, psnr: float) -> int:
        """How many bytes a reference holds when it is changed by no more than ``psnr`` dB.

        Args:
            reference: (H, W) or (H, W, 3) uint8.
            psnr: in dB.
        """

    @abstractmethod
    def write(self, reference: Pixels, data: bytes) -> Pixels:
        """Hide bytes in a reference; the fewer there are, the less it changes.

        Args:
            reference: (H, W) or (H, W, 3) uint8.
            data: what is hidden.

        Returns:
            The embedding, of the shape of the reference.

        Raises:
            UsageError: there are more bytes than the reference can hold.
        """

    @abstractmethod
    def recognises(self, embedding: Pixels) -> bool:
        """Whether an embedding has the mark of this engine; what it carries may be damaged."""

    @abstractmethod
    def read(self, embedding: Pixels) -> bytes:
        """Find the bytes that :meth:`write` hid.

        Raises:
            NotAnEmbeddingError: there are none.
            DamagedError: the embedding was altered.
            UnsupportedVersionError: a newer program wrote it.
        """

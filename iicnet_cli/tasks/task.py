"""The contract between a task and the converter.

::

    inputs --Task.open--> Job --groups()--> (K, H, W, 3), reference first --> network --> PNG
    PNG --> network --> (K, H, W, 3) --Task.deliver--> files
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from iicnet_cli.container.header import Header
from iicnet_cli.pictures.arrays import Pixels


@dataclass(frozen=True)
class EmbedOptions:
    """What a user may say about the inputs.

    Attributes:
        start: first moment of a clip, seconds.
        end: last moment of a clip, seconds.
        step: take every n-th frame.
        frames: take at most so many frames.
        background: colour (R, G, B) that transparent pictures are composited on.
        half: a clip's embedding gets half its width and height.
        layout: how one file holds a stereo pair; one of ``media.stereo.LAYOUTS``.
        zoom: dual view of one photo: the centre, so many times enlarged.
        align: compensate motion (``motion.py``), and undo that when restored.
        enhance: carry an enhancement layer (``enhancement.py``) beside the mark.
    """

    start: float | None = None
    end: float | None = None
    step: int = 1
    frames: int | None = None
    background: tuple[int, int, int] = (255, 255, 255)
    half: bool = False
    layout: str | None = None
    zoom: int | None = None
    align: bool = True
    enhance: bool = True


@dataclass(frozen=True)
class RestoreOptions:
    """What a user may say about the outputs.

    Attributes:
        layout: how one file is to hold a stereo pair; ``media.stereo.LAYOUTS`` or ``anaglyph``.
    """

    layout: str | None = None


@dataclass(frozen=True)
class Group:
    """The pictures of one embedding.

    Attributes:
        images: (K, H, W, 3) uint8, the reference first.
        valid: how many of them, in the task's own order, are real and not padding.
    """

    images: Pixels
    valid: int


@dataclass(frozen=True)
class Delivered:
    """What was written.

    Attributes:
        outputs: files, or folders of frames.
        pictures: how many photos or frames are in them.
        notes: what they could not keep, in words.
    """

    outputs: tuple[Path, ...]
    pictures: int
    notes: tuple[str, ...] = ()


class Job(ABC):
    """Inputs of one task, opened: one PNG is to be made of them.

    Attributes:
        images: K of the network that is needed.
        width: of every picture, pixels.
        height: of every picture, pixels.
        names: what to call the K pictures of a group, in the network's order.
        total: number of groups, if known beforehand.
        frame_delay: seconds that each embedding is shown in an animated PNG.
        fps: frame rate for the in-pixel mark.
        notes: what was changed while reading, in words.
    """

    images: int
    width: int
    height: int
    names: Sequence[str]
    total: int | None = 1
    frame_delay: Fraction | None = None
    fps: Fraction | None = None
    notes: Sequence[str] = ()

    @abstractmethod
    def groups(self) -> Generator[Group, None, None]:
        """All groups; may be called again, and gives the same again."""

    def header_fields(self) -> dict[str, Any]:
        """Fields of the :class:`Header` that this task fills; asked for after ``groups`` ended."""
        return {}


@dataclass(frozen=True)
class Item:
    """One PNG of an evaluation: what to embed in it.

    Attributes:
        name: for the table.
        inputs: files, as ``embed`` takes them.
        options: likewise.
    """

    name: str
    inputs: tuple[Path, ...]
    options: EmbedOptions = EmbedOptions()


class Task(ABC):
    """One row of the task table."""

    name: ClassVar[str]
    needs: ClassVar[str]
    """What has to be given, in words; said in errors and help."""
    takes: ClassVar[frozenset[str]] = frozenset()
    """Fields of :class:`EmbedOptions` that mean something here, beside ``background``."""
    pictures: ClassVar[str] = "photos"
    """What to call the restored pictures."""

    @abstractmethod
    def default_model(self, images: int | None = None, *, half: bool = False) -> str:
        """Name of the checkpoint for ``images`` images, or the task's usual number of them."""

    def images_of(self, inputs: Sequence[Path]) -> int | None:
        """Images that the network must have for these inputs; ``None`` if any number will do."""
        return None

    def pictures_in(self, header: Header) -> int:
        """How many pictures a PNG with this header holds: as many as ``deliver`` counts."""
        return header.frames or header.images

    @abstractmethod
    def open(self, inputs: Sequence[Path], images: int, options: EmbedOptions) -> Job:
        """Open inputs for a network of ``images`` images.

        Raises:
            UsageError: the inputs are not what the task needs.
            MediaError: an input cannot be read.
        """

    @abstractmethod
    def default_target(self, source: Path, header: Header) -> Path:
        """Where ``restore`` writes when nothing was said."""

    @abstractmethod
    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write what was restored.

        Args:
            header: of the embedding; made up from the in-pixel mark when the chunk was lost.
            groups: restored pictures without padding, the reference first.
            target: file or folder, as the task takes it.
            overwrite: replace existing files.
            options: what the user said about the outputs.
        """

    @abstractmethod
    def evaluation_items(self, folder: Path, images: int, step: int, scratch: Path) -> list[Item]:
        """What a folder of evaluation data gives for a network of ``images`` images.

        Args:
            folder: data, laid out as the task says.
            images: K.
            step: take every n-th frame of clips.
            scratch: an empty folder for files that have to be made first.
        """


def reference_first(images: int) -> list[int]:
    """Order of the network's inputs for frames in time: the middle one, then the others."""
    middle = images // 2
    return [middle, *(i for i in range(images) if i != middle)]


def in_time(images: int) -> list[int]:
    """The inverse permutation of :func:`reference_first`."""
    return [int(i) for i in np.argsort(reference_first(images))]

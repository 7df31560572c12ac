"""The contract between a task and the converter.

::

    input files --Task.open--> PictureSource --groups()--> groups of pictures --engine--> PNG
    PNG --engine--> groups of pictures --Task.deliver--> output files

A task knows what people put in and want back. It does not know which engine hides the pictures.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from iicnet_cli.container.header import Header, Source
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.pictures.group import Group


@dataclass(frozen=True)
class SourceDescription:
    """What the header says about the original files.

    Attributes:
        sources: the original files in order, the reference first.
        frames: frames of a clip; ``None`` for photos.
        fps: frames per second of a clip; ``None`` for photos.
        timestamps: seconds of every frame of a clip whose frame rate varies.
        options: settings of the task that restoring needs.
        notes: what was changed while reading, in words.
    """

    sources: Sequence[Source] = ()
    frames: int | None = None
    fps: Fraction | None = None
    timestamps: Sequence[float] | None = None
    options: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    notes: Sequence[str] = ()

    def header_fields(self) -> dict[str, Any]:
        """The fields of a header that describe the files; all of these but the notes."""
        return {
            "sources": list(self.sources),
            "frames": self.frames,
            "fps": None if self.fps is None else str(self.fps),
            "timestamps": None if self.timestamps is None else list(self.timestamps),
            "options": dict(self.options),
        }


class GroupReader(Iterator[Group]):
    """Reads the groups of a source one after the other, and then describes what was read.

    Some facts, such as the number of frames, are known only when the last group has been read.

    Args:
        groups: a generator of the groups that returns the description.
    """

    def __init__(self, groups: Generator[Group, None, SourceDescription]) -> None:
        self._groups = groups
        self._description: SourceDescription | None = None

    def __next__(self) -> Group:
        try:
            return next(self._groups)
        except StopIteration as end:
            if end.value is not None:
                self._description = end.value
            raise

    @property
    def description(self) -> SourceDescription:
        """What was read.

        Raises:
            RuntimeError: there are groups that have not been read yet.
        """
        if self._description is None:
            raise RuntimeError("a source is described after all its groups have been read")
        return self._description

    def close(self) -> None:
        """Stop reading; files that are open are closed."""
        self._groups.close()


class PictureSource(ABC):
    """The inputs of one task, opened: one PNG is to be made of them.

    Attributes:
        images: K, the number of pictures in a group.
        width: of every picture, in pixels.
        height: of every picture, in pixels.
        names: what to call the K pictures of a group, the reference first.
        source_names: names of the original files that the header will give.
        timed_frames: frames of which it will give the time, as far as that is known beforehand.
        own_pixels: number of pixels of all photos together, at their own sizes; 0 for clips.
        total: number of groups, if it is known beforehand.
        frame_delay: seconds that each embedding is shown in an animated PNG.
        fps: frames per second of a clip; ``None`` for photos.
        notes: what was changed when the inputs were opened, in words.
        fitting_notes: those of the notes that hold only for engines that take pictures of one size.
        has_sound: whether there is sound beside the pictures.
        files: the inputs, if they hold nothing else than the pictures: whoever has these files has
            everything. Empty where only a part of them is taken.
        picture_files: for each picture of photos, the input that holds just this picture, or
            ``None``. Empty for clips.
    """

    images: int
    width: int
    height: int
    names: Sequence[str]
    source_names: Sequence[str] = ()
    timed_frames: int = 0
    files: Sequence[Path] = ()
    picture_files: Sequence[Path | None] = ()
    own_pixels: int = 0
    total: int | None = 1
    frame_delay: Fraction | None = None
    fps: Fraction | None = None
    notes: Sequence[str] = ()
    fitting_notes: Sequence[str] = ()
    has_sound: bool = False

    def groups(self) -> GroupReader:
        """All groups from the first one on; each call reads them anew and gives the same."""
        return GroupReader(self._read())

    def write_sound(self, target: Path, offset: float, seconds: float, bit_rate: int) -> bool:
        """Write the sound that belongs to a part of the pictures as an Opus or AAC file.

        Args:
            target: the file; its suffix decides the codec.
            offset: seconds from the first picture to the beginning of the sound.
            seconds: how long it is to last.
            bit_rate: bits a second.

        Returns:
            Whether there is any sound; nothing is written otherwise.
        """
        return False

    @abstractmethod
    def _read(self) -> Generator[Group, None, SourceDescription]:
        """Yield every group, and return what the header is to tell about the source."""


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


@dataclass(frozen=True)
class EvaluationItem:
    """The inputs of one PNG of an evaluation.

    Attributes:
        name: for the table.
        inputs: files, as ``embed`` takes them.
        options: what to take of them, and how.
    """

    name: str
    inputs: tuple[Path, ...]
    options: EmbedOptions = field(default_factory=EmbedOptions)


class Task(ABC):
    """One kind of input: how it is read into groups of pictures and written again.

    Attributes:
        name: as in ``--task NAME``.
        needs: what has to be given, in words, for errors and help.
        takes: fields of :class:`EmbedOptions` in ``options.TASK_FIELDS`` that the task can use.
        pictures: what to call the restored pictures.
    """

    name: ClassVar[str]
    needs: ClassVar[str]
    takes: ClassVar[frozenset[str]] = frozenset()
    pictures: ClassVar[str] = "photos"

    def check_inputs(self, inputs: Sequence[Path], options: EmbedOptions) -> None:
        """Refuse inputs that :meth:`open` takes, but that leave nothing to embed.

        Raises:
            UsageError: they do.
        """
        return

    def pictures_per_group(self, inputs: Sequence[Path]) -> int | None:
        """Number of pictures that these inputs make; ``None`` if a group may have any number."""
        return None

    def pictures_in(self, header: Header) -> int:
        """How many pictures a PNG with this header holds: as many as :meth:`deliver` counts."""
        return header.frames or len(header.sources) or header.images

    def embeddings_in(self, header: Header) -> int | None:
        """How many embeddings a PNG with this header was written with; ``None`` if it may be any.

        Args:
            header: ``images`` is that of the network.
        """
        return None

    @abstractmethod
    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> PictureSource:
        """Open inputs, to be read in groups of ``images`` pictures, or all of them in one group.

        Raises:
            UsageError: the inputs are not what the task needs.
            MediaError: an input cannot be read.
        """

    def cover(self, picture: Pixels, options: EmbedOptions) -> Pixels:
        """What the PNG is to show of the reference, for engines that change it only a little.

        Args:
            picture: (H, W, 3) uint8.
            options: as for :meth:`open`.

        Returns:
            (H, W, 3) or (H, W) uint8, or half of that to each side, rounded up.
        """
        return picture

    @abstractmethod
    def default_output(self, png: Path, header: Header) -> Path:
        """Where ``restore`` writes the content of a PNG by default."""

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
            groups: restored pictures at the size in the header, the reference first.
            target: file or folder, as the task takes it.
            overwrite: replace existing files.
            options: how to write it.

        Raises:
            UsageError: the target does not fit the task.
            OutputExistsError: the target exists and ``overwrite`` is False.
            MediaError: the target cannot be written.
        """

    @abstractmethod
    def restored_pictures(self, header: Header, groups: Iterator[Group]) -> Iterator[Pixels]:
        """The restored pictures (H, W, 3) at their own sizes, the reference first.

        The frames of a clip come in time.

        Args:
            header: as for :meth:`deliver`.
            groups: restored pictures, the reference first.
        """

    @abstractmethod
    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """The PNGs that a folder of evaluation data makes, with K = ``images``.

        Args:
            folder: data, laid out as the task says.
            images: pictures in a group.
            step: take every n-th frame of clips.
            scratch: an empty folder for files that have to be made first.
        """


def reference_first(images: int) -> list[int]:
    """Indices of frames in time, in the order of a group: the middle one, then the others."""
    middle = images // 2
    return [middle, *(i for i in range(images) if i != middle)]


def in_time(images: int) -> list[int]:
    """The inverse permutation of :func:`reference_first`."""
    return [int(i) for i in np.argsort(reference_first(images))]

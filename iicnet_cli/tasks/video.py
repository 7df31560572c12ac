"""A clip in one picture, or in an animated one of fewer frames (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from iicnet_cli.container.header import Header
from iicnet_cli.errors import UsageError
from iicnet_cli.media.suffixes import VIDEO_SUFFIXES
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.pictures.arrays import Pixels
from iicnet_cli.tasks.clips import ClipJob, clip_writer
from iicnet_cli.tasks.photos import stills_in
from iicnet_cli.tasks.task import (
    Delivered,
    EmbedOptions,
    Group,
    Item,
    RestoreOptions,
    Task,
    in_time,
    reference_first,
)


class VideoJob(ClipJob):
    """A clip, read as often as it is needed, K frames at a time."""

    def __init__(self, source: Path | Sequence[Path], images: int, options: EmbedOptions) -> None:
        super().__init__(options)
        self._source = source
        self.images = images
        self.names = [f"frame {i + 1} of {images}" for i in reference_first(images)]
        self._names: tuple[str, ...] = ()
        with self._open(source) as frames:
            info = frames.info
            self._begin([frames])
        self.width, self.height = info.width, info.height
        self.frame_delay = images / self.fps
        self.total = self._expected_groups(info.frames)

    def groups(self) -> Generator[Group, None, None]:
        """Consecutive frames; the last group is filled by repeating the last frame."""
        order = reference_first(self.images)
        pending: list[Pixels] = []
        with self._open(self._source) as frames:
            for frame in frames:
                pending.append(frame)
                if len(pending) == self.images:
                    yield Group(np.stack([pending[i] for i in order]), self.images)
                    pending = []
            self._names = frames.names
            self._finish([frames])
        if pending:
            valid = len(pending)
            pending += [pending[-1]] * (self.images - valid)
            yield Group(np.stack([pending[i] for i in order]), valid)

    def header_fields(self) -> dict[str, Any]:
        return {
            **super().header_fields(),
            "sources": [
                {"name": name, "width": self.width, "height": self.height}
                for name in self._names or [self._source_name()]
            ],
        }

    def _source_name(self) -> str:
        return (self._source if isinstance(self._source, Path) else self._source[0]).name

    def _expected_groups(self, frames: int | None) -> int | None:
        """For the progress bar only; the exact count is known when the clip has been read."""
        options = self._options
        if options.frames is not None and frames is None:
            return -(-options.frames // self.images)
        if frames is None or options.start is not None or options.end is not None:
            return None
        frames = -(-frames // options.step)
        if options.frames is not None:
            frames = min(frames, options.frames)
        return -(-frames // self.images)


class VideoTask(Task):
    """K frames of a clip; the middle one is the reference."""

    name = "video"
    needs = (
        "one clip (a video, an animation, a motion photo), a folder or glob of frames, or the "
        "frames themselves"
    )
    takes = frozenset({"start", "end", "step", "frames", "half", "align"})
    pictures = "frames"

    def default_model(self, images: int | None = None, *, half: bool = False) -> str:
        return f"video-{images or 3}-half" if half else f"video-{images or 5}"

    def open(self, inputs: Sequence[Path], images: int, options: EmbedOptions) -> VideoJob:
        if not inputs:
            raise UsageError(f"video needs {self.needs}")
        source = inputs[0] if len(inputs) == 1 else list(inputs)
        return VideoJob(source, images, options)

    def default_target(self, source: Path, header: Header) -> Path:
        return source.with_name(f"{source.stem}-restored.mkv")

    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write the clip as its suffix says; a folder gets numbered frames.

        FFV1 in .mkv or .avi, animated .png, lossless .webp and frames are exact to the network's
        result.
        """
        order = in_time(header.images)
        left = header.frames
        with clip_writer(
            header,
            target,
            (header.width, header.height),
            names=[source.name for source in header.sources] if _from_stills(header) else None,
            overwrite=overwrite,
        ) as writer:
            for group in groups:
                valid = group.valid if left is None else min(left, header.images)
                for i in order[:valid]:
                    writer.add(group.images[i])
                if left is not None:
                    left -= valid
        return Delivered((target,), writer.count, tuple(writer.notes))

    def evaluation_items(self, folder: Path, images: int, step: int, scratch: Path) -> list[Item]:
        """Every sub-folder of frames, and every clip, cut into whole groups of frames."""
        return [
            Item(path.name, (path,), EmbedOptions(step=step, frames=frames))
            for path in _sequences(folder)
            if (frames := _count(path, step) // images * images)
        ]


def _sequences(folder: Path) -> list[Path]:
    found = [
        p
        for p in folder.iterdir()
        if (p.is_dir() and stills_in(p)) or p.suffix.lower() in VIDEO_SUFFIXES
    ]
    return sorted(found) or ([folder] if stills_in(folder) else [])


def _count(path: Path, step: int) -> int:
    if path.is_dir():
        return -(-len(stills_in(path)) // step)
    with open_frames(path, step=step) as frames:
        return sum(1 for _ in frames)


def _from_stills(header: Header) -> bool:
    return len(header.sources) == header.frames and header.frames > 1

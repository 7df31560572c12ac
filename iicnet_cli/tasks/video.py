"""A clip in one picture, or in an animated one of fewer frames (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from iicnet_cli.container import Header
from iicnet_cli.errors import MediaError, UsageError
from iicnet_cli.media.stills import VIDEO_SUFFIXES
from iicnet_cli.media.video import STILLS_RATE, open_frames, open_writer
from iicnet_cli.tasks.base import (
    Delivered,
    EmbedOptions,
    Group,
    Item,
    Job,
    Pixels,
    RestoreOptions,
    Task,
    in_time,
    reference_first,
)
from iicnet_cli.tasks.photos import stills_in


class VideoJob(Job):
    """A clip, read as often as it is needed, K frames at a time."""

    def __init__(self, source: Path | Sequence[Path], images: int, options: EmbedOptions) -> None:
        self._source = source
        self._options = options
        self.images = images
        self.names = [f"frame {i + 1} of {images}" for i in reference_first(images)]
        self._frames = 0
        self._timestamps: list[float] | None = None
        self._names: tuple[str, ...] = ()
        with open_frames(source, **self._cut()) as frames:
            info = frames.info
            self._variable_rate = info.variable_rate
            self.width, self.height = info.width, info.height
            self.fps = info.fps / options.step
            self.frame_delay = images / self.fps
            self._sound = ["sound is not carried in the picture"] if info.has_audio else []
            self.notes = [*frames.notes, *self._sound]
        self.total = self._expected_groups(info.frames)

    def groups(self) -> Generator[Group, None, None]:
        """Consecutive frames; the last group is filled by repeating the last frame."""
        order = reference_first(self.images)
        pending: list[Pixels] = []
        count = 0
        with open_frames(self._source, **self._cut()) as frames:
            for frame in frames:
                count += 1
                pending.append(frame)
                if len(pending) == self.images:
                    yield Group(np.stack([pending[i] for i in order]), self.images)
                    pending = []
            timestamps = list(frames.timestamps) if self._variable_rate else None
            self._names = frames.names
            self.notes = [*frames.notes, *self._sound]
        if pending:
            valid = len(pending)
            pending += [pending[-1]] * (self.images - valid)
            yield Group(np.stack([pending[i] for i in order]), valid)
        if count == 0:
            raise MediaError("no frame was left of the clip", hint="see --start, --end, --frames")
        self._frames, self._timestamps = count, timestamps

    def header_fields(self) -> dict[str, Any]:
        return {
            "sources": [
                {"name": name, "width": self.width, "height": self.height}
                for name in self._names or [self._source_name()]
            ],
            "frames": self._frames,
            "fps": str(self.fps),
            "timestamps": self._timestamps,
            "options": {key: value for key, value in self._cut().items() if value is not None},
        }

    def _cut(self) -> dict[str, Any]:
        options = self._options
        return {
            "start": options.start,
            "end": options.end,
            "step": options.step,
            "frames": options.frames,
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
    takes = frozenset({"start", "end", "step", "frames", "half"})
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
        fps = Fraction(header.fps) if header.fps else STILLS_RATE
        left = header.frames
        # The header may come from anyone: times that do not fit the frames are left out.
        times = header.timestamps if len(header.timestamps or ()) == left else None
        with open_writer(
            target,
            header.width,
            header.height,
            fps,
            timestamps=times,
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

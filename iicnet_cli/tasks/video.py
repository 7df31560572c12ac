"""A clip in one picture, or in an animated one of fewer frames (paper, section 4.1)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import numpy as np

from iicnet_cli.container.header import Header, Source
from iicnet_cli.errors import UsageError
from iicnet_cli.media.files import named_after
from iicnet_cli.media.frame_source import FrameSource
from iicnet_cli.media.stereo_layouts import LAYOUTS
from iicnet_cli.media.suffixes import VIDEO_SUFFIXES
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.options import EmbedOptions, RestoreOptions
from iicnet_cli.pictures.arrays import Pixels, halve
from iicnet_cli.pictures.group import Group
from iicnet_cli.tasks.clips import ClipSource, clip_writer
from iicnet_cli.tasks.photos import stills_in
from iicnet_cli.tasks.task import (
    Delivered,
    EvaluationItem,
    SourceDescription,
    Task,
    in_time,
    reference_first,
)


class VideoSource(ClipSource):
    """A clip, read as often as it is needed, K frames at a time.

    Args:
        clip: a file, or the frames as files.
        images: K; ``None`` for all frames in one group.
        options: which part to take.
    """

    def __init__(
        self, clip: Path | Sequence[Path], images: int | None, options: EmbedOptions
    ) -> None:
        super().__init__(options)
        self._clip = clip
        self._use_files([clip] if isinstance(clip, Path) else clip)
        with self._open(clip) as frames:
            info = frames.info
            self._use_facts_of([frames])
            self.source_names = self._names_of_files(frames)
            self.images = images or sum(1 for _ in frames)
        self.names = [f"frame {i + 1} of {self.images}" for i in reference_first(self.images)]
        self.width, self.height = info.width, info.height
        self.frame_delay = self.images / self.fps
        self.total = self._expected_groups(info.frames)

    def _read(self) -> Generator[Group, None, SourceDescription]:
        """Consecutive frames; the last group is filled by repeating the last frame."""
        order = reference_first(self.images)
        pending: list[Pixels] = []
        with self._open(self._clip) as frames:
            for frame in frames:
                pending.append(frame)
                if len(pending) == self.images:
                    yield Group(np.stack([pending[i] for i in order]), self.images)
                    pending = []
            sources = [
                Source(name=name, width=self.width, height=self.height)
                for name in self._names_of_files(frames)
            ]
            description = self._description([frames], sources)
        if pending:
            valid = len(pending)
            pending += [pending[-1]] * (self.images - valid)
            yield Group(np.stack([pending[i] for i in order]), valid)
        return description

    def _names_of_files(self, frames: FrameSource) -> Sequence[str]:
        """The stills that are the frames, or else the clip."""
        first_file = self._clip if isinstance(self._clip, Path) else self._clip[0]
        return frames.names or [first_file.name]

    def _expected_groups(self, frames: int | None) -> int | None:
        """Number of groups for the progress bar; the exact one is known after reading the clip."""
        options = self._options
        if options.frames is not None and frames is None:
            return -(-options.frames // self.images)
        if frames is None or options.start is not None or options.end is not None:
            return None
        frames = -(-frames // options.step)
        if options.frames is not None:
            frames = min(frames, options.frames)
        return -(-frames // self.images)

    def _notes_of(self, clips: Sequence[FrameSource]) -> list[str]:
        notes = super()._notes_of(clips)
        if (layout := clips[0].info.stereo) is None:
            return notes
        what_to_do = "; --task stereo keeps them apart" if layout in LAYOUTS else ""
        return [*notes, f"a stereo clip, says the file: its views lie {layout}{what_to_do}"]


class VideoTask(Task):
    """K frames of a clip; the middle one is the reference."""

    name = "video"
    needs = (
        "one clip (a video, an animation, a motion photo), a folder or glob of frames, or the "
        "frames themselves"
    )
    takes = frozenset({"start", "end", "step", "frames", "half", "align"})
    pictures = "frames"

    def cover(self, picture: Pixels, options: EmbedOptions) -> Pixels:
        return halve(picture) if options.half else picture

    def open(
        self, inputs: Sequence[Path], images: int | None, options: EmbedOptions
    ) -> VideoSource:
        if not inputs:
            raise UsageError(f"video needs {self.needs}")
        clip = inputs[0] if len(inputs) == 1 else list(inputs)
        return VideoSource(clip, images, options)

    def embeddings_in(self, header: Header) -> int | None:
        return None if header.frames is None else -(-header.frames // header.images)

    def default_output(self, png: Path, header: Header) -> Path:
        return named_after(png, "-restored.mkv")

    def deliver(
        self,
        header: Header,
        groups: Iterator[Group],
        target: Path,
        *,
        overwrite: bool,
        options: RestoreOptions,
    ) -> Delivered:
        """Write the clip in the format of its suffix; a folder gets one picture a frame.

        FFV1 in .mkv or .avi, animated .png, lossless .webp and single frames are exact to the
        network's result.
        """
        with clip_writer(
            header,
            target,
            (header.width, header.height),
            names=[source.name for source in header.sources] if _from_stills(header) else None,
            overwrite=overwrite,
        ) as writer:
            for frame in self.restored_pictures(header, groups):
                writer.add(frame)
        return Delivered((target,), writer.count, tuple(writer.notes))

    def restored_pictures(self, header: Header, groups: Iterator[Group]) -> Iterator[Pixels]:
        remaining = header.frames
        for group in groups:
            count = len(group.images)
            valid = group.valid if remaining is None else min(remaining, count)
            for i in in_time(count)[:valid]:
                yield group.images[i]
            if remaining is not None:
                remaining -= valid

    def evaluation_items(
        self, folder: Path, images: int, step: int, scratch: Path
    ) -> list[EvaluationItem]:
        """Every sub-folder of frames, and every clip, cut into whole groups of frames."""
        return [
            EvaluationItem(path.name, (path,), EmbedOptions(step=step, frames=frames))
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

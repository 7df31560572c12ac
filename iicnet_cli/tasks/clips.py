"""What the tasks on clips share: parts of clips, read as often as needed, and their times."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from iicnet_cli.container.header import Header
from iicnet_cli.media.frame_source import FrameSource
from iicnet_cli.media.frame_times import STILLS_RATE
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.media.video_writer import VideoWriter, open_writer
from iicnet_cli.tasks.task import EmbedOptions, Job


class ClipJob(Job):
    """A clip, or several that run side by side, cut as ``options`` say."""

    fps: Fraction

    def __init__(self, options: EmbedOptions) -> None:
        self._options = options
        self._sound: list[str] = []
        self._variable_rate = False
        self._frames = 0
        self._timestamps: list[float] | None = None

    def header_fields(self) -> dict[str, Any]:
        return {
            "frames": self._frames,
            "fps": str(self.fps),
            "timestamps": self._timestamps,
            "options": {key: value for key, value in self._cut().items() if value is not None},
        }

    def _open(self, source: Path | Sequence[Path]) -> FrameSource:
        return open_frames(source, **self._cut(), background=self._options.background)

    def _begin(self, clips: Sequence[FrameSource]) -> None:
        """The clips were opened: of several, the first one's rate counts."""
        info = clips[0].info
        self.fps = info.fps / self._options.step
        self._variable_rate = info.variable_rate
        self._sound = ["sound is not carried in the picture"] if info.has_audio else []
        self._note(clips)

    def _finish(self, clips: Sequence[FrameSource]) -> None:
        """All frames were read."""
        times = clips[0].timestamps
        self._frames = len(times)
        self._timestamps = list(times) if self._variable_rate else None
        self._note(clips)

    def _note(self, clips: Sequence[FrameSource]) -> None:
        noticed = dict.fromkeys(note for clip in clips for note in clip.notes)
        self.notes = [*noticed, *self._sound]

    def _cut(self) -> dict[str, Any]:
        options = self._options
        return {
            "start": options.start,
            "end": options.end,
            "step": options.step,
            "frames": options.frames,
        }


def clip_writer(
    header: Header,
    target: Path,
    size: tuple[int, int],
    *,
    names: Sequence[str] | None = None,
    overwrite: bool,
) -> VideoWriter:
    """Open a clip for writing at the times that a header gives, as far as it gives any.

    Args:
        header: of the embedding.
        target: as of `open_writer`.
        size: width and height of the frames, pixels.
        names: as of `open_writer`.
        overwrite: replace existing files.

    Raises:
        UsageError, OutputExistsError, MediaError: as `open_writer`.
    """
    # The header may come from anyone: times that do not fit the frames are left out.
    fit = len(header.timestamps or ()) == header.frames
    return open_writer(
        target,
        *size,
        Fraction(header.fps) if header.fps else STILLS_RATE,
        timestamps=header.timestamps if fit else None,
        names=names,
        overwrite=overwrite,
    )

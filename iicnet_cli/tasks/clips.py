"""Shared by the tasks on clips: parts of clips, read as often as needed, and their frame times."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

from iicnet_cli.container.header import Header, Source
from iicnet_cli.media.audio import encode_audio
from iicnet_cli.media.frame_source import FrameSource
from iicnet_cli.media.frame_times import STILLS_RATE, separate_times
from iicnet_cli.media.video_reader import open_frames
from iicnet_cli.media.video_writer import VideoWriter, open_writer
from iicnet_cli.options import EmbedOptions
from iicnet_cli.tasks.task import PictureSource, SourceDescription


class ClipSource(PictureSource):
    """A clip, or several that run side by side, cut as ``options`` say."""

    fps: Fraction

    def __init__(self, options: EmbedOptions) -> None:
        self._options = options
        self._variable_rate = False

    def _use_files(self, files: Sequence[Path]) -> None:
        """Offer the inputs as they are, unless the options take only a part of them."""
        options = self._options
        self._clip_of_sound = files[0]
        is_whole = self._is_uncut and options.frames is None
        if is_whole and options.step == 1 and all(path.is_file() for path in files):
            self.files = files

    @property
    def _is_uncut(self) -> bool:
        """Whether the clip is taken from its beginning to its end."""
        return self._options.start is None and self._options.end is None

    def write_sound(self, target: Path, offset: float, seconds: float, bit_rate: int) -> bool:
        if not self.has_sound:
            return False
        start = (self._options.start or 0.0) + offset
        return encode_audio(self._clip_of_sound, target, start, seconds, bit_rate)

    def _open(self, clip: Path | Sequence[Path]) -> FrameSource:
        options = self._options
        return open_frames(
            clip,
            start=options.start,
            end=options.end,
            step=options.step,
            frames=options.frames,
            background=options.background,
        )

    def _use_facts_of(self, clips: Sequence[FrameSource]) -> None:
        """Take rate and notes from clips that were just opened; the first one gives the rate."""
        info = clips[0].info
        self.fps = info.fps / self._options.step
        self._variable_rate = info.variable_rate
        if info.variable_rate and info.frames is not None and self._is_uncut:
            frames = -(-info.frames // self._options.step)
            self.timed_frames = min(frames, self._options.frames or frames)
        self.has_sound = info.has_audio
        self.notes = self._notes_of(clips)

    def _description(
        self, clips: Sequence[FrameSource], sources: Sequence[Source]
    ) -> SourceDescription:
        """Describe clips whose frames have all been read."""
        times = clips[0].timestamps
        cut = {
            "layout": self._options.layout,
            "start": self._options.start,
            "end": self._options.end,
            "step": self._options.step,
            "frames": self._options.frames,
        }
        return SourceDescription(
            sources=sources,
            frames=len(times),
            fps=self.fps,
            timestamps=separate_times(times) if self._variable_rate else None,
            options={key: value for key, value in cut.items() if value is not None},
            notes=self._notes_of(clips),
        )

    def _notes_of(self, clips: Sequence[FrameSource]) -> list[str]:
        return list(dict.fromkeys(note for clip in clips for note in clip.notes))


def clip_writer(
    header: Header,
    target: Path,
    size: tuple[int, int],
    *,
    names: Sequence[str] | None = None,
    overwrite: bool,
) -> VideoWriter:
    """Open a clip for writing, with the frame times that a header gives.

    Args:
        header: of the embedding.
        target: as for :func:`open_writer`.
        size: width and height of the frames, pixels.
        names: as for :func:`open_writer`.
        overwrite: replace existing files.

    Raises:
        UsageError, OutputExistsError, MediaError: as :func:`open_writer`.
    """
    # The header may come from anyone: if it has more or fewer times than frames, they are ignored,
    # and they need not increase.
    times = header.timestamps if len(header.timestamps or ()) == header.frames else None
    return open_writer(
        target,
        *size,
        Fraction(header.fps) if header.fps else STILLS_RATE,
        timestamps=None if times is None else separate_times(times),
        names=names,
        overwrite=overwrite,
    )

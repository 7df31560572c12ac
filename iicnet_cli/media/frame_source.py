"""What every kind of clip offers: facts about it, and its frames one at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import Colour
from iicnet_cli.media.frame_times import FrameSelection
from iicnet_cli.pictures.arrays import Pixels

TimedFrames = Generator[tuple[float, Pixels]]
"""Frames with their times: (seconds, uint8 (H, W, 3) sRGB), in order of display."""


@dataclass(frozen=True)
class VideoInfo:
    """What is known about a clip before its frames are decoded.

    Attributes:
        width: pixels, as displayed (after rotation).
        height: pixels, as displayed.
        fps: frames a second; the mean if the rate varies.
        frames: number of frames in the whole source; None if unknown.
        duration: seconds; None if unknown.
        rotation: degrees counter-clockwise that the metadata ask for and that are applied.
        has_audio: there is a sound track.
        hdr: the transfer is PQ or HLG; the frames are tone-mapped on reading.
        variable_rate: the frames are not evenly spaced in time.
        codec: ffmpeg's name of the codec, or "stills".
        notes: short sentences about conversions and doubts.
        stereo: how both views of a stereo clip lie in its frames, as the file declares: a key of
            `stereo_layouts.LAYOUTS` or other words; None if it does not.
    """

    width: int
    height: int
    fps: Fraction
    frames: int | None
    duration: float | None
    rotation: int
    has_audio: bool
    hdr: bool
    variable_rate: bool
    codec: str
    notes: tuple[str, ...]
    stereo: str | None = None


class FrameSource(Iterator[Pixels]):
    """Iterator over the frames of a clip, and a context manager that ends the reading.

    Attributes:
        info: describes the whole source, whichever frames of it are read.
        names: file names of the frames that are read, if the source is a sequence of stills.
        timestamps: seconds of each frame returned so far, counted from the first of them.
        notes: ``info.notes``, followed by what was noticed while reading.
    """

    def __init__(
        self,
        info: VideoInfo,
        frames: TimedFrames,
        notes: list[str],
        names: tuple[str, ...] = (),
    ) -> None:
        """Read the first frame.

        Args:
            info: describes the clip; its size is replaced by that of the first frame.
            frames: the frames to iterate over.
            notes: list that ``frames`` may extend while it is read.
            names: as the attribute.

        Raises:
            MediaError: there is no frame, or the first one cannot be read.
        """
        self.names = names
        self.notes = notes
        self.timestamps: list[float] = []
        self._frames = frames
        try:
            self._ahead: tuple[float, Pixels] | None = next(frames)
        except StopIteration:
            raise MediaError("there is no frame in this part of the clip") from None
        self._origin = self._ahead[0]
        height, width = self._ahead[1].shape[:2]
        self.info = replace(info, width=width, height=height)

    def __iter__(self) -> FrameSource:
        return self

    def __next__(self) -> Pixels:
        """Return the next frame, uint8 (H, W, 3) sRGB.

        Raises:
            MediaError: the clip is damaged beyond what the decoder can conceal.
        """
        if self._ahead is not None:
            (time, pixels), self._ahead = self._ahead, None
        else:
            time, pixels = next(self._frames)
        self.timestamps.append(time - self._origin)
        return pixels

    def close(self) -> None:
        """Stop reading and end the decoder."""
        self._ahead = None
        self._frames.close()

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Clip(Protocol):
    """A clip of any kind: a video file, an animation or a sequence of stills."""

    @property
    def info(self) -> VideoInfo:
        """Facts about the clip; they are looked up on first use.

        Raises:
            MediaError: the clip cannot be read.
        """

    def open(self, selection: FrameSelection, background: Colour) -> FrameSource:
        """Start reading frames.

        Args:
            selection: which frames to read.
            background: sRGB colour behind transparent pixels, where they are supported.

        Raises:
            UsageError: the selection makes no sense for this clip.
            MediaError: the clip cannot be read, or no frame is selected.
        """

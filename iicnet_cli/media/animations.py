"""Clips stored as animated pictures: GIF, and WebP, PNG and AVIF as Pillow reads them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from functools import cached_property
from itertools import accumulate, islice
from pathlib import Path

from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import Colour, to_srgb, transparency_note
from iicnet_cli.media.frame_source import FrameSource, TimedFrames, VideoInfo
from iicnet_cli.media.frame_times import FrameSelection, is_uneven, rate_from_duration
from iicnet_cli.media.gif_frames import GifFile, is_animated_gif, is_gif
from iicnet_cli.media.suffixes import VIDEO_SUFFIXES

_CODECS = {"GIF": "gif", "WEBP": "webp", "PNG": "apng", "AVIF": "avif"}
"""Codec of each of Pillow's formats that can be animated."""

_AVIF_SEQUENCE = ".avifs"
"""Suffix of AVIF animations."""
_DEFAULT_DURATION = 100
"""Frames without a duration are shown for this many milliseconds, as browsers do."""


def is_animation(path: Path) -> bool:
    """Return whether a file is an animated picture; false if it cannot be read."""
    if path.suffix.lower() in VIDEO_SUFFIXES - {_AVIF_SEQUENCE}:
        return False
    try:
        if is_gif(path):
            return is_animated_gif(path)
        with Image.open(path, formats=tuple(_CODECS)) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # not one of these, or damaged: the reader that is tried next reports it
        return False


def open_animation(path: Path) -> Animation | GifAnimation:
    """Take a file for which `is_animation` holds; nothing is decoded yet."""
    return GifAnimation(path) if is_gif(path) else Animation(path)


class GifAnimation:
    """An animated GIF."""

    def __init__(self, path: Path) -> None:
        """Parse the file.

        Raises:
            MediaError: it is damaged.
        """
        self._file = GifFile(path)
        durations = [frame.seconds for frame in self._file.frames]
        self.info, self._times = _describe("gif", self._file.size, durations)

    def open(self, selection: FrameSelection, background: Colour) -> FrameSource:
        """Start reading frames; see `frame_source.Clip`."""
        selection.check(self.info.duration)
        chosen = set(selection.indices(self._times))
        notes: list[str] = []
        return FrameSource(self.info, self._read(chosen, notes, background), notes)

    def _read(self, chosen: set[int], notes: list[str], background: Colour) -> TimedFrames:
        last = max(chosen, default=-1)
        with closing(self._file.pictures()) as pictures:
            for index, canvas in enumerate(islice(pictures, last + 1)):
                if index not in chosen:
                    continue
                pixels = canvas[..., :3].copy()
                empty = canvas[..., 3] == 0
                if empty.any():
                    pixels[empty] = background
                    note = transparency_note(background)
                    notes.extend([] if note in notes else [note])
                yield self._times[index], pixels


class Animation:
    """An animated picture."""

    def __init__(self, path: Path) -> None:
        """Take a file for which `is_animation` holds; nothing is read yet."""
        self._path = path

    @property
    def info(self) -> VideoInfo:
        """Facts about the animation; all frames are decoded to find them.

        Raises:
            MediaError: the file is truncated or damaged.
        """
        return self._info_and_times[0]

    def open(self, selection: FrameSelection, background: Colour) -> FrameSource:
        """Start reading frames; see `frame_source.Clip`."""
        info, times = self._info_and_times
        selection.check(info.duration)
        chosen = selection.indices(times)
        notes = list(info.notes)
        return FrameSource(info, self._read(chosen, times, notes, background), notes)

    @cached_property
    def _info_and_times(self) -> tuple[VideoInfo, list[float]]:
        """The facts, and the time of each frame in seconds."""
        durations = []  # seconds
        try:
            with Image.open(self._path) as image:
                pillow_format, size = image.format or "", image.size
                # The first picture of an APNG may be for old viewers only.
                hidden = int(bool(image.info.get("default_image")))
                for index in range(hidden, int(getattr(image, "n_frames", 1))):
                    image.seek(index)
                    image.load()
                    duration = float(image.info.get("duration") or _DEFAULT_DURATION)
                    durations.append(duration / 1000)
        except Exception as error:  # Pillow's plugins raise nearly anything on damaged data
            raise MediaError(f"{self._path.name}: truncated or damaged ({error})") from error
        return _describe(_CODECS.get(pillow_format, pillow_format.lower()), size, durations)

    def _read(
        self, chosen: list[int], times: list[float], notes: list[str], background: Colour
    ) -> TimedFrames:
        with Image.open(self._path) as image:
            hidden = int(bool(image.info.get("default_image")))
            for index in chosen:
                frame_notes: list[str] = []
                try:
                    image.seek(hidden + index)
                    image.load()
                    pixels = to_srgb(image, frame_notes, background=background)
                except Exception as error:  # as above
                    raise MediaError(
                        f"{self._path.name}: damaged at frame {index} ({error})"
                    ) from error
                notes.extend(note for note in frame_notes if note not in notes)
                yield times[index], pixels


def _describe(
    codec: str, size: tuple[int, int], durations: Sequence[float]
) -> tuple[VideoInfo, list[float]]:
    """The facts, and the time of each frame in seconds.

    Args:
        codec: a value of ``_CODECS``.
        size: width and height, pixels.
        durations: seconds that each frame is shown.
    """
    *times, total = accumulate(durations, initial=0.0)
    resolution = 0.010 if codec == "gif" else 0.001
    info = VideoInfo(
        width=size[0],
        height=size[1],
        fps=rate_from_duration(len(durations), total, resolution),
        frames=len(durations),
        duration=total,
        rotation=0,
        has_audio=False,
        hdr=False,
        variable_rate=is_uneven([*times, total], resolution),
        codec=codec,
        notes=(),
    )
    return info, times

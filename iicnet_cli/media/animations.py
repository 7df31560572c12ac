"""Clips stored as animated pictures: GIF, WebP, PNG and AVIF, read by Pillow."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from PIL import Image

from iicnet_cli.errors import MediaError
from iicnet_cli.media.colour import Colour, to_srgb
from iicnet_cli.media.frame_source import FrameSource, TimedFrames, VideoInfo
from iicnet_cli.media.frame_times import FrameSelection, is_uneven, rate_from_duration
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
        with Image.open(path, formats=tuple(_CODECS)) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # not one of these, or damaged: the reader that is tried next reports it
        return False


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
        times, elapsed = [], 0.0  # seconds, milliseconds
        try:
            with Image.open(self._path) as image:
                pillow_format, (width, height) = image.format or "", image.size
                count = int(getattr(image, "n_frames", 1))
                # The first picture of an APNG may be for old viewers only.
                hidden = int(bool(image.info.get("default_image")))
                for index in range(hidden, count):
                    image.seek(index)
                    image.load()
                    times.append(elapsed / 1000)
                    elapsed += float(image.info.get("duration") or _DEFAULT_DURATION)
                count -= hidden
        except Exception as error:  # Pillow's plugins raise nearly anything on damaged data
            raise MediaError(f"{self._path.name}: truncated or damaged ({error})") from error
        resolution = 0.010 if pillow_format == "GIF" else 0.001
        info = VideoInfo(
            width=width,
            height=height,
            fps=rate_from_duration(count, elapsed / 1000, resolution),
            frames=count,
            duration=elapsed / 1000,
            rotation=0,
            has_audio=False,
            hdr=False,
            variable_rate=is_uneven([*times, elapsed / 1000], resolution),
            codec=_CODECS.get(pillow_format, pillow_format.lower()),
            notes=(),
        )
        return info, times

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

"""What is known of a clip before its frames are decoded: streams, packets and their times."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from iicnet_cli.errors import MediaError
from iicnet_cli.media import ffmpeg, libav_program
from iicnet_cli.media.ffmpeg import ByteRange
from iicnet_cli.media.stereo_layouts import LAYOUTS
from iicnet_cli.pictures.limits import max_pixels, max_pixels_text

Kind = Literal["video", "audio"]
"""Kinds of streams."""

# Numbers of ITU-T H.273.
UNSPECIFIED = 2
BT2020, BT2020_MATRIX = 9, 9
PQ, HLG = 16, 18

_MAX_LISTED_BYTES = 2_000_000_000
"""Files of more bytes than this are not read to the end just to list their packets."""

_STEREO_KINDS = {
    **{(1, 0): LAYOUTS[0], (2, 0): LAYOUTS[1], (1, 1): LAYOUTS[2]},
    (2, 1): "top-bottom with the right view on top",
    **dict.fromkeys(((3, 0), (3, 1)), "in turn"),
    **dict.fromkeys(((4, 0), (4, 1)), "as a checkerboard"),
    **dict.fromkeys(((5, 0), (5, 1)), "as a quincunx"),
    **dict.fromkeys(((6, 0), (6, 1)), "in alternate lines"),
    **dict.fromkeys(((7, 0), (7, 1)), "in alternate columns"),
}
"""How the views of a stereo clip lie, by the kind and the flag of inversion that libav gives."""


@dataclass(frozen=True)
class VideoStream:
    """The first video stream of a file.

    Attributes:
        codec: libav's name of the codec.
        pixel_format: libav's name of the pixel format; empty if unknown.
        is_rgb: the pixel format has red, green and blue.
        has_alpha: transparency is stored, in the pixel format or, as in VP8 and VP9, beside it.
        matrix: YUV matrix, the number of H.273; `UNSPECIFIED` if the file does not name it.
        primaries: colour primaries, likewise.
        transfer: transfer characteristics, likewise.
        interlaced: the frames consist of fields.
        width: pixels as stored, before rotation.
        height: pixels as stored, before rotation.
        pixel_aspect: width of a pixel divided by its height.
        frame_rate: frames a second that the file declares, or that its first frames have; None if
            unknown.
        base_rate: libav's guess at the smallest rate that fits all frame times; None if unknown.
        rotation: degrees counter-clockwise from stored to displayed frames.
        stereo: how both views of a stereo clip lie, one of ``LAYOUTS`` or other words; None if
            the file does not declare that it is one.
    """

    codec: str
    pixel_format: str
    is_rgb: bool
    has_alpha: bool
    matrix: int
    primaries: int
    transfer: int
    interlaced: bool
    width: int
    height: int
    pixel_aspect: Fraction
    frame_rate: Fraction | None
    base_rate: Fraction | None
    rotation: int
    stereo: str | None

    @property
    def is_hdr(self) -> bool:
        """Whether the transfer is PQ or HLG."""
        return self.transfer in (PQ, HLG)

    @property
    def is_wide_gamut(self) -> bool:
        """Whether the colours go beyond BT.709."""
        return self.primaries == BT2020 or self.is_hdr


@dataclass(frozen=True)
class Packets:
    """The packets of a stream that are shown, in the order of the file.

    Attributes:
        starts: display times in units of ``time_base``; None where the file does not tell.
        durations: in the same unit; 0 where the file does not tell.
        sizes: in bytes.
        time_base: seconds.
    """

    starts: tuple[int | None, ...]
    durations: tuple[int, ...]
    sizes: tuple[int, ...]
    time_base: Fraction


@dataclass(frozen=True)
class PacketTimes:
    """When the frames of a file are displayed.

    Attributes:
        starts: display time of every frame in units of ``time_base``, sorted.
        end: time at which the last frame ends, in the same unit.
        time_base: seconds.
    """

    starts: tuple[int, ...]
    end: int
    time_base: Fraction


@dataclass(frozen=True)
class ClipFacts:
    """A clip.

    Attributes:
        stream: its first video stream.
        times: of all frames; None if they are unknown, or the file is too long to be read for it.
        duration: seconds of the whole file; None if unknown.
        audio_codec: libav's name of the codec of the first sound track; None without sound.
    """

    stream: VideoStream
    times: PacketTimes | None
    duration: float | None
    audio_codec: str | None


def read_clip_facts(path: Path, byte_range: ByteRange | None = None) -> ClipFacts:
    """Describe a clip; files of up to 2 GB are read to the end for it, but not decoded.

    Args:
        path: the file.
        byte_range: as of `ffmpeg.input_options`.

    Raises:
        MediaError: libav cannot read the file, or it has no video stream.
    """
    status = path.stat()
    version = (status.st_ino, status.st_mtime_ns, max_pixels())
    return _read_clip_facts(path, byte_range, status.st_size, version)


@lru_cache(maxsize=8)  # a clip is opened several times
def _read_clip_facts(
    path: Path, byte_range: ByteRange | None, size: int, version: tuple[int, ...]
) -> ClipFacts:
    listed: Kind | None = "video" if size <= _MAX_LISTED_BYTES else None
    facts = _ask(path, byte_range, listed)
    video, duration = facts["video"], facts["duration"]
    if video is None:
        raise MediaError(f"{path.name}: has no video stream")
    packets = None if facts["packets"] is None else _packets(facts["packets"])
    times = None if packets is None else _times(packets)
    return ClipFacts(_stream(video, path.name), times, duration, facts["audio_codec"])


def has_sound(path: Path) -> bool:
    """Whether a file has a sound track; false if it cannot be read."""
    try:
        return _ask(path, None, None)["audio_codec"] is not None
    except MediaError:
        return False


def list_packets(path: Path, kind: Kind) -> Packets:
    """List the packets of the first video stream or sound track of a file; all of it is read.

    Args:
        path: the file.
        kind: of the stream.

    Raises:
        MediaError: libav cannot read the file, or there is no such stream.
    """
    packets = _ask(path, None, kind)["packets"]
    if packets is None:
        raise MediaError(f"{path.name}: has no {kind} stream")
    return _packets(packets)


def _ask(path: Path, byte_range: ByteRange | None, listed: Kind | None) -> dict[str, Any]:
    """Let libav describe a file, in a process of its own.

    Raises:
        MediaError: libav cannot read the file.
    """
    source = ffmpeg.source_of(path, byte_range)
    request = {
        "url": source.url,
        "format": source.demuxer,
        "options": source.options,
        "most_pixels": ffmpeg.most_decoded_pixels(),
        "packets": listed,
    }
    if getattr(sys, "frozen", False):  # a frozen program has no interpreter to start
        facts = libav_program.describe(request)
    else:
        done = subprocess.run(
            [sys.executable, "-P", libav_program.__file__],
            input=json.dumps(request),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=False,
        )
        ended = f"reading it ended with status {done.returncode}"
        facts = {"error": ended} if done.returncode else json.loads(done.stdout)
    if "error" in facts:
        hint = facts.get("hint", "give a video, an animation, or a folder of stills")
        raise MediaError(f"{path.name}: not a clip that can be read ({facts['error']})", hint=hint)
    return facts


def _stream(facts: dict[str, Any], name: str) -> VideoStream:
    width, height = facts["width"], facts["height"]
    if not width or not height:
        limit = max_pixels_text()
        raise MediaError(f"{name}: its codec is unknown, or its size is unknown or above {limit}")
    if width * height > max_pixels():
        raise MediaError(
            f"{name}: {width}x{height} is more than {max_pixels_text()}",
            hint="make it smaller first, or raise the limit with --max-pixels",
        )
    stereo = facts.pop("stereo", None)
    fractions = {
        key: Fraction(*facts.pop(key)) if facts[key] else facts.pop(key)
        for key in ("frame_rate", "base_rate", "pixel_aspect")
    }
    fractions["pixel_aspect"] = fractions["pixel_aspect"] or Fraction(1)
    seen = {"interlaced": False, "rotation": 0, "stereo": stereo and _STEREO_KINDS.get((*stereo,))}
    return VideoStream(**(seen | facts | fractions))


def _packets(facts: dict[str, Any]) -> Packets:
    return Packets(
        starts=tuple(facts["starts"]),
        durations=tuple(facts["durations"]),
        sizes=tuple(facts["sizes"]),
        time_base=Fraction(*facts["time_base"]),
    )


def _times(packets: Packets) -> PacketTimes | None:
    starts = [start for start in packets.starts if start is not None]
    if not starts or len(starts) < len(packets.starts):
        return None
    ends = (start + length for start, length in zip(starts, packets.durations, strict=True))
    return PacketTimes(tuple(sorted(starts)), max(ends), packets.time_base)
